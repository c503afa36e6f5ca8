/* Local detection events (events.c). */
#ifndef PHOTONLINK_PL_EVENTS_H
#define PHOTONLINK_PL_EVENTS_H
#include <stddef.h>

#include "pl_secret.h"

typedef struct pl_events pl_events;
enum { PL_EVENTS_DELAY_LIMIT_PS = 10000000 }; /* of delays and of the multi-click window */
typedef struct {
  int64_t clicks[4];        /* per detector H V D A */
  int64_t events;           /* after merging */
  int64_t multi_same;       /* events of several detectors of one basis */
  int64_t multi_cross;      /* events of detectors of both bases */
  int64_t ignored;          /* clicks on channels that are no detector */
  int64_t late;             /* clicks before the horizon: dropped */
  int64_t overflow;         /* events or clicks lost because the buffer was full */
  int64_t overflow_from_ps; /* of the last emit: time of the first lost event, else INT64_MAX */
} pl_events_counts;
/* channel_map: 256 entries, detector 0..3 or 255. PL_E_ARGUMENT: a window outside 0 to the delay
 * limit, or room for fewer than 65,536 events. */
PL_MUST_CHECK int pl_events_new(pl_events **out, const uint8_t *channel_map, int64_t window_ps,
                                size_t max_events);
void pl_events_free(pl_events *ev);
PL_MUST_CHECK int pl_events_set_delays(pl_events *ev, const int64_t *delay_ps);
/* Clicks up to (not including) through_ps. n random bytes spread each time evenly over the tagger's
 * resolution (0: as they are, random is not read). PL_E_CAPACITY: too many are pending; none was
 * taken. */
PL_MUST_CHECK int pl_events_add(pl_events *ev, const int64_t *time_ps, const uint8_t *channel,
                                size_t n, int64_t through_ps, int64_t resolution_ps,
                                const uint8_t *random);
/* How many random bytes the next emit uses: one per multi-click event. */
PL_MUST_CHECK int64_t pl_events_multi_pending(const pl_events *ev);
PL_MUST_CHECK int64_t pl_events_emit(pl_events *ev, const uint8_t *random, size_t n_random);
PL_MUST_CHECK int pl_events_drop_pending(pl_events *ev);
PL_MUST_CHECK int64_t pl_events_horizon(const pl_events *ev);
PL_MUST_CHECK int pl_events_get_counts(const pl_events *ev, pl_events_counts *out);
PL_MUST_CHECK int64_t pl_events_first(const pl_events *ev);
/* Index of the first kept event at or after time_ps. */
PL_MUST_CHECK int64_t pl_events_find(const pl_events *ev, int64_t time_ps);
/* Returns how many of them are multi-click events. */
PL_MUST_CHECK int64_t pl_events_read(const pl_events *ev, int64_t first, size_t n, int64_t *time_ps,
                                     uint8_t *basis);
/* Discloses the detectors and spends the events. PL_E_STATE: one was spent before. */
PL_MUST_CHECK int pl_events_label(pl_events *ev, int64_t first, size_t n, uint8_t *detector);
/* Bits by strictly increasing index into a secret of n bits; spends the events. */
PL_MUST_CHECK int pl_events_take_bits(pl_events *ev, const int64_t *index, size_t n,
                                      pl_secret *out);
PL_MUST_CHECK int pl_events_discard_before(pl_events *ev, int64_t time_ps);
#endif
