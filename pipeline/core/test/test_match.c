#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

static uint64_t state = 88172645463325252u;

static uint64_t next(void) { /* xorshift64, Marsaglia 2003 */
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

/* The definition, one event after the other: the walk, then the nearer free neighbours. */
static size_t plain(const int64_t *a, size_t na, const int64_t *b, size_t nb, int64_t w,
                    int64_t *ai, int64_t *bi) {
  size_t n = 0, free_b = 0;
  for (size_t i = 0; i < na; i++)
    for (size_t j = free_b; j < nb && b[j] <= a[i] + w; j++)
      if (llabs(a[i] - b[j]) <= w) {
        ai[n] = (int64_t)i;
        bi[n++] = (int64_t)j;
        free_b = j + 1;
        break;
      }
  for (size_t k = 0; k < n; k++) {
    int64_t i_end = k + 1 < n ? ai[k + 1] : (int64_t)na, j_end = k + 1 < n ? bi[k + 1] : (int64_t)nb;
    while (bi[k] + 1 < j_end && llabs(a[ai[k]] - b[bi[k] + 1]) < llabs(a[ai[k]] - b[bi[k]])) bi[k]++;
    while (ai[k] + 1 < i_end && llabs(a[ai[k] + 1] - b[bi[k]]) < llabs(a[ai[k]] - b[bi[k]])) ai[k]++;
  }
  return n;
}

static void fill(int64_t *t, size_t n, uint64_t gap, int64_t at) {
  for (size_t k = 0; k < n; k++) t[k] = at += (int64_t)(next() % gap);
}

static void compare(size_t na, size_t nb, uint64_t gap, int64_t window) {
  int64_t start = next() % 4 ? 0 : INT64_MIN / 2, shift = (int64_t)(next() % 2000) - 1000;
  size_t most = na < nb ? na : nb;
  int64_t *a = malloc((na + 1) * 8), *b = malloc((nb + 1) * 8); /* exact sizes: ASan watches */
  int64_t *ai = malloc(most * 8 + 8), *bi = malloc(most * 8 + 8);
  int64_t *pi = malloc((most + 1) * 8), *pj = malloc((most + 1) * 8);
  assert(a && b && ai && bi && pi && pj);
  fill(a, na, gap, start);
  fill(b, nb, gap, start);
  int64_t n = pl_match(a, na, b, nb, window, ai, bi, most);
  assert(n == (int64_t)plain(a, na, b, nb, window, pi, pj));
  assert(memcmp(ai, pi, (size_t)n * 8) == 0 && memcmp(bi, pj, (size_t)n * 8) == 0);
  assert(pl_match_count(a, na, b, nb, window, 0) == n);
  n = pl_match_count(a, na, b, nb, window, shift);
  for (size_t k = 0; k < nb; k++) b[k] += shift;
  assert(n == (int64_t)plain(a, na, b, nb, window, pi, pj));
  free(a), free(b), free(ai), free(bi), free(pi), free(pj);
}

/* A list that is not sorted, exactly as long as it says: wrong counts, but no bin outside. */
static void unsorted_slices(void) {
  int64_t a = 50, b[2] = {60, 40};
  uint32_t *hist = calloc(16, sizeof *hist);
  assert(hist && pl_delay_slices(&a, 1, b, 2, 0, 1, 16, 0, 100, 1, hist) == 1);
  assert(hist[10] == 1);
  free(hist);
}

static void arguments(void) {
  int64_t a[2] = {0, 10}, b[2] = {1, 11}, i[2], j[2];
  assert(pl_match(a, 2, b, 2, -1, i, j, 2) == PL_E_ARGUMENT);
  assert(pl_match(a, 2, b, 2, 1, i, j, 1) == PL_E_CAPACITY);
  assert(pl_match(a, 2, b, 2, 1, i, j, 2) == 2);
  assert(pl_match(a, 2, b, 2, 0, i, j, 2) == 0); /* the window's edge belongs to it: */
  assert(pl_match_count(a, 2, b, 2, 1, 0) == 2 && pl_match_count(a, 2, b, 2, 0, -1) == 2);
  assert(pl_match_count(a, 0, b, 2, 5, 0) == 0);
}

static void histograms(void) {
  int64_t a[3] = {0, 1000, 2000}, b[4] = {5, 1005, 1995, 2049}, i[8], j[8];
  uint32_t hist[4] = {0};
  float bins[2] = {0};
  assert(pl_delay_slices(a, 3, b, 4, -50, 50, 2, 0, 1500, 2, hist) == 4);
  assert(hist[0] == 0 && hist[1] == 2 && hist[2] == 1 && hist[3] == 1);
  assert(pl_delay_pairs(a, 3, b, 4, -50, 50, i, j, 8) == 4 && i[3] == 2 && j[3] == 3);
  assert(pl_delay_pairs(a, 3, b, 4, -50, 49, i, j, 8) == 3);
  assert(pl_delay_pairs(a, 3, b, 4, -50, 50, i, j, 3) == PL_E_CAPACITY);
  assert(pl_delay_slices(a, 3, b, 4, 0, INT32_MAX, 2, 0, 1, 1, hist) == PL_E_ARGUMENT);
  assert(pl_bin_times(b, 4, 5, 1000, bins, 2) == 3 && bins[0] == 1.0f && bins[1] == 2.0f);
  assert(pl_bin_times(b, 4, 5, 0, bins, 2) == PL_E_ARGUMENT);
}

static void lines(void) {
  enum { N = 6, BINS = 5000 };
  float *rows = calloc(N * BINS, sizeof *rows), *mean = malloc(BINS * sizeof *mean);
  float *best = malloc(BINS * sizeof *best);
  int32_t *which = calloc(BINS, sizeof *which), shifts[2 * N];
  assert(rows && mean && best && which);
  for (int r = 0; r < N; r++) {
    shifts[r] = 0;
    shifts[N + r] = 3 * r - 7; /* the line that the rows hold, also across a block's border */
    rows[r * BINS + 2047 + shifts[N + r]] = 10;
  }
  for (int k = 0; k < BINS; k++) mean[k] = 1, best[k] = -1e30f;
  assert(pl_best_lines(rows, N, BINS, shifts, 2, mean, mean, best, which) == PL_OK);
  assert(which[2047] == 1 && best[2047] == 59.0f);
  assert(best[2046] > 58 * 0.7f && best[2046] < 59); /* it and the next: over sqrt 2 */
  assert(best[0] == -1.0f && best[BINS - 1] == -0.70710678f);
  free(rows), free(mean), free(best), free(which);
}

int main(void) {
  unsorted_slices();
  arguments();
  histograms();
  lines();
  for (size_t na = 0; na < 9; na++)
    for (size_t nb = 0; nb < 9; nb++)
      for (int k = 0; k < 40; k++) compare(na, nb, 8, (int64_t)(next() % 6));
  for (size_t n = 9; n < 300; n++) { /* around sides of 8 and groups of 16 */
    compare(n, n + next() % 9, 1 + next() % 40, (int64_t)(next() % 12));
    compare(n, 9 + next() % n, 1 + next() % 400, (int64_t)(next() % 99));
  }
  compare(20000, 30000, 300, 40); /* crowds that a side ends in */
  compare(100000, 90000, 1000, 50); /* sparse: many stretches */
  compare(90000, 100000, 1000, 400);
  compare(20000, 9, 1000, 50000);
  compare(20000, 30000, 30, 50); /* no quiet place to end a stretch at */
  compare(20000, 20000, 1, 0);   /* all at one time */
  return 0;
}
