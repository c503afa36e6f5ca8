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
  uint64_t span = (uint64_t)bin_ps * n_bins;
  int64_t pairs = 0;
  uint32_t bin = (uint32_t)bin_ps;
  size_t j0 = 0;
  for (size_t i = 0; i < na; i++) {
    int64_t since = a[i] - start_ps, from = a[i] + low_ps;
    if (since < 0) continue;
    size_t slice = (size_t)(since / slice_ps);
    if (slice >= n_slices) break;
    while (j0 < nb && b[j0] < from) j0++;
    uint32_t *row = hist + slice * n_bins;
    for (size_t j = j0; j < nb; j++) {
      uint64_t d = (uint64_t)b[j] - (uint64_t)from;
      if (d >= span) break; /* huge when b is not sorted: never a bin outside */
      row[(uint32_t)d / bin]++;
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

/* Lags per block: the rows' stretch of it stays in the second-level cache over all slopes. */
enum { LAGS = 2048 };

static size_t clip(int64_t x, size_t most) {
  if (x < 0) return 0;
  return (size_t)x > most ? most : (size_t)x;
}

/* total[k] = sum over rows of row[from + k + shift], k < count, zero beyond the row. */
static void add_line(const float *rows, size_t n, size_t bins, const int32_t *shift, size_t from,
                     size_t count, float *restrict total) {
  const float *whole[4]; /* rows that cover the stretch are added four at a time */
  size_t held = 0;
  for (size_t k = 0; k < count; k++) total[k] = 0.0f;
  for (size_t r = 0; r < n; r++) {
    int64_t first = (int64_t)from + shift[r];
    size_t low = clip(-first, count), high = clip((int64_t)bins - first, count);
    const float *row = rows + r * bins;
    if (low == 0 && high == count) {
      whole[held++] = row + first;
      if (held < 4) continue;
      const float *p = whole[0], *q = whole[1], *u = whole[2], *v = whole[3];
      for (size_t k = 0; k < count; k++) total[k] += (p[k] + q[k]) + (u[k] + v[k]);
      held = 0;
    } else {
      for (size_t k = low; k < high; k++) total[k] += row[first + (int64_t)k];
    }
  }
  for (size_t h = 0; h < held; h++)
    for (size_t k = 0; k < count; k++) total[k] += whole[h][k];
}

int pl_best_lines(const float *rows, size_t n, size_t bins, const int32_t *shifts,
                  size_t n_slopes, const float *mean, const float *scale, float *restrict best,
                  int32_t *restrict which) {
  float total[LAGS + 1];
  for (size_t from = 0; from < bins; from += LAGS) {
    size_t count = bins - from < LAGS ? bins - from : LAGS;
    size_t ahead = from + count < bins ? count + 1 : count;
    for (size_t s = 0; s < n_slopes; s++) {
      add_line(rows, n, bins, shifts + s * n, from, ahead, total);
      for (size_t k = 0; k < ahead; k++) total[k] -= mean[from + k];
      if (ahead == count) total[ahead] = 0.0f;
      for (size_t k = 0; k < count; k++) {
        float pair = (total[k] + total[k + 1]) * 0.70710678f;
        float z = (total[k] > pair ? total[k] : pair) * scale[from + k];
        int better = z > best[from + k];
        best[from + k] = better ? z : best[from + k];
        which[from + k] = better ? (int32_t)s : which[from + k];
      }
    }
  }
  return PL_OK;
}
