/* Histograms of b - a between two sorted series (correlate.c). */
#ifndef PHOTONLINK_PL_CORRELATE_H
#define PHOTONLINK_PL_CORRELATE_H
#include <stddef.h>
#include <stdint.h>

#include "pl_status.h"

/* All pairs with low <= b - a < low + bin * n_bins: hist[(b - a - low) / bin] += 1. Returns their
 * number. bin * n_bins < 2^32. Unsorted input gives wrong counts, nothing worse. */
PL_MUST_CHECK int64_t pl_correlate(const int64_t *a, size_t na, const int64_t *b, size_t nb,
                                   int64_t low_ps, int64_t bin_ps, size_t n_bins, uint64_t *hist);
/* The same with one stop per start: only the first b at or after a + low. */
PL_MUST_CHECK int64_t pl_start_stop(const int64_t *a, size_t na, const int64_t *b, size_t nb,
                                    int64_t low_ps, int64_t bin_ps, size_t n_bins, uint64_t *hist);
#endif
