/* Coded announcements of times (timecode.c). */
#ifndef PHOTONLINK_PL_TIMECODE_H
#define PHOTONLINK_PL_TIMECODE_H
#include <stddef.h>
#include <stdint.h>

#include "pl_status.h"

/* Rice code of sorted times on a grid, label_bits (1, 2) of label each. Returns bytes. */
PL_MUST_CHECK int64_t pl_timecode_encode(const int64_t *tick, const uint8_t *label, size_t n,
                                         int label_bits, int rice, uint8_t *out, size_t capacity);
/* Returns n, or PL_E_DATA: cut off, beyond last_tick, or trailing rubbish. */
PL_MUST_CHECK int64_t pl_timecode_decode(const uint8_t *data, size_t bytes, size_t n,
                                         int label_bits, int rice, int64_t last_tick, int64_t *tick,
                                         uint8_t *label);
#endif
