/* Events by the quiet rule on noised times (quiet.c). */
#ifndef PHOTONLINK_PL_QUIET_H
#define PHOTONLINK_PL_QUIET_H
#include <stddef.h>

#include "pl_announce.h"
#include "pl_noise.h"
#include "pl_secret.h"

enum { PL_QUIET_DELAY_LIMIT_PS = 10000000, PL_QUIET_MAX_PS = 10000000 };
/* Agreed and calibrated values; constant while the station runs. */
typedef struct {
  int64_t delay_ps[4]; /* of the detectors H V D A: subtracted from their times first */
  int64_t scale_ps;    /* of the noise, added to every click's time next; 0: none */
  int64_t bound_ps;    /* where the noise is cut, see pl_noise_new */
  int64_t quiet_ps;    /* an event is its first click and all clicks within this time after it */
} pl_quiet_rule;
typedef struct {
  int64_t clicks[4];   /* per detector: private, as is all that follows but for `events` */
  int64_t events;      /* all that were kept */
  int64_t followed;    /* of them, with any further click within quiet_ps */
  int64_t shadowed;    /* of them, with a click of the event before within quiet_ps before them */
  int64_t multi_same;  /* of them, of several detectors of one basis */
  int64_t multi_cross; /* of them, of detectors of both bases */
  int64_t ignored;     /* clicks on channels that are no detector */
  int64_t late;        /* clicks before the completed time, or without a usable time: dropped */
  int64_t unsettled;   /* clicks beside a loss, which begin no event */
  int64_t overflow;    /* events lost because the store was full */
} pl_quiet_counts;
typedef struct {
  int64_t start_ps, end_ps; /* [start, end): no event was kept in it */
} pl_quiet_lost;
enum { PL_QUIET_MOST_STEPS = 127 };
typedef struct {
  uint8_t *basis;
  int8_t *steps;
  uint8_t *marks;
} pl_kept;
typedef struct pl_quiet pl_quiet;

/* channel_map: 256 entries, detector 0..3 (H V D A) or 255. seed: PL_NOISE_SEED_BYTES secret bytes,
 * from which noise and the bits of multi-click events come. */
PL_MUST_CHECK int pl_quiet_new(pl_quiet **out, const uint8_t *channel_map,
                               const pl_quiet_rule *rule, const uint8_t *seed, size_t max_events);
void pl_quiet_free(pl_quiet *quiet);
/* Clicks may be missing from [start, end) of the tagger's time; call it before adding later clicks.
 * Clicks that it touches become no event, and events begin again after a quiet time. */
PL_MUST_CHECK int pl_quiet_lose(pl_quiet *quiet, int64_t start_ps, int64_t end_ps);
/* Clicks in the order of the tagger's time, all up to (not including) through_ps. Times are noised
 * here, once. */
PL_MUST_CHECK int pl_quiet_add(pl_quiet *quiet, const int64_t *time_ps, const uint8_t *channel,
                               size_t n, int64_t through_ps);
/* Events are complete before this noised time. */
PL_MUST_CHECK int64_t pl_quiet_horizon(const pl_quiet *quiet);
PL_MUST_CHECK int pl_quiet_get_counts(const pl_quiet *quiet, pl_quiet_counts *out);
/* Lost intervals that overlap [start, end), in noised time; their number, of which `capacity` are
 * written. */
PL_MUST_CHECK int64_t pl_quiet_get_lost(const pl_quiet *quiet, int64_t start_ps, int64_t end_ps,
                                        pl_quiet_lost *out, size_t capacity);
PL_MUST_CHECK int64_t pl_quiet_first(const pl_quiet *quiet);
/* Index of the first kept event at or after time_ps. */
PL_MUST_CHECK int64_t pl_quiet_find(const pl_quiet *quiet, int64_t time_ps);
/* Noised times of events [first, first + n): the only data that may be sent before a block is
 * closed. */
PL_MUST_CHECK int pl_quiet_times(const pl_quiet *quiet, int64_t first, size_t n,
                                 int64_t *time_ps);
/* Bases (0 HV, 1 DA) of events by strictly increasing index. */
PL_MUST_CHECK int pl_quiet_bases(const pl_quiet *quiet, const int64_t *index, size_t n,
                                 uint8_t *basis);
/* How many of these events had a further click: private, to be compared with the agreed share. */
PL_MUST_CHECK int64_t pl_quiet_followed(const pl_quiet *quiet, const int64_t *index, size_t n);
/* For each of these events: bit 0 when it had a further click within its quiet time, bit 1 when the
 * event before, paired or not, had a click within quiet_ps before it. Private, against the agreed share. */
PL_MUST_CHECK int pl_quiet_marks(const pl_quiet *quiet, const int64_t *index, size_t n,
                                 uint8_t *marks);
/* Detectors of events by strictly increasing index, which are spent. PL_E_STATE, and nothing is
 * disclosed: one was spent before. */
PL_MUST_CHECK int pl_quiet_disclose(pl_quiet *quiet, const int64_t *index, size_t n,
                                    uint8_t *detector);
/* Bits by strictly increasing index into a secret of n bits; spends the events. */
PL_MUST_CHECK int pl_quiet_take_bits(pl_quiet *quiet, const int64_t *index, size_t n,
                                     pl_secret *out);
/* Bits as pl_quiet_take_bits, bases and marks as above, and own times against announced ones
 * (offset_ps, NULL: as announced) in whole steps of at most +-PL_QUIET_MOST_STEPS; all of n. */
PL_MUST_CHECK int pl_quiet_keep(pl_quiet *quiet, const int64_t *index, const int64_t *offset_ps,
                                size_t n, int64_t step_ps, const pl_kept *kept, pl_secret *bits);
/* How many of events [first, first + n) had a further click. Private. */
PL_MUST_CHECK int64_t pl_quiet_followed_of(const pl_quiet *quiet, int64_t first, size_t n);
PL_MUST_CHECK int pl_quiet_discard_before(pl_quiet *quiet, int64_t time_ps);
/* pl_announce of the events of a slot (its quiet_ps is that of the rule). PL_E_STATE: the slot is
 * not complete. */
PL_MUST_CHECK int64_t pl_quiet_announce(const pl_quiet *quiet, const pl_slot *slot, uint8_t *out,
                                        size_t capacity);
/* pl_announced_pairs with the kept events; own_index are event indices. */
PL_MUST_CHECK int64_t pl_quiet_pairs(const pl_quiet *quiet, const uint8_t *data, size_t bytes,
                                     const pl_slot *slot, const pl_slot_clock *clock,
                                     int64_t window_ps, int64_t track_ps, int64_t *own_index,
                                     int64_t *announced_index, int64_t *residual_ps,
                                     size_t capacity, uint32_t *hist, int64_t hist_bits);
#endif
