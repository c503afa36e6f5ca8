/* k-way merge of sorted streams.
 *
 * The output is made in blocks that stay in the cache: the streams are cut at a common time, and
 * each tag of a block becomes one key: its time since the block's first, its stream, its channel.
 * Merging never compares tags of one stream, so ties are decided by the stream, as they should,
 * and needs no second array. Pieces are merged pairwise, level by level; as a two-way merge is one
 * chain of dependent steps, four of them, a quarter of the way apart, run side by side. */
#include <stdlib.h>
#include <string.h>

#include "decode.h"

enum { STREAMS_MAX = 64, BLOCK = 16384, WALKS = 4 };
enum { STEP = 32, AHEAD = 256 }; /* tags */
enum { STREAM_SHIFT = 8, TIME_SHIFT = 14 }; /* in a key */

typedef struct {
  const int64_t *t;
  const uint8_t *c;
  size_t n;
} piece;

typedef struct {
  const uint64_t *key;
  size_t n;
} run;

typedef struct {
  /* two areas take turns, the third holds the block as it came; room for a sentinel per run */
  uint64_t keys[3][BLOCK + STREAMS_MAX];
} scratch;

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* The loops over whole blocks, built for any machine and for AVX2. They meet the block first and
 * last, so they fetch ahead. */
typedef struct {
  int (*sorted)(const int64_t *t, size_t n);
  void (*pack)(const piece *p, uint64_t stream, int64_t first, uint64_t *key);
  void (*unpack)(const uint64_t *key, size_t n, int64_t first, int64_t *t, uint8_t *c);
} loops;

#define LOOPS(name, target)                                                                      \
  target static int sorted_##name(const int64_t *t, size_t n) {                                  \
    int back = 0;                                                                                \
    for (size_t k = 1; k < n; k += STEP) {                                                       \
      __builtin_prefetch(t + k + AHEAD);                                                         \
      size_t end = least(k + STEP, n);                                                           \
      for (size_t i = k; i < end; i++) back |= t[i] < t[i - 1];                                  \
    }                                                                                            \
    return !back;                                                                                \
  }                                                                                              \
  target static void pack_##name(const piece *p, uint64_t stream, int64_t first,                 \
                                 uint64_t *restrict key) {                                       \
    const int64_t *t = p->t;                                                                     \
    const uint8_t *c = p->c;                                                                     \
    for (size_t i = 0; i < p->n; i++)                                                            \
      key[i] = ((uint64_t)t[i] - (uint64_t)first) << TIME_SHIFT | stream << STREAM_SHIFT | c[i]; \
  }                                                                                              \
  target static void unpack_##name(const uint64_t *restrict key, size_t n, int64_t first,        \
                                   int64_t *restrict t, uint8_t *restrict c) {                   \
    for (size_t k = 0; k < n; k += STEP) {                                                       \
      __builtin_prefetch(t + k + AHEAD, 1);                                                      \
      size_t end = least(k + STEP, n);                                                           \
      for (size_t i = k; i < end; i++) {                                                         \
        t[i] = (int64_t)((key[i] >> TIME_SHIFT) + (uint64_t)first);                              \
        c[i] = (uint8_t)key[i];                                                                  \
      }                                                                                          \
    }                                                                                            \
  }                                                                                              \
  static const loops name = {sorted_##name, pack_##name, unpack_##name};

LOOPS(plain, )
#if defined(__x86_64__)
LOOPS(avx2, __attribute__((target("avx2"))))
#endif

static const loops *chosen_loops(void) {
#if defined(__x86_64__)
  if (pl_decode_level_get() >= PL_DECODE_AVX2) return &avx2;
#endif
  return &plain;
}

/* How many of the first `rank` merged keys come from a. */
static size_t share(const run *a, const run *b, size_t rank) {
  size_t low = rank > b->n ? rank - b->n : 0, high = least(rank, a->n);
  while (low < high) {
    size_t i = low + (high - low) / 2;
    if (a->key[i] < b->key[rank - 1 - i])
      low = i + 1;
    else
      high = i;
  }
  return low;
}

/* m steps of all walks without a branch; the place in b is implied by that in a. */
static void walk4(const uint64_t *restrict a, const uint64_t *restrict b, size_t *i,
                  const size_t *o, size_t m, uint64_t *restrict out) {
  size_t i0 = i[0], i1 = i[1], i2 = i[2], i3 = i[3];
  const uint64_t *b0 = b + o[0], *b1 = b + o[1], *b2 = b + o[2], *b3 = b + o[3];
  uint64_t *o0 = out + o[0], *o1 = out + o[1], *o2 = out + o[2], *o3 = out + o[3];
#define WALK(K)                                               \
  do {                                                        \
    uint64_t x = a[i##K], y = b##K[(ptrdiff_t)(s - i##K)];    \
    o##K[s] = x < y ? x : y;                                  \
    i##K += x < y;                                            \
  } while (0)
  for (size_t s = 0; s < m; s++) {
    WALK(0);
    WALK(1);
    WALK(2);
    WALK(3);
  }
#undef WALK
  i[0] = i0, i[1] = i1, i[2] = i2, i[3] = i3;
}

/* Both runs end with a sentinel that is not less than any key, so a walk may look past the end. */
static void merge2(run a, run b, uint64_t *out) {
  const size_t n = a.n + b.n, quarter = n / WALKS;
  size_t i[WALKS], o[WALKS];
  for (size_t k = 0; k < WALKS; k++) {
    o[k] = quarter * k;
    i[k] = share(&a, &b, o[k]);
  }
  walk4(a.key, b.key, i, o, quarter, out);
  size_t x = i[WALKS - 1];
  for (size_t end = quarter * WALKS; end < n; end++) {
    int first = a.key[x] < b.key[end - x];
    out[end] = first ? a.key[x] : b.key[end - x];
    x += (size_t)first;
  }
  out[n] = UINT64_MAX;
}

/* Elements before `t`, or up to and with it. */
static size_t below(const int64_t *x, size_t n, int64_t t, int with) {
  size_t low = 0;
  while (n > 0) {
    size_t half = n / 2;
    if (x[low + half] < t || (with && x[low + half] == t)) {
      low += half + 1;
      n -= half + 1;
    } else {
      n = half;
    }
  }
  return low;
}

/* The next block: at most `most` of each stream, cut so that everything left over belongs behind
 * it. The stream whose piece of that length ends earliest gives the time of the cut. */
static size_t cut(size_t streams, const piece *left, size_t most, piece *block) {
  size_t first = streams, total = 0;
  for (size_t k = 0; k < streams; k++)
    if (left[k].n >= most && (first == streams || left[k].t[most - 1] < left[first].t[most - 1]))
      first = k;
  for (size_t k = 0; k < streams; k++) {
    block[k] = left[k];
    if (k == first)
      block[k].n = most;
    else if (first < streams)
      block[k].n = below(left[k].t, least(left[k].n, most), left[first].t[most - 1], k < first);
    total += block[k].n;
  }
  return total;
}

/* Merges one block of n tags that lie within 2^(64 - TIME_SHIFT) ps. */
static void merge_block(const loops *l, size_t streams, const piece *block, size_t n,
                        int64_t first, scratch *w, int64_t *t, uint8_t *c) {
  run runs[STREAMS_MAX];
  uint64_t *free_keys = w->keys[2];
  for (size_t k = 0; k < streams; k++) {
    runs[k] = (run){free_keys, block[k].n};
    l->pack(&block[k], k, first, free_keys);
    free_keys += block[k].n + 1;
    free_keys[-1] = UINT64_MAX;
  }
  for (int turn = 0; streams > 1; streams = (streams + 1) / 2, turn ^= 1) {
    uint64_t *out = w->keys[turn];
    for (size_t k = 0; k < streams; k += 2) {
      size_t both = runs[k].n + (k + 1 < streams ? runs[k + 1].n : 0);
      if (k + 1 < streams)
        merge2(runs[k], runs[k + 1], out);
      else
        memcpy(out, runs[k].key, (both + 1) * sizeof *out);
      runs[k / 2] = (run){out, both};
      out += both + 1;
    }
  }
  l->unpack(runs[0].key, n, first, t, c);
}

/* The same for a block of any span: the rare case of almost no tags, or of hostile times. */
static void merge_sparse(size_t streams, piece *block, size_t n, int64_t *t, uint8_t *c) {
  for (size_t o = 0; o < n; o++) {
    size_t best = streams;
    for (size_t k = 0; k < streams; k++)
      if (block[k].n && (best == streams || *block[k].t < *block[best].t)) best = k;
    t[o] = *block[best].t++;
    c[o] = *block[best].c++;
    block[best].n--;
  }
}

/* Moves a block of n tags out of the streams; fails when one of them is not sorted. */
static int take(const loops *l, size_t streams, piece *left, const piece *block, int64_t *first,
                int64_t *last) {
  *first = INT64_MAX;
  *last = INT64_MIN;
  for (size_t k = 0; k < streams; k++) {
    const size_t n = block[k].n;
    left[k].t += n;
    left[k].c += n;
    left[k].n -= n;
    if (!l->sorted(block[k].t, n + (left[k].n > 0))) return PL_DECODE_E_DATA;
    if (n && block[k].t[0] < *first) *first = block[k].t[0];
    if (n && block[k].t[n - 1] > *last) *last = block[k].t[n - 1];
  }
  return PL_DECODE_OK;
}

int64_t pl_merge(size_t streams, const int64_t *const *times, const uint8_t *const *channels,
                 const size_t *lengths, int64_t *time_ps, uint8_t *channel, size_t capacity) {
  if (streams > STREAMS_MAX) return PL_DECODE_E_ARGUMENT;
  piece left[STREAMS_MAX], block[STREAMS_MAX];
  size_t total = 0;
  for (size_t k = 0; k < streams; k++) {
    if (lengths[k] > capacity - total) return PL_DECODE_E_CAPACITY;
    total += lengths[k];
    left[k] = (piece){times[k], channels[k], lengths[k]};
  }
  if (total == 0) return 0;
  scratch *w = malloc(sizeof *w);
  if (!w) return PL_DECODE_E_MEMORY;
  const loops *l = chosen_loops();
  int status = PL_DECODE_OK;
  for (size_t done = 0; done < total;) {
    int64_t first, last;
    size_t n = cut(streams, left, BLOCK / streams, block);
    if ((status = take(l, streams, left, block, &first, &last)) < 0) break;
    if (((uint64_t)last - (uint64_t)first) >> (64 - TIME_SHIFT))
      merge_sparse(streams, block, n, time_ps + done, channel + done);
    else
      merge_block(l, streams, block, n, first, w, time_ps + done, channel + done);
    done += n;
  }
  explicit_bzero(w, sizeof *w);
  free(w);
  return status < 0 ? status : (int64_t)total;
}
