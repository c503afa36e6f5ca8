/* Announced times of a slot, and the pairs that they make (announce.c): times only. */
#ifndef PHOTONLINK_PL_ANNOUNCE_H
#define PHOTONLINK_PL_ANNOUNCE_H
#include <stddef.h>
#include <stdint.h>

#include "pl_status.h"

enum { PL_ANNOUNCE_HEAD_BYTES = 4, PL_ANNOUNCE_MAX_EVENT_BYTES = 14 };
enum { PL_ANNOUNCE_MAX_GRID_BITS = 20, PL_ANNOUNCE_COUNTED = 8192 };
/* The public data of a slot. Times are those of the announcing station. */
typedef struct {
  int64_t start_ps, end_ps; /* [start, end) */
  int64_t quiet_ps;         /* shortest distance of two events */
  int64_t grid_bits;        /* a time is announced in steps of 2^grid_bits ps */
} pl_slot;
/* That clock relative to this station's: own = t - offset - rate * (t - start of the slot). */
typedef struct {
  int64_t offset_ps;
  double rate;
} pl_slot_clock;
/* The number of events (4 bytes, big endian), then the gaps between them beyond the shortest that
 * can be, Rice-coded with the parameter that number and slot give. Returns bytes. PL_E_ARGUMENT:
 * times that do not ascend by quiet_ps or leave the slot. PL_E_CAPACITY: PL_ANNOUNCE_HEAD_BYTES and
 * PL_ANNOUNCE_MAX_EVENT_BYTES an event always suffice. */
PL_MUST_CHECK int64_t pl_announce(const int64_t *time_ps, size_t n, const pl_slot *slot,
                                  uint8_t *out, size_t capacity);
/* The number of events in the announcement; PL_E_DATA: that many do not fit. */
PL_MUST_CHECK int64_t pl_announced_events(const uint8_t *data, size_t bytes, const pl_slot *slot);
/* Their times: the middle of the step. Returns their number. PL_E_DATA: anything that pl_announce
 * would not write. */
PL_MUST_CHECK int64_t pl_announced_times(const uint8_t *data, size_t bytes, const pl_slot *slot,
                                         int64_t *time_ps, size_t capacity);
/* In one pass: announced events that lie within +-window_ps of an own event, in this station's
 * clock (own_ps: ascending). own_index, announced_index and residual_ps (announced minus own) take
 * `capacity` pairs; pl_announced_events is needed. hist: residuals within +-track_ps (not less than
 * the window) of the first PL_ANNOUNCE_COUNTED announced events: (2 * track >> hist_bits) + 1
 * counters, which are added to. Returns the number of pairs. PL_E_DATA: as above. PL_E_ARGUMENT: an
 * event could have two candidates, for the slot's quiet_ps or between own events. */
PL_MUST_CHECK int64_t pl_announced_pairs(const uint8_t *data, size_t bytes, const pl_slot *slot,
                                         const pl_slot_clock *clock, const int64_t *own_ps,
                                         size_t n_own, int64_t window_ps, int64_t track_ps,
                                         int64_t *own_index, int64_t *announced_index,
                                         int64_t *residual_ps, size_t capacity, uint32_t *hist,
                                         int64_t hist_bits);
#endif
