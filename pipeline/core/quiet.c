/* Clicks in, events out: delays, merge, noise, quiet rule, in one pass.
 *
 * A click's time less its detector's delay gets noise once, before sorting and comparing; all later
 * steps depend on noised times alone. A click that belongs to no earlier event begins an event, and
 * all clicks of the next quiet_ps belong to it. None of them prolongs it: the effect of an event's
 * later clicks must not be visible (a veto that they prolong reveals which detectors were dead, and
 * so the bit). Beside a loss it is unknown which clicks belong to events: there events begin again
 * only after quiet_ps without any click, so that no kept event is near the loss. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "event_store.h"
#include "noise.h"
#include "secret.h"

enum { PENDING = 1 << 14, PIECE = 1 << 12, IGNORED = 255, LOST_MAX = 1024 };
enum { NOISE_STREAM = 0, COIN_STREAM = 1 };
static const int64_t FOREVER = INT64_MAX / 8; /* 13 days in ps; click has room for it */

/* A click in one word, which sorts by time: time * 4 + detector. */
typedef int64_t click;
static inline int64_t time_of(click c) { return c >> 2; }
static inline unsigned detector_of(click c) { return (unsigned)c & 3; }

typedef struct {
  pl_quiet_lost at[LOST_MAX];
  size_t n;
} losses;

struct pl_quiet {
  uint8_t map[256];
  pl_quiet_rule rule;
  int64_t longest, shortest; /* delay, with the noise */
  pl_noise *noise, *coin;
  click *pending; /* locked, ascending */
  size_t pending_n;
  int64_t through; /* of the tagger's time */
  int64_t limit;   /* noised time: no earlier click can come */
  int64_t last;    /* unsettled: the latest click, or end of a loss */
  int64_t clicked; /* the latest click that an event holds */
  int settled;     /* it is known which clicks belong to events */
  losses fresh;    /* noised time, still ahead */
  losses told;     /* what no event was kept in */
  event_store store;
  pl_quiet_counts counts;
};

static int64_t clipped(int64_t t) { return t > FOREVER ? FOREVER : t < -FOREVER ? -FOREVER : t; }

/* Sorted by start. Without room, one longer gap is always safe. */
static void add_loss(losses *list, int64_t start, int64_t end) {
  size_t at = list->n;
  while (at > 0 && list->at[at - 1].start_ps > start) at--;
  if (at > 0 && list->at[at - 1].end_ps >= start) {
    if (end > list->at[at - 1].end_ps) list->at[at - 1].end_ps = end;
    return;
  }
  if (list->n == LOST_MAX) {
    if (at == 0) {
      list->at[0].start_ps = start;
      return;
    }
    pl_quiet_lost *before = &list->at[at - 1];
    before->end_ps = end > before->end_ps ? end : before->end_ps;
    return;
  }
  memmove(list->at + at + 1, list->at + at, (list->n - at) * sizeof *list->at);
  list->at[at] = (pl_quiet_lost){start, end};
  list->n++;
}

static void drop_losses(losses *list, size_t n) {
  memmove(list->at, list->at + n, (list->n - n) * sizeof *list->at);
  list->n -= n;
}

static int rule_is_possible(const pl_quiet_rule *rule) {
  for (int d = 0; d < 4; d++)
    if (llabs(rule->delay_ps[d]) > PL_QUIET_DELAY_LIMIT_PS) return 0;
  return rule->quiet_ps >= 1 && rule->quiet_ps <= PL_QUIET_MAX_PS;
}

static int open_parts(pl_quiet *q, const uint8_t *seed, size_t max_events) {
  int status = pl_noise_new(&q->noise, seed, NOISE_STREAM, q->rule.scale_ps, q->rule.bound_ps);
  if (status == PL_OK) status = pl_noise_new(&q->coin, seed, COIN_STREAM, 0, 0);
  if (status == PL_OK) status = store_init(&q->store, max_events);
  q->pending = pl_locked_alloc(PENDING * sizeof *q->pending);
  return status == PL_OK && q->pending == NULL ? PL_E_MEMORY : status;
}

int pl_quiet_new(pl_quiet **out, const uint8_t *channel_map, const pl_quiet_rule *rule,
                 const uint8_t *seed, size_t max_events) {
  *out = NULL;
  if (!rule_is_possible(rule) || max_events < STORE_FIRST_CAPACITY) return PL_E_ARGUMENT;
  pl_quiet *q = calloc(1, sizeof *q);
  if (q == NULL) return PL_E_MEMORY;
  memcpy(q->map, channel_map, sizeof q->map);
  q->rule = *rule;
  q->last = q->clicked = q->limit = q->through = -2 * FOREVER;
  int status = open_parts(q, seed, max_events);
  if (status != PL_OK) {
    pl_quiet_free(q);
    return status;
  }
  q->longest = q->shortest = rule->delay_ps[0];
  for (int d = 1; d < 4; d++) {
    if (rule->delay_ps[d] > q->longest) q->longest = rule->delay_ps[d];
    if (rule->delay_ps[d] < q->shortest) q->shortest = rule->delay_ps[d];
  }
  q->longest += pl_noise_bound(q->noise);
  q->shortest -= pl_noise_bound(q->noise);
  *out = q;
  return PL_OK;
}

void pl_quiet_free(pl_quiet *q) {
  if (q == NULL) return;
  pl_noise_free(q->noise);
  pl_noise_free(q->coin);
  pl_locked_free(q->pending, PENDING * sizeof *q->pending);
  store_free(&q->store);
  free(q);
}

/* Of noised time. Complete events may be announced: a late report of a loss counts from there. */
static void lose(pl_quiet *q, int64_t start, int64_t end) {
  if (start < q->limit) start = q->limit;
  if (end < start) end = start;
  add_loss(&q->fresh, start, end);
  add_loss(&q->told, start - q->rule.quiet_ps + 1, end + q->rule.quiet_ps);
}

int pl_quiet_lose(pl_quiet *q, int64_t start_ps, int64_t end_ps) {
  if (end_ps < start_ps) return PL_E_ARGUMENT;
  const int64_t start = clipped(start_ps) - q->longest, end = clipped(end_ps) - q->shortest + 1;
  lose(q, start, end);
  return PL_OK;
}

/* ---- the rule ---- */

static void overflowed(pl_quiet *q, int64_t time) {
  q->counts.overflow++;
  add_loss(&q->told, time, time + q->rule.quiet_ps);
}

/* The detector and flags of an event of several clicks. */
static unsigned of_many(pl_quiet *q, unsigned mask, unsigned *flags) {
  const int multi = (mask & (mask - 1)) != 0, cross = (mask & 3) && mask >> 2;
  *flags |= EVENT_FOLLOWED | (multi ? EVENT_MULTI : 0);
  q->counts.followed++;
  q->counts.multi_cross += multi && cross;
  q->counts.multi_same += multi && !cross;
  return event_squash(mask, multi ? noise_word(q->coin) : 0);
}

/* After losses that begin before `end` it is unknown which clicks belong to events. */
static void meet_losses(pl_quiet *q, int64_t end) {
  size_t n = 0;
  for (; n < q->fresh.n && q->fresh.at[n].start_ps < end; n++) {
    q->settled = 0;
    if (q->fresh.at[n].end_ps > q->last) q->last = q->fresh.at[n].end_ps;
  }
  drop_losses(&q->fresh, n);
}

/* A click near a loss, or the first after it that is quiet: whether it may begin an event. */
static int settles(pl_quiet *q, int64_t time) {
  if (time - q->last < q->rule.quiet_ps) {
    if (time > q->last) q->last = time;
    q->counts.unsettled++;
    return 0;
  }
  return q->settled = 1;
}

/* Makes events of all clicks whose quiet time is over before `limit`. */
static void decide(pl_quiet *q) {
  const int64_t quiet = q->rule.quiet_ps, limit = q->limit;
  int64_t room = store_room(&q->store, q->pending_n); /* negative: no memory, as if full */
  int64_t clicked = q->clicked, shadowed = 0;
  store_row row = store_begin(&q->store);
  const size_t before = row.at, n = q->pending_n;
  const click *pending = q->pending;
  size_t k = 0;
  while (k < n) {
    const int64_t time = time_of(pending[k]), end = time + quiet;
    if (end > limit) break;
    if (q->fresh.n) meet_losses(q, end);
    if (!q->settled && !settles(q, time)) {
      k++;
      continue;
    }
    /* a click this shortly before is of the preceding event: a detector may be dead after it */
    unsigned flags = time - clicked < quiet ? EVENT_SHADOWED : 0;
    shadowed += flags != 0;
    unsigned detector = detector_of(pending[k]), mask = 1u << detector;
    const size_t first = k++;
    for (; k < n && time_of(pending[k]) < end; k++) mask |= 1u << detector_of(pending[k]);
    clicked = time_of(pending[k - 1]);
    if (__builtin_expect(room-- <= 0, 0)) {
      overflowed(q, time);
      continue;
    }
    if (k - first > 1) detector = of_many(q, mask, &flags);
    store_next(&row, time, detector, flags);
  }
  store_end(&q->store, &row);
  q->clicked = clicked;
  q->counts.shadowed += shadowed;
  q->counts.events += (int64_t)(row.at - before);
  memmove(q->pending, q->pending + k, (n - k) * sizeof *q->pending);
  q->pending_n = n - k;
}

/* A piece that leaves room behind it. */
static void take(pl_quiet *q, const int64_t *time_ps, const uint8_t *channel, size_t n) {
  const int noisy = pl_noise_bound(q->noise) > 0;
  const int64_t complete = q->limit;
  click *pending = q->pending;
  size_t m = q->pending_n, used = q->noise->used;
  int64_t clicks[4] = {0};
  click top = m ? pending[m - 1] : INT64_MIN;
  for (size_t k = 0; k < n; k++) {
    const uint8_t detector = q->map[channel[k]];
    if (detector > 3) {
      q->counts.ignored++;
      continue;
    }
    clicks[detector]++;
    int64_t t = time_ps[k];
    if (t > FOREVER || t < -FOREVER) {
      q->counts.late++;
      continue;
    }
    t -= q->rule.delay_ps[detector];
    if (noisy) t += noise_draw(q->noise, &used);
    if (t < complete) {
      q->counts.late++;
      continue;
    }
    const click c = (click)((uint64_t)t << 2 | detector);
    size_t at = m++;
    if (c >= top) {
      top = c;
    } else {
      for (; at > 0 && pending[at - 1] > c; at--) pending[at] = pending[at - 1];
    }
    pending[at] = c;
  }
  q->pending_n = m;
  q->noise->used = used;
  for (int d = 0; d < 4; d++) q->counts.clicks[d] += clicks[d];
}

static void advance(pl_quiet *q, int64_t through_ps) {
  if (through_ps > q->through) q->through = through_ps;
  const int64_t limit = clipped(q->through) - q->longest;
  if (limit > q->limit) q->limit = limit;
  decide(q);
}

/* More clicks are pending than detectors can make: all of them are lost. */
static void give_up(pl_quiet *q) {
  const int64_t from = time_of(q->pending[0]), to = time_of(q->pending[q->pending_n - 1]) + 1;
  q->counts.unsettled += (int64_t)q->pending_n;
  explicit_bzero(q->pending, q->pending_n * sizeof *q->pending);
  q->pending_n = 0;
  lose(q, from, to);
}

int pl_quiet_add(pl_quiet *q, const int64_t *time_ps, const uint8_t *channel, size_t n,
                 int64_t through_ps) {
  if (q->noise->owner != getpid()) return PL_E_STATE;
  for (size_t at = 0; at < n; at += PIECE) {
    const size_t size = n - at < PIECE ? n - at : PIECE;
    if (q->pending_n + size > PENDING) give_up(q);
    take(q, time_ps + at, channel + at, size);
    const int64_t reached = time_ps[at + size - 1];
    advance(q, reached < through_ps ? reached : through_ps);
  }
  advance(q, through_ps);
  return PL_OK;
}

/* ---- results ---- */

int64_t pl_quiet_horizon(const pl_quiet *q) { return q->limit - q->rule.quiet_ps; }

int pl_quiet_get_counts(const pl_quiet *q, pl_quiet_counts *out) {
  *out = q->counts;
  return PL_OK;
}

int64_t pl_quiet_get_lost(const pl_quiet *q, int64_t start_ps, int64_t end_ps, pl_quiet_lost *out,
                          size_t capacity) {
  size_t found = 0;
  for (size_t k = 0; k < q->told.n; k++) {
    const pl_quiet_lost *lost = &q->told.at[k];
    if (lost->start_ps >= end_ps || lost->end_ps <= start_ps) continue;
    if (found < capacity) out[found] = *lost;
    found++;
  }
  return (int64_t)found;
}

int64_t pl_quiet_first(const pl_quiet *q) { return store_first(&q->store); }

int64_t pl_quiet_find(const pl_quiet *q, int64_t time_ps) { return store_find(&q->store, time_ps); }

int pl_quiet_times(const pl_quiet *q, int64_t first, size_t n, int64_t *time_ps) {
  const int64_t at = store_at(&q->store, first, n);
  if (at < 0) return (int)at;
  memcpy(time_ps, q->store.time + at, n * sizeof *time_ps);
  return PL_OK;
}

/* Are they kept, and in strictly increasing order? */
static int indices(const pl_quiet *q, const int64_t *index, size_t n) {
  for (size_t k = 0; k < n; k++) {
    if (store_at(&q->store, index[k], 1) < 0) return PL_E_RANGE;
    if (k > 0 && index[k] <= index[k - 1]) return PL_E_ARGUMENT;
  }
  return PL_OK;
}

int pl_quiet_bases(const pl_quiet *q, const int64_t *index, size_t n, uint8_t *basis) {
  int status = indices(q, index, n);
  if (status != PL_OK) return status;
  for (size_t k = 0; k < n; k++)
    basis[k] = q->store.flags[index[k] - q->store.origin] & EVENT_BASIS;
  return PL_OK;
}

int64_t pl_quiet_followed(const pl_quiet *q, const int64_t *index, size_t n) {
  int status = indices(q, index, n);
  if (status != PL_OK) return status;
  int64_t found = 0;
  for (size_t k = 0; k < n; k++)
    found += (q->store.flags[index[k] - q->store.origin] & EVENT_FOLLOWED) != 0;
  return found;
}

int pl_quiet_marks(const pl_quiet *q, const int64_t *index, size_t n, uint8_t *marks) {
  int status = indices(q, index, n);
  if (status != PL_OK) return status;
  for (size_t k = 0; k < n; k++) {
    const unsigned flags = q->store.flags[index[k] - q->store.origin];
    marks[k] = (uint8_t)(((flags & EVENT_FOLLOWED) != 0) | ((flags & EVENT_SHADOWED) != 0) << 1);
  }
  return PL_OK;
}

int pl_quiet_disclose(pl_quiet *q, const int64_t *index, size_t n, uint8_t *detector) {
  int status = indices(q, index, n);
  if (status != PL_OK) return status;
  for (size_t k = 0; k < n; k++)
    if (q->store.flags[index[k] - q->store.origin] & EVENT_SPENT) return PL_E_STATE;
  for (size_t k = 0; k < n; k++) {
    status = store_label(&q->store, index[k], 1, detector + k);
    if (status != PL_OK) return status;
  }
  return PL_OK;
}

int pl_quiet_take_bits(pl_quiet *q, const int64_t *index, size_t n, pl_secret *out) {
  return store_take_bits(&q->store, index, n, out);
}

int pl_quiet_keep(pl_quiet *q, const int64_t *index, const int64_t *offset_ps, size_t n,
                  int64_t step_ps, const pl_kept *kept, pl_secret *bits) {
  if (step_ps < 1) return PL_E_ARGUMENT;
  return store_keep(&q->store, index, offset_ps, n, step_ps, kept, bits);
}

int64_t pl_quiet_followed_of(const pl_quiet *q, int64_t first, size_t n) {
  const int64_t at = store_at(&q->store, first, n);
  int64_t found = 0;
  if (at < 0) return at;
  for (size_t k = 0; k < n; k++) found += (q->store.flags[(size_t)at + k] & EVENT_FOLLOWED) != 0;
  return found;
}

int pl_quiet_discard_before(pl_quiet *q, int64_t time_ps) {
  size_t n = 0;
  while (n < q->told.n && q->told.at[n].end_ps <= time_ps) n++;
  drop_losses(&q->told, n);
  return store_discard_before(&q->store, time_ps);
}

static const int64_t *from(const pl_quiet *q, int64_t start_ps, int64_t end_ps, int64_t *first,
                           size_t *n) {
  *first = store_find(&q->store, start_ps);
  *n = (size_t)(store_find(&q->store, end_ps) - *first);
  return q->store.time + (*first - q->store.origin);
}

int64_t pl_quiet_announce(const pl_quiet *q, const pl_slot *slot, uint8_t *out, size_t capacity) {
  if (slot->quiet_ps != q->rule.quiet_ps) return PL_E_ARGUMENT;
  if (slot->end_ps > pl_quiet_horizon(q)) return PL_E_STATE;
  int64_t first;
  size_t n;
  const int64_t *times = from(q, slot->start_ps, slot->end_ps, &first, &n);
  return pl_announce(times, n, slot, out, capacity);
}

int64_t pl_quiet_pairs(const pl_quiet *q, const uint8_t *data, size_t bytes, const pl_slot *slot,
                       const pl_slot_clock *clock, int64_t window_ps, int64_t track_ps,
                       int64_t *own_index, int64_t *announced_index, int64_t *residual_ps,
                       size_t capacity, uint32_t *hist, int64_t hist_bits) {
  /* own events that could be near: rates are below 1e-3, the rest is refused there */
  const int64_t length = slot->end_ps - slot->start_ps, reach = track_ps + length / 512 + 1;
  const int64_t start = clipped(slot->start_ps) - clipped(clock->offset_ps);
  int64_t first;
  size_t n;
  if (track_ps < 0 || track_ps > INT32_MAX || length < 0) return PL_E_ARGUMENT;
  const int64_t *times = from(q, start - reach, start + length + reach, &first, &n);
  int64_t pairs =
      pl_announced_pairs(data, bytes, slot, clock, times, n, window_ps, track_ps, own_index,
                         announced_index, residual_ps, capacity, hist, hist_bits);
  for (int64_t k = 0; k < pairs; k++) own_index[k] += first;
  return pairs;
}
