/* Common parts of both ends of LDPC error correction: codes, the division of a key into frames,
 * syndromes. docs/ldpc.md describes the codes and the messages. */
#ifndef PHOTONLINK_LDPC_H
#define PHOTONLINK_LDPC_H
#include <string.h>

#include "core.h"

enum {
  LDPC_CODES = 9,
  LDPC_MAX_ROWS = 64,
  LDPC_MAX_COLUMNS = 224,
  LDPC_MAX_EDGES = 1408,
  LDPC_MAX_DEGREE = 96, /* of a row */
  LDPC_MAX_LIFT = 1024,
  LDPC_LANES = 64,      /* checks that a kernel treats at once; a lift is a multiple of it */
  LDPC_FRAME_BYTES = LDPC_MAX_COLUMNS * LDPC_MAX_LIFT / 8, /* at most */
  LDPC_HEADER = 8,      /* bytes in front of the syndrome */
  LDPC_CERTAIN = 127    /* log-likelihood ratio of a bit that is known */
};

typedef struct { /* a base matrix: columns in order of use, the rows each meets */
  uint8_t rows, columns;
  const uint8_t *degree;
  const uint16_t *edge; /* row << 10 | shift; the shift counts modulo the lift */
} ldpc_code;
extern const ldpc_code ldpc_codes[LDPC_CODES];

typedef struct {
  uint16_t column, shift;
} ldpc_edge;

typedef struct { /* public: how a key of n bits is cut and coded */
  const ldpc_code *code;
  int64_t bits, payload; /* of the key, of a frame (the last frame may have fewer) */
  int64_t step, inverse, offset; /* order position p is key bit (p * step + offset) mod bits */
  int frames, lift, columns;
  int channel; /* magnitude of a key bit's log-likelihood ratio */
  int row_start[LDPC_MAX_ROWS + 1];
  ldpc_edge edge[LDPC_MAX_EDGES]; /* by row */
} ldpc_plan;

/* Row t of block row r: the XOR over its edges of bit (t + shift) mod lift of block column
 * `column`. PL_E_ARGUMENT: bits or qber out of range. */
int ldpc_plan_init(ldpc_plan *plan, int64_t bits, double qber, const uint8_t seed[PL_SEED_BYTES]);
/* One fixed code, for tests and measurements. */
int ldpc_plan_fixed(ldpc_plan *plan, int64_t bits, double qber, int code, int columns, int lift,
                    int frames, const uint8_t seed[PL_SEED_BYTES]);

/* a modulo b for 0 <= a < 2 b */
static inline int ldpc_wrap(int a, int b) { return a < b ? a : a - b; }
static inline int ldpc_words(const ldpc_plan *p) { return p->lift / 64; } /* of a block */
static inline int ldpc_frame_words(const ldpc_plan *p) { return p->columns * ldpc_words(p); }
static inline int ldpc_syndrome_words(const ldpc_plan *p) {
  return p->code->rows * ldpc_words(p);
}
static inline int64_t ldpc_frame_bits(const ldpc_plan *p, int frame) {
  int64_t left = p->bits - frame * p->payload;
  return left < 0 ? 0 : left < p->payload ? left : p->payload;
}
/* Key bit at order position p, and back. */
int64_t ldpc_key_index(const ldpc_plan *plan, int64_t position);
int64_t ldpc_order_position(const ldpc_plan *plan, int64_t index);

/* Copies a key to *kept, which only grows; what is behind its end is wiped. */
int ldpc_key_keep(pl_secret **kept, const pl_secret *key);
/* Bits of a frame, least significant first, zeros behind its end. */
void ldpc_frame_load(const ldpc_plan *plan, int frame, const uint8_t *key, uint64_t *words);
/* syndrome ^= H * words */
void ldpc_syndrome_add(const ldpc_plan *plan, const uint64_t *words, uint64_t *syndrome);
void ldpc_header(const ldpc_plan *plan, uint8_t out[LDPC_HEADER]);
int64_t ldpc_message_bytes(const ldpc_plan *plan);

static inline uint32_t ldpc_get32(const uint8_t *p) {
  return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline void ldpc_put32(uint8_t *p, uint32_t v) {
  for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> 8 * i);
}

/* ---- the decoder's inner loop ----
 * Log-likelihood ratios in steps of 1/LDPC_UNIT; LDPC_FALL[d] = 16 exp(-d / LDPC_UNIT); the
 * logarithms are LDPC_UNIT ln(s / LDPC_ONE) for s below 16, by s / 4 and by s / 16. */
enum { LDPC_UNIT = 3, LDPC_ONE = 8, LDPC_CAP = 31 };
#define LDPC_FALL {16, 11, 8, 6, 4, 3, 2, 2, 1, 1, 1, 0, 0, 0, 0, 0}
#define LDPC_LOG_FINE {-127, -6, -4, -3, -2, -1, -1, 0, 0, 0, 1, 1, 1, 1, 2, 2}
#define LDPC_LOG_MIDDLE {-5, -1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5, 6, 6, 6}
#define LDPC_LOG_COARSE {0, 3, 5, 6, 7, 7, 8, 8, 8, 9, 9, 9, 10, 10, 10, 10}
typedef struct { /* one block column as a row of the base matrix meets it */
  const int8_t *in; /* lift values and the first LDPC_LANES again */
  int8_t *out;      /* the same, seen from this row: value t belongs to check t */
  int shift;        /* check t meets in[(t + shift) mod lift]; below lift */
} ldpc_line;
/* One block row. messages: lift * degree values, kept between iterations; sign: 0 or -1 per check.
 * Returns whether any check was violated by the values as they came. */
typedef int ldpc_row_kernel(const ldpc_line *line, int degree, int lift, int8_t *messages,
                            const int8_t *sign);
ldpc_row_kernel ldpc_row_portable;
#if defined(__x86_64__)
ldpc_row_kernel ldpc_row_avx2;
#endif
ldpc_row_kernel *ldpc_row_for(int simd);

typedef struct ldpc_decoder ldpc_decoder; /* working memory; holds nothing secret */
ldpc_decoder *ldpc_decoder_new(ldpc_row_kernel *row); /* for any plan */
void ldpc_decoder_free(ldpc_decoder *decoder);
/* The error pattern whose syndrome is `target`. known: mask of positions without error. Returns
 * the iterations used, or 0 when there was no success in `limit`; `error` gets the last guess. */
int ldpc_decode(ldpc_decoder *decoder, const ldpc_plan *plan, const uint64_t *target,
                const uint64_t *known, int limit, uint64_t *error);
/* After a failure: the decoder's uncertainty of each position, higher = less certain. Returns the
 * number of violated checks. */
int ldpc_doubt(ldpc_decoder *decoder, const ldpc_plan *plan, uint8_t *doubt);
#endif
