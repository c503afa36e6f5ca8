/* k-way merge of sorted streams.
 *
 * The output is made in blocks that stay in the cache: the streams are cut at a common time, and
 * the pieces merged pairwise, level by level. A two-way merge is one chain of dependent steps;
 * four of them, started at a quarter of the way each, run side by side. */
#include <stdlib.h>
#include <string.h>

#include "decode.h"

enum { STREAMS_MAX = 64, BLOCK = 16384, WALKS = 4 };

typedef struct {
  const int64_t *t;
  const uint8_t *c;
  size_t n;
} piece;

/* How many of the first `rank` merged elements come from a; those of a go first among equals. */
static size_t share(const piece *a, const piece *b, size_t rank) {
  size_t low = rank > b->n ? rank - b->n : 0, high = rank < a->n ? rank : a->n;
  while (low < high) {
    size_t i = low + (high - low) / 2;
    if (a->t[i] <= b->t[rank - 1 - i])
      low = i + 1;
    else
      high = i;
  }
  return low;
}

/* Merges the output positions [from, to), with `i` elements of a before them. */
static void walk(const piece *a, const piece *b, size_t i, size_t from, size_t to, int64_t *t,
                 uint8_t *c) {
  size_t j = from - i;
  for (size_t o = from; o < to; o++) {
    if (j == b->n || (i < a->n && a->t[i] <= b->t[j])) {
      t[o] = a->t[i];
      c[o] = a->c[i++];
    } else {
      t[o] = b->t[j];
      c[o] = b->c[j++];
    }
  }
}

/* One step without a branch; j is implied by i. */
static inline size_t step(const piece *a, const piece *b, size_t i, size_t o, int64_t *t,
                          uint8_t *c) {
  size_t j = o - i;
  int64_t ta = a->t[i], tb = b->t[j];
  int second = tb < ta;
  uint8_t ca = a->c[i], cb = b->c[j];
  t[o] = second ? tb : ta;
  c[o] = (uint8_t)(ca ^ ((ca ^ cb) & -second));
  return i + !second;
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Steps that no walk can take beyond the end of its pieces. */
static size_t safe(const piece *a, const piece *b, const size_t *i, const size_t *o,
                   const size_t *end) {
  size_t n = SIZE_MAX;
  for (int k = 0; k < WALKS; k++) {
    n = least(n, end[k] - o[k]);
    n = least(n, a->n - i[k]);
    n = least(n, b->n - (o[k] - i[k]));
  }
  return n;
}

static void merge2(piece a, piece b, int64_t *t, uint8_t *c) {
  const size_t n = a.n + b.n;
  size_t i[WALKS], o[WALKS], end[WALKS];
  for (size_t k = 0; k < WALKS; k++) {
    o[k] = n * k / WALKS;
    end[k] = n * (k + 1) / WALKS;
    i[k] = share(&a, &b, o[k]);
  }
  for (size_t m; (m = safe(&a, &b, i, o, end)) >= 16;) {
    size_t i0 = i[0], i1 = i[1], i2 = i[2], i3 = i[3];
    for (size_t s = 0; s < m; s++) {
      i0 = step(&a, &b, i0, o[0] + s, t, c);
      i1 = step(&a, &b, i1, o[1] + s, t, c);
      i2 = step(&a, &b, i2, o[2] + s, t, c);
      i3 = step(&a, &b, i3, o[3] + s, t, c);
    }
    i[0] = i0, i[1] = i1, i[2] = i2, i[3] = i3;
    for (int k = 0; k < WALKS; k++) o[k] += m;
  }
  for (int k = 0; k < WALKS; k++) walk(&a, &b, i[k], o[k], end[k], t, c);
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

/* Merges the pieces of one block pairwise; two scratch areas take turns, the last level goes out. */
static void merge_block(size_t streams, piece *block, int64_t *scratch_t, uint8_t *scratch_c,
                        size_t area, int64_t *t, uint8_t *c) {
  int turn = 0;
  for (; streams > 2; streams = (streams + 1) / 2, turn ^= 1) {
    size_t at = turn ? area : 0;
    for (size_t k = 0; k < streams; k += 2) {
      piece a = block[k], b = k + 1 < streams ? block[k + 1] : (piece){a.t, a.c, 0};
      merge2(a, b, scratch_t + at, scratch_c + at);
      block[k / 2] = (piece){scratch_t + at, scratch_c + at, a.n + b.n};
      at += a.n + b.n;
    }
  }
  merge2(block[0], streams > 1 ? block[1] : (piece){block[0].t, block[0].c, 0}, t, c);
}

static int sorted(const int64_t *t, size_t n) {
  int back = 0;
  for (size_t i = 1; i < n; i++) back |= t[i] < t[i - 1];
  return !back;
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
  const size_t most = BLOCK / streams;
  int64_t *scratch_t = malloc(2 * BLOCK * sizeof *scratch_t);
  uint8_t *scratch_c = malloc(2 * BLOCK);
  int64_t status = scratch_t && scratch_c ? (int64_t)total : PL_DECODE_E_MEMORY;
  for (size_t done = 0; status >= 0 && done < total;) {
    size_t n = cut(streams, left, most, block);
    for (size_t k = 0; k < streams; k++) {
      left[k].t += block[k].n;
      left[k].c += block[k].n;
      left[k].n -= block[k].n;
      if (!sorted(block[k].t, block[k].n + (left[k].n > 0))) status = PL_DECODE_E_DATA;
    }
    if (status < 0) break;
    merge_block(streams, block, scratch_t, scratch_c, BLOCK, time_ps + done, channel + done);
    done += n;
  }
  if (scratch_t) explicit_bzero(scratch_t, 2 * BLOCK * sizeof *scratch_t);
  if (scratch_c) explicit_bzero(scratch_c, 2 * BLOCK);
  free(scratch_t);
  free(scratch_c);
  return status;
}
