/* Two-fold coincidences: which event of one list belongs to which of the other. */
#include "core.h"

static int64_t distance(int64_t x, int64_t y) { return x > y ? x - y : y - x; }

/* The greedy walk in time order; branchless, so that its speed does not depend on the data. */
static size_t walk(const int64_t *a, size_t na, const int64_t *b, size_t nb, int64_t window,
                   int64_t shift, int64_t *ai, int64_t *bi) {
  size_t i = 0, j = 0, n = 0;
  while (i < na && j < nb) {
    int64_t d = a[i] - b[j] - shift;
    int a_on = d <= window, b_on = d >= -window;
    if (ai != NULL) {
      ai[n] = (int64_t)i;
      bi[n] = (int64_t)j;
    }
    n += (size_t)(a_on & b_on);
    i += (size_t)a_on;
    j += (size_t)b_on;
  }
  return n;
}

/* A pair takes a nearer neighbour that no pair holds. */
static void settle(const int64_t *a, size_t na, const int64_t *b, size_t nb, int64_t *ai,
                   int64_t *bi, size_t n) {
  for (size_t k = 0; k < n; k++) {
    int64_t i = ai[k], j = bi[k];
    int64_t i_end = k + 1 < n ? ai[k + 1] : (int64_t)na;
    int64_t j_end = k + 1 < n ? bi[k + 1] : (int64_t)nb;
    while (j + 1 < j_end && distance(a[i], b[j + 1]) < distance(a[i], b[j])) j++;
    while (i + 1 < i_end && distance(a[i + 1], b[j]) < distance(a[i], b[j])) i++;
    ai[k] = i;
    bi[k] = j;
  }
}

int64_t pl_match(const int64_t *a, size_t na, const int64_t *b, size_t nb, int64_t window_ps,
                 int64_t *a_index, int64_t *b_index, size_t capacity) {
  size_t most = na < nb ? na : nb;
  if (window_ps < 0) return PL_E_ARGUMENT;
  if (capacity < most) return PL_E_CAPACITY;
  size_t n = walk(a, na, b, nb, window_ps, 0, a_index, b_index);
  settle(a, na, b, nb, a_index, b_index, n);
  return (int64_t)n;
}

int64_t pl_match_count(const int64_t *a, size_t na, const int64_t *b, size_t nb,
                       int64_t window_ps, int64_t shift_ps) {
  if (window_ps < 0) return PL_E_ARGUMENT;
  return (int64_t)walk(a, na, b, nb, window_ps, shift_ps, NULL, NULL);
}
