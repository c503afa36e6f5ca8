/* Local detection events: clicks in, events with a basis and a hidden bit out.
 *
 * Clicks are first corrected by their detector's delay, which may reorder them slightly, so they
 * wait in a small sorted buffer until no earlier one can come; then clicks within the window
 * become one event. The bit of an event stays in locked memory until pl_events_take_bits. */
#include <stdlib.h>
#include <string.h>

#include "secret.h"

enum { PENDING = 1 << 17, FIRST_CAPACITY = 1 << 16, IGNORED = 255 };
static const int64_t FOREVER = INT64_MAX / 4; /* 26 days in ps; sums stay in range */
enum { BASIS = 1, MULTI = 2, SPENT = 4 };

struct pl_events {
  uint8_t map[256]; /* channel -> detector H V D A = 0..3, or IGNORED */
  int64_t delay[4], window, limit, horizon;
  int64_t *pend_time; /* sorted */
  uint8_t *pend_det;  /* locked */
  size_t pend_n;
  int64_t *time;
  uint8_t *flags;
  uint64_t *bits;         /* locked, one bit per event */
  int64_t origin;         /* index of the event at position 0, a multiple of 64 */
  size_t live, end, cap, max; /* positions: events live..end-1 exist */
  pl_events_counts counts;
};

static size_t bits_bytes(size_t cap) { return cap / 8; }

static int reserve(pl_events *ev, size_t cap) {
  int64_t *time = malloc(cap * sizeof *time);
  uint8_t *flags = malloc(cap);
  uint64_t *bits = pl_locked_alloc(bits_bytes(cap));
  if (time == NULL || flags == NULL || bits == NULL) {
    free(time);
    free(flags);
    pl_locked_free(bits, bits_bytes(cap));
    return PL_E_MEMORY;
  }
  if (ev->end > 0) {
    memcpy(time, ev->time, ev->end * sizeof *time);
    memcpy(flags, ev->flags, ev->end);
    memcpy(bits, ev->bits, bits_bytes(ev->cap));
    explicit_bzero(ev->time, ev->end * sizeof *time);
  }
  free(ev->time);
  free(ev->flags);
  pl_locked_free(ev->bits, bits_bytes(ev->cap));
  ev->time = time;
  ev->flags = flags;
  ev->bits = bits;
  ev->cap = cap;
  return PL_OK;
}

void pl_events_free(pl_events *ev) {
  if (ev == NULL) return;
  if (ev->time != NULL) explicit_bzero(ev->time, ev->end * sizeof *ev->time);
  if (ev->pend_time != NULL) explicit_bzero(ev->pend_time, PENDING * sizeof *ev->pend_time);
  free(ev->time);
  free(ev->flags);
  free(ev->pend_time);
  pl_locked_free(ev->bits, bits_bytes(ev->cap));
  pl_locked_free(ev->pend_det, PENDING);
  free(ev);
}

int pl_events_new(pl_events **out, const uint8_t *channel_map, int64_t window_ps,
                  size_t max_events) {
  *out = NULL;
  if (window_ps < 0 || window_ps > PL_EVENTS_DELAY_LIMIT_PS || max_events < FIRST_CAPACITY)
    return PL_E_ARGUMENT;
  pl_events *ev = calloc(1, sizeof *ev);
  if (ev == NULL) return PL_E_MEMORY;
  memcpy(ev->map, channel_map, sizeof ev->map);
  ev->window = window_ps;
  ev->max = max_events / 64 * 64;
  ev->limit = ev->horizon = INT64_MIN / 2;
  ev->pend_time = malloc(PENDING * sizeof *ev->pend_time);
  ev->pend_det = pl_locked_alloc(PENDING);
  if (ev->pend_time == NULL || ev->pend_det == NULL || reserve(ev, FIRST_CAPACITY) != PL_OK) {
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
    /* late: after a change of delays, or from a tagger whose time runs back or is absurd */
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

static void store(pl_events *ev, int64_t time, unsigned det, unsigned multi) {
  size_t at = ev->end++;
  uint64_t bit = (uint64_t)1 << (at & 63);
  ev->time[at] = time;
  ev->flags[at] = (uint8_t)(det >> 1 | multi);
  ev->bits[at / 64] = (ev->bits[at / 64] & ~bit) | ((uint64_t)(det & 1) << (at & 63));
  ev->counts.events++;
}

/* Which detector a mask of clicks counts as; `random` decides where nature did not. */
static unsigned squash(pl_events *ev, unsigned mask, uint8_t random) {
  unsigned hv = mask & 3, da = mask >> 2;
  if (hv && da) {
    ev->counts.multi_cross++;
    return random & 3;
  }
  ev->counts.multi_same++;
  return (da ? 2u : 0u) | (random & 1);
}

int64_t pl_events_emit(pl_events *ev, const uint8_t *random, size_t n_random) {
  size_t k = 0, used = 0;
  int64_t lost_from = INT64_MAX;
  if ((int64_t)n_random < pl_events_multi_pending(ev)) return PL_E_ARGUMENT;
  while (complete(ev, k)) {
    int64_t time = ev->pend_time[k];
    unsigned mask, det, multi = 0;
    if (ev->end == ev->cap) {
      size_t cap = ev->cap * 2 < ev->max ? ev->cap * 2 : ev->max;
      int status = cap > ev->cap ? reserve(ev, cap) : PL_E_CAPACITY;
      if (status == PL_E_MEMORY) return status;
      if (status != PL_OK && lost_from == INT64_MAX) lost_from = time;
    }
    k = gather(ev, k, &mask);
    if ((mask & (mask - 1)) == 0) {
      det = (unsigned)__builtin_ctz(mask);
    } else {
      det = squash(ev, mask, random[used++]);
      multi = MULTI;
    }
    if (lost_from == INT64_MAX)
      store(ev, time, det, multi);
    else
      ev->counts.overflow++;
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

int64_t pl_events_first(const pl_events *ev) { return ev->origin + (int64_t)ev->live; }

int64_t pl_events_find(const pl_events *ev, int64_t time_ps) {
  size_t low = ev->live, high = ev->end;
  while (low < high) {
    size_t mid = low + (high - low) / 2;
    if (ev->time[mid] < time_ps)
      low = mid + 1;
    else
      high = mid;
  }
  return ev->origin + (int64_t)low;
}

static int inside(const pl_events *ev, int64_t first, size_t n) {
  int64_t low = pl_events_first(ev), high = ev->origin + (int64_t)ev->end;
  return first >= low && first <= high && n <= (size_t)(high - first);
}

int64_t pl_events_read(const pl_events *ev, int64_t first, size_t n, int64_t *time_ps,
                       uint8_t *basis) {
  if (!inside(ev, first, n)) return PL_E_RANGE;
  size_t at = (size_t)(first - ev->origin);
  int64_t multi = 0;
  memcpy(time_ps, ev->time + at, n * sizeof *time_ps);
  for (size_t k = 0; k < n; k++) {
    basis[k] = ev->flags[at + k] & BASIS;
    multi += (ev->flags[at + k] & MULTI) != 0;
  }
  return multi;
}

static unsigned bit_at(const pl_events *ev, size_t at) {
  return (unsigned)(ev->bits[at / 64] >> (at & 63)) & 1;
}

int pl_events_label(pl_events *ev, int64_t first, size_t n, uint8_t *detector) {
  if (!inside(ev, first, n)) return PL_E_RANGE;
  size_t at = (size_t)(first - ev->origin);
  for (size_t k = 0; k < n; k++)
    if (ev->flags[at + k] & SPENT) return PL_E_STATE;
  for (size_t k = 0; k < n; k++, at++) {
    detector[k] = (uint8_t)((ev->flags[at] & BASIS) << 1 | bit_at(ev, at));
    ev->flags[at] |= SPENT;
  }
  return PL_OK;
}

int pl_events_take_bits(pl_events *ev, const int64_t *index, size_t n, pl_secret *out) {
  uint8_t *bytes = pl_secret_bytes(out);
  if (bytes == NULL) return PL_E_STATE;
  if (pl_secret_bits(out) != (int64_t)n) return PL_E_RANGE;
  for (size_t k = 0; k < n; k++) {
    if (!inside(ev, index[k], 1)) return PL_E_RANGE;
    if (k > 0 && index[k] <= index[k - 1]) return PL_E_ARGUMENT;
    if (ev->flags[index[k] - ev->origin] & SPENT) return PL_E_STATE;
  }
  memset(bytes, 0, (n + 7) / 8);
  for (size_t k = 0; k < n; k++) {
    size_t at = (size_t)(index[k] - ev->origin);
    bytes[k / 8] |= (uint8_t)(bit_at(ev, at) << (7 - k % 8));
    ev->flags[at] |= SPENT;
  }
  return PL_OK;
}

int pl_events_discard_before(pl_events *ev, int64_t time_ps) {
  size_t to = (size_t)(pl_events_find(ev, time_ps) - ev->origin);
  if (to > ev->live) explicit_bzero(ev->time + ev->live, (to - ev->live) * sizeof *ev->time);
  ev->live = to;
  size_t words = ev->live / 64, kept = ev->end - words * 64;
  explicit_bzero(ev->bits, words * sizeof *ev->bits);
  if (words * 64 < ev->cap / 4) return PL_OK; /* moving costs: only when it frees a quarter */
  memmove(ev->time, ev->time + words * 64, kept * sizeof *ev->time);
  memmove(ev->flags, ev->flags + words * 64, kept);
  size_t all = ev->cap / 64;
  memmove(ev->bits, ev->bits + words, (all - words) * sizeof *ev->bits);
  explicit_bzero(ev->bits + (all - words), words * sizeof *ev->bits);
  ev->origin += (int64_t)(words * 64);
  ev->live -= words * 64;
  ev->end = kept;
  return PL_OK;
}
