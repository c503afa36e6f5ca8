/* Bob's end of Cascade: the state of one frame. Internal to cascade_bob*.c. */
#ifndef PHOTONLINK_CASCADE_BOB_H
#define PHOTONLINK_CASCADE_BOB_H
#include "cascade.h"

/* 64 positions of one pass. Alice's parities that are known cut the pass into blocks (each a
 * power of two long and aligned to it): bit i of `bound` is set where a block begins, and bit i of
 * `odd` where a block begins whose parity differs from Alice's. Nothing else is remembered. */
typedef struct {
  uint64_t key, bound, odd, real;
} bob_cell;

typedef struct {
  bob_cell *cell;
  uint64_t starts[CC_MAX_UNITS]; /* by word: a block begins at its first bit */
  uint64_t hot[CC_MAX_UNITS];    /* by word: odd is not zero */
} bob_pass;

typedef struct {
  const cc_perm *perm[CC_PASSES]; /* [0] unused */
  bob_pass pass[CC_PASSES];
  int words, padded, index;
  int built;           /* passes that exist */
  int level[CC_PASSES];
  double density;      /* expected errors per position */
  int top_answered;    /* top blocks of the newest pass are known */
  int subsets_known, done, searches;
  uint32_t subset_odd; /* bit j: subset j differs */
  int search, search_begin, search_level, search_odd; /* search: subset number or -1 */
  int64_t errors;
} bob_frame;

enum { BOB_SUBSETS = 16, BOB_MAX_SEARCHES = 256 };

void bob_build(const cc_public *pub, bob_frame *frame, int pass, uint64_t *scratch);
int bob_flip(const cc_public *pub, bob_frame *frame, int position);
int bob_block_size(const bob_frame *frame, const bob_pass *pass, int begin);
unsigned bob_range_parity(const bob_pass *pass, int begin, int end);
int bob_range_real(const bob_pass *pass, int begin, int end);
int bob_split(const cc_public *pub, bob_frame *frame, int pass, unsigned middle, unsigned left_odd);
int bob_settle(const cc_public *pub, bob_frame *frame);
void bob_mark(bob_pass *pass, int begin, unsigned odd);
unsigned bob_subset_parity(const cc_public *pub, const bob_frame *frame, int subset, int begin,
                           int end);

static inline int bob_hot(const bob_frame *f) {
  uint64_t any = 0;
  for (int p = 0; p < f->built; p++)
    for (int u = 0; u < f->words / 64; u++) any |= f->pass[p].hot[u];
  return any != 0;
}
#endif
