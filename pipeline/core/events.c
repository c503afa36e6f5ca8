/* Local detection events: clicks in, events with a basis and a hidden bit out.
 *
 * Clicks are first corrected by their detector's delay, which may reorder them slightly, so they
 * wait in a small sorted buffer until no earlier one can come; then clicks within the window
 * become one event. The bit of an event stays in locked memory until pl_events_take_bits. */
#include <stdlib.h>
#include <string.h>

#include "event_store.h"
#include "secret.h"

enum { PENDING = 1 << 17, IGNORED = 255 };
static const int64_t FOREVER = INT64_MAX / 4; /* 26 days in ps; sums stay in range */

struct pl_events {
  uint8_t map[256]; /* channel -> detector H V D A = 0..3, or IGNORED */
  int64_t delay[4], window, limit, horizon;
  int64_t *pend_time; /* sorted */
  uint8_t *pend_det;  /* locked */
  size_t pend_n;
  event_store store;
  pl_events_counts counts;
};

void pl_events_free(pl_events *ev) {
  if (ev == NULL) return;
  if (ev->pend_time != NULL) explicit_bzero(ev->pend_time, PENDING * sizeof *ev->pend_time);
  free(ev->pend_time);
  store_free(&ev->store);
  pl_locked_free(ev->pend_det, PENDING);
  free(ev);
}

int pl_events_new(pl_events **out, const uint8_t *channel_map, int64_t window_ps,
                  size_t max_events) {
  *out = NULL;
  if (window_ps < 0 || window_ps > PL_EVENTS_DELAY_LIMIT_PS || max_events < STORE_FIRST_CAPACITY)
    return PL_E_ARGUMENT;
  pl_events *ev = calloc(1, sizeof *ev);
  if (ev == NULL) return PL_E_MEMORY;
  memcpy(ev->map, channel_map, sizeof ev->map);
  ev->window = window_ps;
  ev->limit = ev->horizon = INT64_MIN / 2;
  ev->pend_time = malloc(PENDING * sizeof *ev->pend_time);
  ev->pend_det = pl_locked_alloc(PENDING);
  if (ev->pend_time == NULL || ev->pend_det == NULL || store_init(&ev->store, max_events) != PL_OK) {
    pl_events_free(ev);
    return PL_E_MEMORY;
  }
  *out = ev;
  return PL_OK;
}

int pl_events_set_delays(pl_events *ev, const int64_t *delay_ps) {
  for (int d = 0; d < 4; d++)
    if (delay_ps[d] > PL_EVENTS_DELAY_LIMIT_PS || delay_ps[d] < -PL_EVENTS_DELAY_LIMIT_PS)
      return PL_E_ARGUMENT;
  memcpy(ev->delay, delay_ps, sizeof ev->delay);
  return PL_OK;
}

static int64_t largest_delay(const pl_events *ev) {
  int64_t most = ev->delay[0];
  for (int d = 1; d < 4; d++)
    if (ev->delay[d] > most) most = ev->delay[d];
  return most;
}

int pl_events_add(pl_events *ev, const int64_t *time_ps, const uint8_t *channel, size_t n,
                  int64_t through_ps, int64_t resolution_ps, const uint8_t *random) {
  if (resolution_ps < 0 || resolution_ps > PL_EVENTS_DELAY_LIMIT_PS) return PL_E_ARGUMENT;
  if (n > PENDING - ev->pend_n) return PL_E_CAPACITY;
  for (size_t k = 0; k < n; k++) {
    uint8_t det = ev->map[channel[k]];
    if (det > 3) {
      ev->counts.ignored++;
      continue;
    }
    ev->counts.clicks[det]++;
    int64_t t = time_ps[k];
    if (resolution_ps > 0 && t <= FOREVER) t += resolution_ps * random[k] / 256;
    /* late: after a change of delays, or from a tagger whose time decreases or is out of range */
    if (t > FOREVER || t < -FOREVER || (t -= ev->delay[det]) < ev->horizon) {
      ev->counts.late++;
      continue;
    }
    size_t at = ev->pend_n++;
    for (; at > 0 && ev->pend_time[at - 1] > t; at--) {
      ev->pend_time[at] = ev->pend_time[at - 1];
      ev->pend_det[at] = ev->pend_det[at - 1];
    }
    ev->pend_time[at] = t;
    ev->pend_det[at] = det;
  }
  if (through_ps > FOREVER) through_ps = FOREVER;
  if (through_ps < -FOREVER) through_ps = -FOREVER;
  int64_t limit = through_ps - largest_delay(ev);
  if (limit > ev->limit) ev->limit = limit;
  return PL_OK;
}

/* The clicks from k on that belong to one event: their detectors as a mask, the next k. */
static size_t gather(const pl_events *ev, size_t k, unsigned *mask) {
  int64_t last = ev->pend_time[k] + ev->window;
  *mask = 0;
  for (; k < ev->pend_n && ev->pend_time[k] <= last; k++) *mask |= 1u << ev->pend_det[k];
  return k;
}

static int complete(const pl_events *ev, size_t k) {
  return k < ev->pend_n && ev->pend_time[k] + ev->window < ev->limit;
}

int64_t pl_events_multi_pending(const pl_events *ev) {
  int64_t multi = 0;
  for (size_t k = 0; complete(ev, k);) {
    unsigned mask;
    k = gather(ev, k, &mask);
    multi += (mask & (mask - 1)) != 0;
  }
  return multi;
}

int64_t pl_events_emit(pl_events *ev, const uint8_t *random, size_t n_random) {
  size_t k = 0, used = 0;
  int64_t lost_from = INT64_MAX;
  if ((int64_t)n_random < pl_events_multi_pending(ev)) return PL_E_ARGUMENT;
  while (complete(ev, k)) {
    int64_t time = ev->pend_time[k];
    unsigned mask;
    k = gather(ev, k, &mask);
    const int multi = (mask & (mask - 1)) != 0, cross = (mask & 3) && mask >> 2;
    const unsigned det = event_squash(mask, multi ? random[used++] : 0);
    ev->counts.multi_cross += multi && cross;
    ev->counts.multi_same += multi && !cross;
    int status = lost_from != INT64_MAX ? PL_E_CAPACITY
                                        : store_add(&ev->store, time, det, multi ? EVENT_MULTI : 0);
    if (status == PL_E_MEMORY) return status;
    if (status == PL_OK) {
      ev->counts.events++;
    } else {
      ev->counts.overflow++;
      if (lost_from == INT64_MAX) lost_from = time;
    }
  }
  memmove(ev->pend_time, ev->pend_time + k, (ev->pend_n - k) * sizeof *ev->pend_time);
  memmove(ev->pend_det, ev->pend_det + k, ev->pend_n - k);
  ev->pend_n -= k;
  if (ev->limit - ev->window > ev->horizon) ev->horizon = ev->limit - ev->window;
  ev->counts.overflow_from_ps = lost_from;
  return (int64_t)used;
}

int pl_events_drop_pending(pl_events *ev) {
  explicit_bzero(ev->pend_time, PENDING * sizeof *ev->pend_time);
  explicit_bzero(ev->pend_det, PENDING);
  ev->counts.overflow += (int64_t)ev->pend_n;
  ev->pend_n = 0;
  return PL_OK;
}

int64_t pl_events_horizon(const pl_events *ev) { return ev->horizon; }

int pl_events_get_counts(const pl_events *ev, pl_events_counts *out) {
  *out = ev->counts;
  return PL_OK;
}

int64_t pl_events_read(const pl_events *ev, int64_t first, size_t n, int64_t *time_ps,
                       uint8_t *basis) {
  const int64_t at = store_at(&ev->store, first, n);
  if (at < 0) return at;
  const uint8_t *flags = ev->store.flags + at;
  int64_t multi = 0;
  memcpy(time_ps, ev->store.time + at, n * sizeof *time_ps);
  for (size_t k = 0; k < n; k++) {
    basis[k] = flags[k] & EVENT_BASIS;
    multi += (flags[k] & EVENT_MULTI) != 0;
  }
  return multi;
}

int64_t pl_events_first(const pl_events *ev) { return store_first(&ev->store); }

int64_t pl_events_find(const pl_events *ev, int64_t time_ps) {
  return store_find(&ev->store, time_ps);
}

int pl_events_label(pl_events *ev, int64_t first, size_t n, uint8_t *detector) {
  return store_label(&ev->store, first, n, detector);
}

int pl_events_take_bits(pl_events *ev, const int64_t *index, size_t n, pl_secret *out) {
  return store_take_bits(&ev->store, index, n, out);
}

int pl_events_discard_before(pl_events *ev, int64_t time_ps) {
  return store_discard_before(&ev->store, time_ps);
}
