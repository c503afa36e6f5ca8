/* Histograms of arrival times and of time differences, for clock recovery. */
#include "core.h"

int64_t pl_bin_times(const int64_t *t, size_t n, int64_t start_ps, int64_t bin_ps, float *bins,
                     size_t n_bins) {
  if (bin_ps <= 0) return PL_E_ARGUMENT;
  /* a product instead of a division: a time at a bin's very edge may fall to either side */
  double inverse = 1.0 / (double)bin_ps;
  double end = (double)n_bins;
  int64_t inside = 0;
  for (size_t k = 0; k < n; k++) {
    double x = (double)(t[k] - start_ps) * inverse;
    if (x < 0 || x >= end) continue;
    bins[(size_t)x] += 1.0f;
    inside++;
  }
  return inside;
}

int64_t pl_delay_slices(const int64_t *a, size_t na, const int64_t *b, size_t nb, int64_t low_ps,
                        int64_t bin_ps, size_t n_bins, int64_t start_ps, int64_t slice_ps,
                        size_t n_slices, uint32_t *hist) {
  if (bin_ps <= 0 || slice_ps <= 0 || n_bins == 0 || n_bins > INT32_MAX) return PL_E_ARGUMENT;
  if (bin_ps > INT32_MAX / (int64_t)n_bins) return PL_E_ARGUMENT; /* 2 ms of delay is plenty */
  int64_t span = bin_ps * (int64_t)n_bins, pairs = 0;
  uint32_t bin = (uint32_t)bin_ps;
  size_t j0 = 0;
  for (size_t i = 0; i < na; i++) {
    int64_t since = a[i] - start_ps, from = a[i] + low_ps;
    if (since < 0) continue;
    size_t slice = (size_t)(since / slice_ps);
    if (slice >= n_slices) break;
    while (j0 < nb && b[j0] < from) j0++;
    uint32_t *row = hist + slice * n_bins;
    for (size_t j = j0; j < nb && b[j] - from < span; j++) {
      row[(uint32_t)(b[j] - from) / bin]++;
      pairs++;
    }
  }
  return pairs;
}

int64_t pl_delay_pairs(const int64_t *a, size_t na, const int64_t *b, size_t nb, int64_t low_ps,
                       int64_t high_ps, int64_t *a_index, int64_t *b_index, size_t capacity) {
  size_t j0 = 0, n = 0;
  for (size_t i = 0; i < na; i++) {
    while (j0 < nb && b[j0] - a[i] < low_ps) j0++;
    for (size_t j = j0; j < nb && b[j] - a[i] < high_ps; j++) {
      if (n == capacity) return PL_E_CAPACITY;
      a_index[n] = (int64_t)i;
      b_index[n++] = (int64_t)j;
    }
  }
  return (int64_t)n;
}
