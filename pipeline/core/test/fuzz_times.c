/* libFuzzer on what is done with two lists of times, one of them the peer's: matching, histograms,
 * pairs. Sorted lists are compared with plain sums over all pairs. Lists that are not sorted, which
 * nobody should hand over, may give wrong counts but must stay inside every buffer. */
#include "fuzz.h"

enum { BRUTE = 300 }; /* longest lists that are compared with all pairs */

typedef struct {
  int64_t *t;
  size_t n;
  int sorted;
} list;

/* One byte a step, its size by `grain`; the bytes are gone through `repeat` times. */
static list list_of(const uint8_t *data, size_t size, unsigned grain, size_t repeat, int back) {
  static const int shifts[] = {0, 6, 20, 50};
  list l = {.t = exactly(size * repeat * sizeof(int64_t)), .sorted = 1};
  int64_t now = grain & 4 ? -(INT64_MAX / 4) : 0;
  for (size_t i = 0; i < size * repeat; i++) {
    int64_t step = (int64_t)data[i % size] << shifts[grain & 3];
    if (back && data[i % size] > 240) step = -step;
    if (now + step > INT64_MAX / 4 || now + step < -(INT64_MAX / 4)) step = 0;
    if (i && step < 0) l.sorted = 0;
    l.t[l.n++] = now += step;
  }
  return l;
}

/* One-to-one, in order, within the window; as many as the counting walk says. */
static void check_match(list a, list b, int64_t window) {
  size_t most = a.n < b.n ? a.n : b.n;
  int64_t *ai = exactly(most * sizeof *ai), *bi = exactly(most * sizeof *bi);
  int64_t n = pl_match(a.t, a.n, b.t, b.n, window, ai, bi, most);
  REQUIRE(n >= 0 && n <= (int64_t)most);
  for (int64_t k = 0; a.sorted && b.sorted && k < n; k++) {
    REQUIRE(ai[k] > (k ? ai[k - 1] : -1) && bi[k] > (k ? bi[k - 1] : -1));
    REQUIRE(ai[k] < (int64_t)a.n && bi[k] < (int64_t)b.n);
    REQUIRE(llabs(a.t[ai[k]] - b.t[bi[k]]) <= window);
  }
  int64_t counted = pl_match_count(a.t, a.n, b.t, b.n, window, 0);
  if (a.sorted && b.sorted) REQUIRE(counted == n);
  if (most) REQUIRE(pl_match(a.t, a.n, b.t, b.n, window, ai, bi, most - 1) == PL_E_CAPACITY);
  free(ai);
  free(bi);
}

static int64_t all_pairs(list a, list b, int64_t low, int64_t span, int single) {
  int64_t pairs = 0;
  for (size_t i = 0; i < a.n; i++)
    for (size_t j = 0; j < b.n; j++) {
      int64_t d = b.t[j] - a.t[i] - low;
      pairs += d >= 0 && d < span;
      if (single && d >= 0) break;
    }
  return pairs;
}

static void check_histograms(list a, list b, int64_t low, int64_t bin, size_t bins) {
  int brute = a.sorted && b.sorted && a.n <= BRUTE && b.n <= BRUTE;
  uint64_t *hist = calloc(bins + 1, sizeof *hist);
  REQUIRE(hist);
  hist = realloc(hist, bins * sizeof *hist);
  for (int single = 0; single < 2; single++) {
    int64_t n = single ? pl_start_stop(a.t, a.n, b.t, b.n, low, bin, bins, hist)
                       : pl_correlate(a.t, a.n, b.t, b.n, low, bin, bins, hist);
    REQUIRE(n >= 0);
    if (brute) REQUIRE(n == all_pairs(a, b, low, bin * (int64_t)bins, single));
  }
  enum { SLICES = 5 };
  uint32_t *rows = calloc(SLICES * bins, sizeof *rows);
  REQUIRE(rows);
  int64_t slice = a.n ? (a.t[a.n - 1] - a.t[0]) / SLICES + 1 : 1;
  int64_t n = pl_delay_slices(a.t, a.n, b.t, b.n, low, bin, bins, a.n ? a.t[0] : 0,
                              slice > 0 ? slice : 1, SLICES, rows);
  REQUIRE(n == PL_E_ARGUMENT || n >= 0);
  if (brute && n >= 0) REQUIRE(n == all_pairs(a, b, low, bin * (int64_t)bins, 0));
  free(hist);
  free(rows);
}

static void check_lists(list a, list b, int64_t low, int64_t bin, size_t bins) {
  enum { MOST = 1000 };
  int64_t *ai = exactly(MOST * sizeof *ai), *bi = exactly(MOST * sizeof *bi);
  int64_t high = low + bin * (int64_t)bins;
  int64_t n = pl_delay_pairs(a.t, a.n, b.t, b.n, low, high, ai, bi, MOST);
  REQUIRE(n == PL_E_CAPACITY || (n >= 0 && n <= MOST));
  for (int64_t k = 0; k < (n < 0 ? MOST : n); k++)
    REQUIRE(ai[k] < (int64_t)a.n && bi[k] < (int64_t)b.n);
  if (n >= 0 && a.sorted && b.sorted && a.n <= BRUTE && b.n <= BRUTE)
    REQUIRE(n == all_pairs(a, b, low, high - low, 0));
  float *counts = calloc(bins, sizeof *counts);
  REQUIRE(counts);
  n = pl_bin_times(b.t, b.n, low, bin, counts, bins);
  REQUIRE(n >= 0 && n <= (int64_t)b.n);
  free(counts);
  free(ai);
  free(bi);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  source in = {data, size, 0};
  unsigned flags = (unsigned)take(&in, 2);
  size_t repeat = flags >> 8 & 15 ? 1 : 1 + take(&in, 1);
  int64_t low = (int64_t)(int32_t)take(&in, 4), window = (int64_t)take(&in, 4);
  int64_t bin = 1 + (int64_t)take(&in, 2);
  size_t bins = 1 + take(&in, 1) * (flags >> 12), rest = size - in.at;
  size_t share = rest * take(&in, 1) / 256;
  rest = size - in.at;
  if (share > rest) share = rest;
  if (flags & 64) low *= 1 << 28;
  list a = list_of(data + in.at, share, flags & 7, repeat, flags & 128);
  list b = list_of(data + in.at + share, rest - share, flags >> 3 & 7, repeat, flags & 128);
  check_match(a, b, window);
  check_histograms(a, b, low, bin, bins);
  check_lists(a, b, low, bin, bins);
  free(a.t);
  free(b.t);
  return 0;
}
