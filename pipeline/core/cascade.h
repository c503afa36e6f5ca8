/* Common parts of both ends of Cascade: the division of a key into frames, the public permutations,
 * and the wire format of requests. docs/cascade.md describes all three. */
#ifndef PHOTONLINK_CASCADE_H
#define PHOTONLINK_CASCADE_H
#include <string.h>

#include "core.h"

enum {
  CC_UNIT_WORDS = 64,                  /* a unit: 64 words, transposed as a 64x64 matrix */
  CC_UNIT_BITS = 4096,
  CC_MAX_UNITS = 16,                   /* units per frame: at most 65,536 positions */
  CC_MAX_WORDS = CC_MAX_UNITS * CC_UNIT_WORDS,
  CC_PASSES = 3,                       /* passes over blocks */
  CC_SUBSETS = 16,                     /* random subsets that can be requested */
  CC_HEADER = 6,                       /* bytes of a group header */
  CC_MIN_LEVEL = 2,                    /* smallest block that may be requested: 4 positions */
  CC_MAX_LEVEL = 12,                   /* largest: 4,096 */
  CC_SUBSET_BASE = 16                  /* "what" of subset j is 16 + j */
};

/* The kinds of groups in a request. */
enum {
  CC_OP_HALVES = 0,  /* listed middles m: the positions below m, as many as m's lowest set bit */
  CC_OP_BLOCKS = 1,  /* all blocks of 2^level */
  CC_OP_LISTED = 2,  /* listed blocks of 2^level */
  CC_OP_SUBSETS = 3, /* random subsets of the whole frame */
  CC_OP_LOWER = 4    /* the lower halves of all blocks of 2^level */
};

typedef struct { /* the layout of a key of n bits */
  int64_t bits, words, units;
  int frames;
} cc_layout;

/* Permutation of a frame's positions for passes 1 and 2 (pass 0 is the frame's own order):
 * word shuffle, rotation of each word, 64x64 transposes, word shuffle. */
typedef struct {
  uint16_t from1[CC_MAX_WORDS], to1[CC_MAX_WORDS]; /* slot a holds word from1[a]; to1 inverts */
  uint16_t from2[CC_MAX_WORDS], to2[CC_MAX_WORDS];
  uint8_t rotate[CC_MAX_WORDS];                    /* by slot a, to the left */
} cc_perm;

typedef struct cc_kernels cc_kernels; /* inner loops for this machine, see cascade_kernels.h */

typedef struct {
  cc_layout layout;
  const cc_kernels *kernels;
  cc_perm perm[2][CC_PASSES - 1];  /* [frame has units/frames (0) or one more (1)][pass - 1] */
  uint64_t random[CC_MAX_WORDS];   /* what the random subsets are made of */
} cc_public;

static inline int cc_frames(int64_t bits) {
  return (int)((bits + CC_MAX_WORDS * 64 - 1) / (CC_MAX_WORDS * 64));
}
int cc_public_init(cc_public *pub, int64_t bits, const uint8_t seed[PL_SEED_BYTES]);
int cc_frame_units(const cc_layout *layout, int frame);

/* One frame's words out of the key (bits MSB-first within bytes), and back (spoils words). */
void cc_frame_load(const cc_public *pub, int frame, const uint8_t *key, uint64_t *words);
void cc_frame_store(const cc_public *pub, int frame, uint64_t *words, uint8_t *key);
/* Mask of the positions that hold a key bit. Returns 0 when all do, and writes nothing then. */
int cc_frame_real(const cc_public *pub, int frame, uint64_t *words);

/* For cascade_many.c. An object without a key; restart with a key that lies anywhere; the
 * corrected key. PL_E_ARGUMENT: `bits` is not its length. */
pl_cascade_alice *cc_alice_empty(void);
int cc_alice_begin(pl_cascade_alice *alice, const uint8_t *key, int64_t bits, const uint8_t *seed,
                   int64_t leak_cap);
pl_cascade_bob *cc_bob_empty(int fewer_rounds);
int cc_bob_begin(pl_cascade_bob *bob, const uint8_t *key, int64_t bits, const uint8_t *seed,
                 double qber);
int cc_bob_store(pl_cascade_bob *bob, uint8_t *key, int64_t bits);

static inline int cc_to(const cc_perm *p, int position) { /* frame order -> pass order */
  int a = p->to1[position >> 6];
  int bit = (position + p->rotate[a]) & 63;
  return p->to2[(a & ~63) | bit] << 6 | (a & 63);
}
static inline int cc_from(const cc_perm *p, int position) { /* pass order -> frame order */
  int t = p->from2[position >> 6];
  int a = (t & ~63) | (position & 63);
  return p->from1[a] << 6 | ((t - p->rotate[a]) & 63);
}
static inline const cc_perm *cc_perm_of(const cc_public *pub, int frame, int pass) {
  return &pub->perm[cc_frame_units(&pub->layout, frame) > pub->layout.units / pub->layout.frames]
                   [pass - 1];
}

/* Positions 64 w .. 64 w + 63 of random subset j, a mask. */
static inline uint64_t cc_subset(const cc_public *pub, int j, int w) {
  uint64_t x = pub->random[w];
  return x << (4 * j) | x >> (-4 * j & 63);
}

static inline unsigned cc_parity(uint64_t x) { return (unsigned)__builtin_parityll(x); }
static inline unsigned cc_get16(const uint8_t *p) {
  uint16_t v; /* little-endian machines only, see secret.h */
  memcpy(&v, p, sizeof v);
  return v;
}
static inline void cc_put16(uint8_t *p, unsigned v) {
  uint16_t low = (uint16_t)v;
  memcpy(p, &low, sizeof low);
}

static inline void cc_put_header(uint8_t *p, int frame, int what, int op, int level, int count) {
  cc_put16(p, (unsigned)frame);
  p[2] = (uint8_t)what;
  p[3] = (uint8_t)(op << 5 | level);
  cc_put16(p + 4, (unsigned)count);
}

/* Parities on the wire: the first is the least significant bit of the first byte. */
typedef struct {
  uint8_t *next;
  uint64_t bits;
  int n; /* of bits, below 64 */
} cc_bits;
/* The low n of x, 0 < n <= 64; the others are zero. */
static inline void cc_put_bits(cc_bits *w, uint64_t x, int n) {
  w->bits |= x << w->n;
  if (w->n + n < 64) {
    w->n += n;
    return;
  }
  memcpy(w->next, &w->bits, 8);
  w->next += 8;
  w->bits = w->n ? x >> (64 - w->n) : 0;
  w->n += n - 64;
}
typedef struct {
  const uint8_t *bytes;
  size_t size;
  size_t at; /* bit; the caller counts the answers, so it never moves beyond the end */
} cc_reader;
/* The next n <= 57 of them. */
static inline uint64_t cc_next_bits(cc_reader *r, int n) {
  uint64_t x = 0;
  size_t byte = r->at >> 3;
  if (r->size - byte >= 8)
    memcpy(&x, r->bytes + byte, 8);
  else
    memcpy(&x, r->bytes + byte, r->size - byte);
  x >>= r->at & 7;
  r->at += (size_t)n;
  return x & (((uint64_t)1 << n) - 1);
}
#endif
