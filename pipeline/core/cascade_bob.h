/* Bob's end of Cascade, internal to cascade_bob*.c: his state of one frame. */
#ifndef PHOTONLINK_CASCADE_BOB_H
#define PHOTONLINK_CASCADE_BOB_H
#include "cascade.h"
#include "cascade_kernels.h"

/* The state of 64 positions of one pass. Alice's known parities cut the pass into blocks, each a
 * power of two long and aligned to it. bound: a block begins at position i. odd, for such an i: its
 * parity differs from Alice's. A block of two positions and more that is in a list of searches is
 * marked in odd at i + 1, where no block begins. No other state of a conversation is kept. */
typedef struct {
  uint64_t bound, odd;
} bob_cell;

/* A search: an odd block of 2^level positions, level > 0. In one word, begin below level. */
typedef uint32_t bob_search;
enum { BOB_LEVEL = 16 };
static inline int bob_begin(bob_search s) { return (uint16_t)s; }
static inline int bob_level(bob_search s) { return (int)(s >> BOB_LEVEL); }
static inline bob_search bob_new_search(int begin, int level) {
  return (bob_search)begin | (bob_search)level << BOB_LEVEL;
}

struct bob_pass {
  uint64_t *key;
  bob_cell *cell;
  uint64_t *real;                /* positions that hold a key bit; NULL: all do */
  uint64_t starts[CC_MAX_UNITS]; /* by word: a block begins at its first bit */
  bob_search *search, *parked;   /* parked: long ones, for later; room for all in both */
  int searches, waiting, capacity; /* `waiting` of them are parked */
  int ordered;                     /* number of searches that were requested before */
  unsigned shortest;                /* no parked block is shorter: level */
  int searching;                 /* pass 0, first searches: their level now */
  int level;                     /* of the requested blocks */
};

typedef enum { /* the stages of a frame, in their order */
  BOB_TOP,      /* the blocks of pass 0 are requested */
  BOB_MEASURED, /* their parities are known and give the error rate */
  BOB_REFINE,   /* they are halved; back to measured */
  BOB_FIRST,    /* the odd ones are searched, in a frame without padding */
  BOB_CASCADE,  /* passes and searches until no block is odd */
  BOB_SUBSETS,  /* random subsets */
  BOB_DONE
} bob_stage;

struct bob_frame {
  bob_pass pass[CC_PASSES];
  const cc_perm *perm[CC_PASSES]; /* [0] unused */
  bob_stage stage;
  int words, index, built;   /* built: passes that exist */
  double fill, density;      /* key bits per position; errors per position */
  int blocks, odd_blocks;    /* last parities of pass 0 */
  uint32_t subset_odd;       /* bit j: random subset j differs */
  int tries;                 /* searches in subsets */
  int subset, begin, level, odd; /* the present search (subset < 0: none) */
  int64_t errors;
};

struct pl_cascade_bob {
  cc_public pub;
  uint8_t *request; /* the open requests; positions are public */
  size_t request_size, request_capacity;
  int64_t request_bits;
  int in_flight, broken;
  int fewer_rounds; /* at the price of more parities: 0 or 1 */
  double rate, rate_high; /* errors per bit: expected, then measured in pass 0 */
  uint64_t *store; /* keys and cells of all passes, frame by frame */
  uint64_t *extra; /* one frame for moving words about, masks of the padded frame, the key given */
  size_t store_bytes, extra_bytes;
  const uint8_t *original;
  bob_frame *frame;
  int frames; /* room in `frame` */
};

enum { BOB_MAX_TRIES = 256, NO_LEVEL = 32 };

/* cascade_bob_frame.c. Each flip or split may append to the lists of searches: make room before. */
int bob_make_room(bob_pass *pass, int more);
void bob_cut(bob_frame *frame, int pass, int level);
void bob_flip_subsets(const cc_public *pub, bob_frame *frame, int position);
int bob_real(const bob_pass *pass, int begin, int end);
unsigned bob_subset_parity(const cc_public *pub, const bob_frame *frame, int subset, int begin,
                           int end);

/* cascade_bob_ask.c: the frame's part of the next request. */
int bob_ask(pl_cascade_bob *bob, bob_frame *frame);
/* cascade_bob_hear.c: one group of the request in flight, with its answers. */
int bob_hear(pl_cascade_bob *bob, const uint8_t **group, cc_reader *parities);
/* cascade_bob_measure.c: the error rate from a pass's blocks, used for requests and for answers. */
int bob_queue_odd(bob_frame *frame, bob_pass *pass, int odd);
int bob_measured(bob_frame *frame, int blocks, int odd);
void bob_measure_rate(pl_cascade_bob *bob);
int bob_start_searches(pl_cascade_bob *bob, bob_frame *frame);
int bob_refine(bob_frame *frame, int count, const uint8_t *middles, cc_reader *parities);

/* A bit at every multiple of 2^level, level <= 6. */
static inline uint64_t bob_comb(int level) {
  uint64_t x = 1;
  for (int s = 32; s >= 1 << level; s >>= 1) x |= x << s;
  return x;
}

static inline uint64_t bob_low_bits(int n) { return ((uint64_t)1 << n) - 1; } /* n < 64 */

/* Parity of `length` positions, a power of two, from a multiple of it on. */
static inline unsigned bob_parity(const uint64_t *key, int begin, int length) {
  if (length <= 64)
    return cc_parity(key[begin >> 6] >> (begin & 63) & (~(uint64_t)0 >> (64 - length)));
  uint64_t sum = 0;
  for (int w = begin >> 6, end = w + (length >> 6); w < end; w++) sum ^= key[w];
  return cc_parity(sum);
}
static inline unsigned bob_is_odd(const bob_pass *p, int begin) {
  return (unsigned)(p->cell[begin >> 6].odd >> (begin & 63)) & 1;
}
static inline void bob_set_bound(bob_pass *p, int at) {
  p->cell[at >> 6].bound |= (uint64_t)1 << (at & 63);
  p->starts[at >> 12] |= (uint64_t)!(at & 63) << (at >> 6 & 63);
}
static inline void bob_queue(bob_pass *p, int begin, int level) {
  p->cell[begin >> 6].odd |= (uint64_t)2 << (begin & 63);
  p->search[p->searches++] = bob_new_search(begin, level);
}

#endif
