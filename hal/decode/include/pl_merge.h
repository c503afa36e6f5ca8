/* k sorted streams into one; equal times keep the order of the streams. */
#ifndef PHOTONLINK_PL_MERGE_H
#define PHOTONLINK_PL_MERGE_H
#include <stddef.h>
#include <stdint.h>

#include "pl_status.h"

/* Returns the number of tags, PL_E_CAPACITY when they do not fit, PL_E_DATA when a
 * stream is not sorted. Up to 64 streams. */
PL_MUST_CHECK int64_t pl_merge(size_t streams, const int64_t *const *times,
                               const uint8_t *const *channels, const size_t *lengths,
                               int64_t *time_ps, uint8_t *channel, size_t capacity);
#endif
