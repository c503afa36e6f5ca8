/* k-way merge of sorted streams.
 *
 * The output is made in blocks that stay in the cache: the streams are cut at a common time, and
 * each tag of a block becomes one key, its time since the block's first above its position among
 * the streams. Keys are all different and their order is the stable order by time, so merging
 * needs no second array. Pieces are merged pairwise, level by level; as a two-way merge is one
 * chain of dependent steps, four of them, a quarter of the way apart, run side by side. */
#include <stdlib.h>
#include <string.h>

#include "decode.h"

enum { STREAMS_MAX = 64, BLOCK_BITS = 14, BLOCK = 1 << BLOCK_BITS, WALKS = 4 };

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
  uint64_t keys[3][BLOCK]; /* two areas take turns, the third holds the block as it came */
  uint8_t channels[BLOCK];
} scratch;

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

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

/* Steps that no walk can take beyond the end of its keys. */
static size_t safe(const run *a, const run *b, const size_t *i, const size_t *o,
                   const size_t *end) {
  size_t n = SIZE_MAX;
  for (int k = 0; k < WALKS; k++) {
    n = least(n, end[k] - o[k]);
    n = least(n, a->n - i[k]);
    n = least(n, b->n - (o[k] - i[k]));
  }
  return n;
}

/* m steps of all walks without a branch; the place in b is implied by that in a. */
static void walk4(const uint64_t *restrict a, const uint64_t *restrict b, size_t *i,
                  const size_t *o, size_t m, uint64_t *restrict out) {
  size_t i0 = i[0], i1 = i[1], i2 = i[2], i3 = i[3];
  const uint64_t *b0 = b + o[0], *b1 = b + o[1], *b2 = b + o[2], *b3 = b + o[3];
  uint64_t *o0 = out + o[0], *o1 = out + o[1], *o2 = out + o[2], *o3 = out + o[3];
#define STEP(K)                                               \
  do {                                                        \
    uint64_t x = a[i##K], y = b##K[(ptrdiff_t)(s - i##K)];    \
    o##K[s] = x < y ? x : y;                                  \
    i##K += x < y;                                            \
  } while (0)
  for (size_t s = 0; s < m; s++) {
    STEP(0);
    STEP(1);
    STEP(2);
    STEP(3);
  }
#undef STEP
  i[0] = i0, i[1] = i1, i[2] = i2, i[3] = i3;
}

static void merge2(run a, run b, uint64_t *out) {
  const size_t n = a.n + b.n;
  size_t i[WALKS], o[WALKS], end[WALKS];
  for (size_t k = 0; k < WALKS; k++) {
    o[k] = n * k / WALKS;
    end[k] = n * (k + 1) / WALKS;
    i[k] = share(&a, &b, o[k]);
  }
  for (size_t m; (m = safe(&a, &b, i, o, end)) >= WALKS;) {
    walk4(a.key, b.key, i, o, m, out);
    for (int k = 0; k < WALKS; k++) o[k] += m;
  }
  for (int k = 0; k < WALKS; k++)
    for (size_t x = i[k]; o[k] < end[k]; o[k]++) {
      size_t y = o[k] - x;
      int first = y == b.n || (x < a.n && a.key[x] < b.key[y]);
      out[o[k]] = first ? a.key[x] : b.key[y];
      x += (size_t)first;
    }
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

/* Merges one block of n tags that lie within 2^(64 - BLOCK_BITS) ps. */
static void merge_block(size_t streams, const piece *block, size_t n, int64_t first, scratch *w,
                        int64_t *t, uint8_t *c) {
  run runs[STREAMS_MAX];
  uint64_t at = 0;
  for (size_t k = 0; k < streams; k++) {
    runs[k] = (run){w->keys[2] + at, block[k].n};
    memcpy(w->channels + at, block[k].c, block[k].n);
    for (size_t i = 0; i < block[k].n; i++, at++)
      w->keys[2][at] = ((uint64_t)block[k].t[i] - (uint64_t)first) << BLOCK_BITS | at;
  }
  for (int turn = 0; streams > 1; streams = (streams + 1) / 2, turn ^= 1) {
    uint64_t *out = w->keys[turn];
    for (size_t k = 0; k < streams; k += 2) {
      run b = k + 1 < streams ? runs[k + 1] : (run){runs[k].key, 0};
      size_t both = runs[k].n + b.n;
      merge2(runs[k], b, out);
      runs[k / 2] = (run){out, both};
      out += both;
    }
  }
  const uint64_t *key = runs[0].key;
  for (size_t i = 0; i < n; i++) t[i] = (int64_t)((key[i] >> BLOCK_BITS) + (uint64_t)first);
  for (size_t i = 0; i < n; i++) c[i] = w->channels[key[i] & (BLOCK - 1)];
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

static int sorted(const int64_t *t, size_t n) {
  int back = 0;
  for (size_t i = 1; i < n; i++) back |= t[i] < t[i - 1];
  return !back;
}

/* Moves a block of n tags out of the streams; fails when one of them is not sorted. */
static int take(size_t streams, piece *left, const piece *block, int64_t *first, int64_t *last) {
  *first = INT64_MAX;
  *last = INT64_MIN;
  for (size_t k = 0; k < streams; k++) {
    const size_t n = block[k].n;
    left[k].t += n;
    left[k].c += n;
    left[k].n -= n;
    if (!sorted(block[k].t, n + (left[k].n > 0))) return PL_DECODE_E_DATA;
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
  int status = PL_DECODE_OK;
  for (size_t done = 0; done < total;) {
    int64_t first, last;
    size_t n = cut(streams, left, BLOCK / streams, block);
    if ((status = take(streams, left, block, &first, &last)) < 0) break;
    if (((uint64_t)last - (uint64_t)first) >> (64 - BLOCK_BITS))
      merge_sparse(streams, block, n, time_ps + done, channel + done);
    else
      merge_block(streams, block, n, first, w, time_ps + done, channel + done);
    done += n;
  }
  explicit_bzero(w, sizeof *w);
  free(w);
  return status < 0 ? status : (int64_t)total;
}
