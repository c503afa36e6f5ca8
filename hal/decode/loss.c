/* Order and loss: late records, leaps of the clock, intervals in which events may be missing. */
#include "decoder.h"

/* This many records that are too early, with so few in order, mean that the bytes are out of step
 * or the clock was reset: to read on would drop every record. (Formats with wraps recover at the
 * next wrap.) */
enum { BAD_MAX = 32 };

void pl_lost_add(pl_decoder *d, pl_lost lost) {
  if (lost.start_ps == INT64_MAX) lost.start_ps--;
  if (lost.end_ps <= lost.start_ps) lost.end_ps = lost.start_ps + 1;
  if (d->lost_n < PL_LOST_MAX) {
    d->lost[d->lost_n++] = lost;
    return;
  }
  pl_lost *tail = &d->lost[PL_LOST_MAX - 1]; /* no room: one longer gap is always safe */
  if (lost.end_ps > tail->end_ps) tail->end_ps = lost.end_ps;
  tail->count = tail->count < 0 || lost.count < 0 ? -1 : tail->count + lost.count;
}

int64_t pl_settled(const pl_decoder *d) {
  if (d->last == PL_NO_TIME) return PL_NO_TIME;
  int64_t t = d->last < INT64_MIN + 1 + d->window ? INT64_MIN + 1 : d->last - d->window;
  return t > d->floor ? t : d->floor;
}

void pl_lost_open(pl_decoder *d, int reason, int64_t count) {
  if (!d->open) {
    d->open = reason;
    d->open_start = pl_settled(d);
    d->open_count = count;
  } else if (d->open_count >= 0) {
    d->open_count = count < 0 ? -1 : d->open_count + count;
  }
}

void pl_lost_close(pl_decoder *d, int64_t t) {
  int64_t start = d->open_start == PL_NO_TIME ? t : d->open_start;
  if (d->suspect) d->damaged++;
  d->suspect = PL_NO_SUSPECT;
  pl_lost_add(d, (pl_lost){start, t, d->open_count, d->open});
  d->open = 0;
}

static void count_bad(pl_decoder *d) {
  if (++d->bad >= BAD_MAX && pl_format_of(d->format)->absolute) d->error = PL_E_DATA;
}

/* A repetition of the same word does not confirm it: a run of equal words is damage. */
static int repeated(const pl_decoder *d, int64_t t, int c) {
  int same = 0;
  for (int i = 0; i < d->suspects; i++) same |= d->suspect_channel[i] == c;
  return same && t == d->suspect_time;
}

/* A leap is accepted when it is the first record of all or the second of two that agree. */
void pl_leap(pl_decoder *d, pl_sink *s, int64_t t, int c) {
  if (d->last == PL_NO_TIME) {
    pl_accept(d, s, t, c);
    return;
  }
  if (d->suspect && d->suspect_serial == d->serial) { /* another bit of the same pattern */
    if (d->suspects < PL_BITS) d->suspect_channel[d->suspects++] = c;
    return;
  }
  if (d->suspect && repeated(d, t, c)) {
    d->damaged++;
    return;
  }
  uint64_t after = (uint64_t)t - (uint64_t)d->suspect_time;
  if (d->suspect && t >= d->suspect_time && after <= (uint64_t)d->leap) {
    if (d->suspect == PL_SUSPECT_OPENED) d->open = 0;
    d->suspect = PL_NO_SUSPECT;
    for (int i = 0; i < d->suspects; i++) pl_accept(d, s, d->suspect_time, d->suspect_channel[i]);
    pl_accept(d, s, t, c);
    return;
  }
  int opened = !d->open || d->suspect == PL_SUSPECT_OPENED;
  if (d->suspect) d->damaged++;
  pl_lost_open(d, PL_LOST_DAMAGED, 1);
  d->suspect = opened ? PL_SUSPECT_OPENED : PL_SUSPECT;
  d->suspect_serial = d->serial;
  d->suspect_time = t;
  d->suspects = 1;
  d->suspect_channel[0] = c;
  count_bad(d);
}

/* A record earlier than the latest one: sorted in while that is still possible. */
void pl_late(pl_decoder *d, pl_sink *s, int64_t t, int c) {
  if (d->window == 0 || t < pl_settled(d)) {
    if (c < 0) return;
    d->damaged++;
    pl_lost_open(d, PL_LOST_BACKWARDS, 1);
    if (t != d->late_time) count_bad(d); /* a run of equal records counts once */
    d->late_time = t;
    return;
  }
  if (c < 0) return;
  d->disordered++;
  size_t i = s->n;
  while (i > 0 && s->time[i - 1] > t) i--;
  memmove(s->time + i + 1, s->time + i, (s->n - i) * sizeof *s->time);
  memmove(s->channel + i + 1, s->channel + i, s->n - i);
  s->time[i] = t;
  s->channel[i] = (uint8_t)c;
  s->n++;
}
