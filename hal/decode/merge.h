/* Inside of the merge: keys, runs of them, and the kernels of a level.
 *
 * A key is the time since the block's first tag, the tag's place in the block as it came (stream
 * after stream), its channel. So no two keys are equal, ties come out in the order in which they
 * came whatever compares them, and the channel needs no second array. All keys lie between BASE
 * and SENTINEL: as bits of a double they are finite, positive and not subnormal, so doubles
 * compare as the integers do. */
#ifndef PHOTONLINK_MERGE_H
#define PHOTONLINK_MERGE_H
#include "decode.h"

enum { PL_MERGE_BLOCK = 8192, PL_INDEX_BITS = 13 }; /* tags; 2^13 of them */
enum { PL_INDEX_SHIFT = 8, PL_TIME_SHIFT = PL_INDEX_SHIFT + PL_INDEX_BITS };
enum { PL_MERGE_PAD = 8 }; /* sentinels behind every run: as many as the widest vector holds */
#define PL_KEY_BASE ((uint64_t)1 << 52)
#define PL_KEY_SENTINEL ((uint64_t)0x7ff << 52) /* infinity */
/* A block whose times differ by this or more has no room in a key. */
#define PL_MERGE_SPAN ((PL_KEY_SENTINEL - PL_KEY_BASE) >> PL_TIME_SHIFT)

typedef struct {
  const int64_t *t;
  const uint8_t *c;
  size_t n;
} pl_piece;

typedef struct {
  const uint64_t *key; /* ascending, PL_MERGE_PAD sentinels behind them */
  size_t n;
} pl_keys;

/* Where the last level puts times and channels. It fetches what the next block begins with
 * meanwhile: merging computes, packing waits for memory. */
typedef struct {
  int64_t first; /* time of the block's first tag */
  int64_t *t;
  uint8_t *c;
  const pl_piece *next;
  size_t streams; /* at least one */
} pl_target;

typedef struct {
  /* Keys of a piece: time << PL_TIME_SHIFT, plus `from`, plus place and channel; no sentinels.
   * Returns whether the times ascend; when they do not, the keys are of no use. */
  int (*pack)(const pl_piece *p, uint64_t from, uint64_t *key);
  /* Both runs in one array. Sentinels behind the result are up to the caller. */
  void (*merge)(pl_keys a, pl_keys b, uint64_t *out);
  /* The same, back to times and channels; there is room for the merged keys in `spare`. */
  void (*finish)(pl_keys a, pl_keys b, uint64_t *spare, const pl_target *to);
} pl_merge_kernels;

/* The kernels of a level or, where it has none, of the next below. */
const pl_merge_kernels *pl_merge_kernels_of(int level);
/* pl_merge with these kernels. */
int64_t pl_merge_with(const pl_merge_kernels *kernels, size_t streams,
                      const int64_t *const *times, const uint8_t *const *channels,
                      const size_t *lengths, int64_t *time_ps, uint8_t *channel, size_t capacity);
extern const pl_merge_kernels pl_merge_plain;
#if defined(__x86_64__)
extern const pl_merge_kernels pl_merge_avx2, pl_merge_avx512;
int pl_avx2_pack(const pl_piece *p, uint64_t from, uint64_t *key);
#endif

/* Whether times do not decrease. */
static inline int pl_ascends(const int64_t *t, size_t n) {
  int back = 0;
  for (size_t i = 1; i < n; i++) back |= t[i] < t[i - 1];
  return !back;
}

static inline uint64_t pl_key(int64_t t, size_t i, uint8_t c, uint64_t from) {
  return ((uint64_t)t << PL_TIME_SHIFT) + from + ((uint64_t)i << PL_INDEX_SHIFT) + c;
}

/* A key's time is key >> PL_TIME_SHIFT plus this. */
static inline uint64_t pl_key_origin(int64_t first) {
  return (uint64_t)first - (PL_KEY_BASE >> PL_TIME_SHIFT);
}

/* How many of the first `rank` keys of the merged runs come from a. Without branches: a search
 * in random keys would miss every other one. */
static inline size_t pl_share(pl_keys a, pl_keys b, size_t rank) {
  size_t low = rank > b.n ? rank - b.n : 0;
  size_t n = (rank < a.n ? rank : a.n) - low;
  while (n > 0) {
    size_t half = n / 2, i = low + half;
    size_t more = a.key[i] < b.key[rank - 1 - i];
    low += (half + 1) & -more;
    n = half - (more & ~n);
  }
  return low;
}
#endif
