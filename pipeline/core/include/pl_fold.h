/* Delay histograms and the lines through them (fold.c). */
#ifndef PHOTONLINK_PL_FOLD_H
#define PHOTONLINK_PL_FOLD_H
#include <stddef.h>
#include <stdint.h>

#include "pl_status.h"

/* bins[(t - start)/bin] += 1 for the times inside; t unsorted. Returns how many were inside. */
PL_MUST_CHECK int64_t pl_bin_times(const int64_t *t, size_t n, int64_t start_ps, int64_t bin_ps,
                                   float *bins, size_t n_bins);
/* All pairs: hist[(a - start)/slice][(b - a - low)/bin] += 1. Returns the pairs counted. */
PL_MUST_CHECK int64_t pl_delay_slices(const int64_t *a, size_t na, const int64_t *b, size_t nb,
                                      int64_t low_ps, int64_t bin_ps, size_t n_bins,
                                      int64_t start_ps, int64_t slice_ps, size_t n_slices,
                                      uint32_t *hist);
/* All pairs with low <= b - a < high: index of a and of b. PL_E_CAPACITY when they do not fit: the
 * first `capacity` are then there. */
PL_MUST_CHECK int64_t pl_delay_pairs(const int64_t *a, size_t na, const int64_t *b, size_t nb,
                                     int64_t low_ps, int64_t high_ps, int64_t *a_index,
                                     int64_t *b_index, size_t capacity);
/* Sums of rows (n, bins) along lines: for each bin the largest of (sum - mean) * scale over the
 * n_slopes lines through it (and of the sum of it and the next bin, over sqrt 2), and which line
 * that was. shifts: (n_slopes, n). best: start values, -INFINITY. */
PL_MUST_CHECK int pl_best_lines(const float *rows, size_t n, size_t bins, const int32_t *shifts,
                                size_t n_slopes, const float *mean, const float *scale, float *best,
                                int32_t *which);
#endif
