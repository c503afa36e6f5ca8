/* Two-fold coincidences (match.c). */
#ifndef PHOTONLINK_PL_MATCH_H
#define PHOTONLINK_PL_MATCH_H
#include <stddef.h>
#include <stdint.h>

#include "pl_status.h"

/* Pairs in time order, one-to-one within +-window_ps; returns their number. All times sorted. */
PL_MUST_CHECK int64_t pl_match(const int64_t *a, size_t na, const int64_t *b, size_t nb,
                               int64_t window_ps, int64_t *a_index, int64_t *b_index,
                               size_t capacity);
/* The same walk, counting only, with shift_ps added to b. */
PL_MUST_CHECK int64_t pl_match_count(const int64_t *a, size_t na, const int64_t *b, size_t nb,
                                     int64_t window_ps, int64_t shift_ps);
#endif
