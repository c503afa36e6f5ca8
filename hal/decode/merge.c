/* k-way merge of sorted streams.
 *
 * The output is made in blocks that stay in the cache: the streams are cut at a common time, each
 * tag of a block becomes one key (see merge.h), the runs of keys are merged pairwise, level by
 * level, and the last level turns the keys back into times and channels. */
#include "merge.h"

#include <stdlib.h>
#include <string.h>

enum { STREAMS_MAX = 64 };

typedef struct {
  /* the levels' input and output take turns */
  uint64_t keys[2][PL_MERGE_BLOCK + STREAMS_MAX * PL_MERGE_PAD];
} scratch;

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

const pl_merge_kernels *pl_merge_kernels_of(int level) {
#if defined(__x86_64__)
  if (level >= PL_DECODE_AVX512) return &pl_merge_avx512;
  if (level >= PL_DECODE_AVX2) return &pl_merge_avx2;
#endif
  (void)level;
  return &pl_merge_plain;
}

/* Elements before `t`, or up to and with it. */
static size_t below(const int64_t *x, size_t n, int64_t t, int with) {
  size_t low = 0;
  while (n > 0) {
    size_t half = n / 2;
    size_t more = (x[low + half] < t) | (with & (x[low + half] == t));
    low += (half + 1) & -more;
    n = half - (more & ~n);
  }
  return low;
}

/* The next block: at most `most` of each stream, cut so that everything left over belongs behind
 * it. The stream whose piece of that length ends earliest gives the time of the cut. */
static size_t cut(size_t streams, const pl_piece *left, size_t most, pl_piece *block) {
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

static uint64_t *close_run(uint64_t *end) {
  for (size_t i = 0; i < PL_MERGE_PAD; i++) *end++ = PL_KEY_SENTINEL;
  return end;
}

/* Merges one level; returns how many runs there are now. */
static size_t merge_level(const pl_merge_kernels *l, size_t streams, pl_keys *runs, uint64_t *out) {
  for (size_t k = 0; k < streams; k += 2) {
    pl_keys both = {out, runs[k].n};
    if (k + 1 < streams) {
      both.n += runs[k + 1].n;
      l->merge(runs[k], runs[k + 1], out);
    } else {
      memcpy(out, runs[k].key, both.n * sizeof *out);
    }
    out = close_run(out + both.n);
    runs[k / 2] = both;
  }
  return (streams + 1) / 2;
}

/* Merges one block whose times lie within PL_MERGE_SPAN; at least two streams. */
static int merge_block(const pl_merge_kernels *l, const pl_piece *block, scratch *w,
                       const pl_target *to) {
  size_t streams = to->streams;
  pl_keys runs[STREAMS_MAX];
  uint64_t *key = w->keys[0], from = PL_KEY_BASE - ((uint64_t)to->first << PL_TIME_SHIFT);
  for (size_t k = 0; k < streams; k++) {
    if (!l->pack(&block[k], from, key)) return PL_E_DATA;
    runs[k] = (pl_keys){key, block[k].n};
    key = close_run(key + block[k].n);
    from += (uint64_t)block[k].n << PL_INDEX_SHIFT;
  }
  int turn = 1;
  for (; streams > 2; turn ^= 1) streams = merge_level(l, streams, runs, w->keys[turn]);
  l->finish(runs[0], runs[1], w->keys[turn], to);
  return PL_OK;
}

/* The same for a block of any span: the rare case of almost no tags, or of hostile times. */
static void merge_sparse(size_t streams, pl_piece *block, size_t n, int64_t *t, uint8_t *c) {
  for (size_t o = 0; o < n; o++) {
    size_t best = streams;
    for (size_t k = 0; k < streams; k++)
      if (block[k].n && (best == streams || *block[k].t < *block[best].t)) best = k;
    t[o] = *block[best].t++;
    c[o] = *block[best].c++;
    block[best].n--;
  }
}

/* Merges a block and moves it out of the streams; fails when one of them is not sorted. */
static int take(const pl_merge_kernels *l, size_t streams, pl_piece *left, pl_piece *block,
                scratch *w, int64_t *t, uint8_t *c) {
  int64_t first = INT64_MAX, last = INT64_MIN;
  for (size_t k = 0; k < streams; k++) {
    const size_t n = block[k].n;
    left[k].t += n;
    left[k].c += n;
    left[k].n -= n;
    if (n == 0) continue;
    if (left[k].n && *left[k].t < block[k].t[n - 1]) return PL_E_DATA;
    if (block[k].t[0] < first) first = block[k].t[0];
    if (block[k].t[n - 1] > last) last = block[k].t[n - 1];
  }
  if ((uint64_t)last - (uint64_t)first < PL_MERGE_SPAN)
    return merge_block(l, block, w, &(pl_target){first, t, c, left, streams});
  size_t total = 0;
  for (size_t k = 0; k < streams; k++) {
    if (!pl_ascends(block[k].t, block[k].n)) return PL_E_DATA;
    total += block[k].n;
  }
  merge_sparse(streams, block, total, t, c);
  return PL_OK;
}

int64_t pl_merge_with(const pl_merge_kernels *l, size_t streams, const int64_t *const *times,
                      const uint8_t *const *channels, const size_t *lengths, int64_t *time_ps,
                      uint8_t *channel, size_t capacity) {
  if (streams > STREAMS_MAX) return PL_E_ARGUMENT;
  pl_piece left[STREAMS_MAX], block[STREAMS_MAX];
  size_t total = 0, used = 0;
  for (size_t k = 0; k < streams; k++) {
    if (lengths[k] > capacity - total) return PL_E_CAPACITY;
    total += lengths[k];
    if (lengths[k]) left[used++] = (pl_piece){times[k], channels[k], lengths[k]};
  }
  if (used == 0) return 0;
  if (used == 1) left[used++] = (pl_piece){left[0].t, left[0].c, 0};
  scratch *w = malloc(sizeof *w);
  if (!w) return PL_E_MEMORY;
  int status = PL_OK;
  for (size_t done = 0; done < total && status >= 0;) {
    size_t n = cut(used, left, PL_MERGE_BLOCK / used, block);
    status = take(l, used, left, block, w, time_ps + done, channel + done);
    done += n;
  }
  explicit_bzero(w, sizeof *w);
  free(w);
  return status < 0 ? status : (int64_t)total;
}

int64_t pl_merge(size_t streams, const int64_t *const *times, const uint8_t *const *channels,
                 const size_t *lengths, int64_t *time_ps, uint8_t *channel, size_t capacity) {
  const pl_merge_kernels *kernels = pl_merge_kernels_of(pl_decode_level_get());
  return pl_merge_with(kernels, streams, times, channels, lengths, time_ps, channel, capacity);
}
