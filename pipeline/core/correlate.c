/* Cross-correlation of two sorted time series: histograms of b - a. */
#include "core.h"

__extension__ typedef unsigned __int128 u128;

typedef struct {
  uint64_t width, reciprocal; /* of the whole range; 2^64 / bin, rounded up */
  int64_t low;
} range;

/* Differences stay below 2^32 so that one multiplication divides exactly by the bin: with
 * r = floor(2^64 / bin) + 1 the error d * (r - 2^64 / bin) is below 2^32 <= 2^64 / bin. */
static int range_init(range *r, int64_t low, int64_t bin, size_t n_bins) {
  if (bin < 1 || n_bins < 1 || bin > UINT32_MAX || n_bins > UINT32_MAX / (uint64_t)bin)
    return PL_E_ARGUMENT;
  if (low > INT64_MAX / 4 || low < -(INT64_MAX / 4)) return PL_E_ARGUMENT;
  r->width = (uint64_t)bin * n_bins;
  r->reciprocal = UINT64_MAX / (uint64_t)bin + 1; /* bin 1 wraps to 0 and is treated apart */
  r->low = low;
  return PL_OK;
}

static inline size_t bin_of(const range *r, uint64_t d) {
  return r->reciprocal ? (size_t)((u128)d * r->reciprocal >> 64) : (size_t)d;
}

/* b - a - low; unsigned, so that whatever the input, a bin index is only formed inside. */
static inline uint64_t distance(const range *r, int64_t a, int64_t b) {
  return (uint64_t)b - (uint64_t)a - (uint64_t)r->low;
}

/* First b at or after a + low. */
static inline size_t first_stop(const range *r, int64_t a, const int64_t *b, size_t nb, size_t j) {
  while (j < nb && (int64_t)distance(r, a, b[j]) < 0) j++;
  return j;
}

int64_t pl_correlate(const int64_t *a, size_t na, const int64_t *b, size_t nb, int64_t low_ps,
                     int64_t bin_ps, size_t n_bins, uint64_t *hist) {
  range r;
  int status = range_init(&r, low_ps, bin_ps, n_bins);
  if (status < 0) return status;
  int64_t pairs = 0;
  size_t start = 0;
  for (size_t i = 0; i < na; i++) {
    start = first_stop(&r, a[i], b, nb, start);
    for (size_t j = start; j < nb; j++) {
      uint64_t d = distance(&r, a[i], b[j]);
      if (d >= r.width) break;
      hist[bin_of(&r, d)]++;
      pairs++;
    }
  }
  return pairs;
}

int64_t pl_start_stop(const int64_t *a, size_t na, const int64_t *b, size_t nb, int64_t low_ps,
                      int64_t bin_ps, size_t n_bins, uint64_t *hist) {
  range r;
  int status = range_init(&r, low_ps, bin_ps, n_bins);
  if (status < 0) return status;
  int64_t pairs = 0;
  size_t stop = 0;
  for (size_t i = 0; i < na; i++) {
    stop = first_stop(&r, a[i], b, nb, stop);
    if (stop == nb) break;
    uint64_t d = distance(&r, a[i], b[stop]);
    if (d >= r.width) continue;
    hist[bin_of(&r, d)]++;
    pairs++;
  }
  return pairs;
}
