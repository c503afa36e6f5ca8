/* Contexts: feeding bytes in pieces, order, loss. The formats themselves are in the other files. */
#include "decoder.h"

#include <stdlib.h>

/* STEP: records read one by one before the kernel is tried again. GROUP: the most that a kernel
 * writes beyond what it returns.
 * BAD_MAX: so many records that are too early, against so few in order, mean that the bytes are
 * out of step or the clock was reset: reading on would throw everything away one by one.
 * (Formats with wraps heal at the next wrap and read on.) */
enum { BAD_MAX = 32, STEP = 8, GROUP = 16 };
static const int64_t LEAP_PS = 60000000000000; /* 60 s without a record */

static const struct {
  size_t record;
  int64_t num, den;   /* ps per unit when the format fixes it, else 0 */
  int64_t tags, dtimes; /* how far one record reaches, in units and dtime bins */
  int64_t window_ps;
  int absolute;       /* records carry the whole time */
} FORMATS[] = {
    [PL_FORMAT_TDC1] = {4, 2000, 1, (int64_t)1 << 27, 0, 0, 0},
    /* One carry of the unit's coarse counter, 2^25 / 256 ns: words beside a carry are seen to
     * come with it applied once too early (fpfind's own test recording has eight). */
    [PL_FORMAT_A1] = {8, 125, 32, (int64_t)1 << 54, 0, 131072000, 1},
    [PL_FORMAT_A1_LEGACY] = {8, 125, 32, (int64_t)1 << 54, 0, 131072000, 1},
    [PL_FORMAT_T2] = {4, 0, 0, (int64_t)1 << 25, 0, 0, 0},
    [PL_FORMAT_T2_HH1] = {4, 0, 0, (int64_t)1 << 25, 0, 0, 0},
    [PL_FORMAT_T2_PH300] = {4, 0, 0, (int64_t)1 << 28, 0, 0, 0},
    [PL_FORMAT_T3] = {4, 0, 0, 1 << 10, 1 << 15, 0, 0},
    [PL_FORMAT_T3_HH1] = {4, 0, 0, 1 << 10, 1 << 15, 0, 0},
    [PL_FORMAT_T3_PH300] = {4, 0, 0, 1 << 16, 1 << 12, 0, 0},
    [PL_FORMAT_QUTAG] = {10, 0, 0, 0, 0, 0, 1},
    [PL_FORMAT_QUTAG_PACKED] = {5, 0, 0, (int64_t)1 << 37, 0, 0, 0},
    [PL_FORMAT_SWABIAN16] = {16, 1, 1, 0, 0, 0, 1},
};

int pl_record_size(int format) {
  if (format < PL_FORMAT_TDC1 || format > PL_FORMAT_SWABIAN16) return PL_DECODE_E_ARGUMENT;
  return (int)FORMATS[format].record;
}

pl_run pl_run_of(int format) {
  switch (format) {
  case PL_FORMAT_TDC1: return pl_run_tdc1;
  case PL_FORMAT_A1:
  case PL_FORMAT_A1_LEGACY: return pl_run_a1;
  case PL_FORMAT_T2:
  case PL_FORMAT_T2_HH1: return pl_run_t2;
  case PL_FORMAT_T2_PH300: return pl_run_t2_ph300;
  case PL_FORMAT_T3:
  case PL_FORMAT_T3_HH1: return pl_run_t3;
  case PL_FORMAT_T3_PH300: return pl_run_t3_ph300;
  case PL_FORMAT_QUTAG: return pl_run_qutag;
  case PL_FORMAT_QUTAG_PACKED: return pl_run_qutag_packed;
  default: return pl_run_swabian16;
  }
}

static void inform(pl_decoder *d) {
  d->info = (pl_decoder_info){
      .horizon_ps = d->floor,
      .held = (int64_t)d->held_n,
      .pending = (int64_t)d->pending_n,
      .position = d->position,
      .records = d->records,
      .dummies = d->dummies,
      .damaged = d->damaged,
      .disordered = d->disordered,
      .lost = (int64_t)d->lost_n,
      .error = d->error,
  };
}

pl_decoder *pl_decoder_new(int format, int64_t num, int64_t dnum, int64_t den) {
  if (pl_record_size(format) < 0) return NULL;
  if (FORMATS[format].num) {
    num = FORMATS[format].num;
    den = FORMATS[format].den;
    dnum = 0;
  }
  if (den < 1 || den > 1 << 20 || num < 1 || num >= (int64_t)1 << 62 || dnum < 0 ||
      dnum >= (int64_t)1 << 40)
    return NULL;
  pl_i128 reach = (pl_i128)FORMATS[format].tags * num + den;
  reach += (pl_i128)FORMATS[format].dtimes * dnum;
  if (reach / den >= INT64_MAX / 2) return NULL; /* a single record would leave int64 */
  pl_decoder *d = calloc(1, sizeof *d);
  if (!d) return NULL;
  d->format = format;
  d->record = FORMATS[format].record;
  d->num = num;
  d->dnum = dnum;
  d->den = den;
  d->rest = den / 2;
  d->narrow = reach < (pl_i128)1 << 62;
  d->span_ps = (int64_t)(reach / den) + 1;
  d->window = FORMATS[format].window_ps;
  if (dnum) d->window = num / den + 1; /* T3 orders by sync period, not within it */
  d->last = d->floor = FORMATS[format].absolute ? PL_NO_TIME : 0;
  d->late_time = PL_NO_TIME;
  d->leap = FORMATS[format].absolute ? LEAP_PS : INT64_MAX;
  d->run = pl_run_of(format);
  d->kernel = pl_kernel_of(d, pl_decode_level_get());
  inform(d);
  return d;
}

/* Tags are raw key: what was held back is overwritten before the memory goes. */
void pl_decoder_free(pl_decoder *d) {
  if (!d) return;
  if (d->held_cap) {
    explicit_bzero(d->held_time, d->held_cap * sizeof *d->held_time);
    explicit_bzero(d->held_channel, d->held_cap);
  }
  free(d->held_time);
  free(d->held_channel);
  explicit_bzero(d, sizeof *d);
  free(d);
}

int pl_decoder_set_level(pl_decoder *d, int level) {
  if (level < PL_DECODE_PORTABLE || level > pl_decode_level_get()) return PL_DECODE_E_ARGUMENT;
  d->kernel = pl_kernel_of(d, level);
  return PL_DECODE_OK;
}

int64_t pl_scale_wide(const pl_decoder *d, int64_t tag, int64_t dtime) {
  pl_i128 sum = (pl_i128)tag * d->num + (pl_i128)dtime * d->dnum + d->rest;
  return d->base + (int64_t)(sum / d->den);
}

void pl_wrap(pl_decoder *d, uint64_t count, int64_t wrap) {
  pl_i128 units = (pl_i128)d->units + (pl_i128)count * wrap;
  pl_i128 total = units * d->num + d->den / 2;
  pl_i128 base = d->den == 1 ? total : total / d->den;
  if (units > INT64_MAX || base > INT64_MAX - d->span_ps) {
    d->error = PL_DECODE_E_DATA;
    return;
  }
  d->units = (int64_t)units;
  d->base = (int64_t)base;
  d->rest = (int64_t)(total - base * d->den);
}

static void lost_add(pl_decoder *d, pl_lost lost) {
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

static int64_t settled(const pl_decoder *d) {
  if (d->last == PL_NO_TIME) return PL_NO_TIME;
  int64_t t = d->last < INT64_MIN + 1 + d->window ? INT64_MIN + 1 : d->last - d->window;
  return t > d->floor ? t : d->floor;
}

void pl_lost_open(pl_decoder *d, int reason, int64_t count) {
  if (!d->open) {
    d->open = reason;
    d->open_start = settled(d);
    d->open_count = count;
  } else if (d->open_count >= 0) {
    d->open_count = count < 0 ? -1 : d->open_count + count;
  }
}

void pl_lost_close(pl_decoder *d, int64_t t) {
  int64_t start = d->open_start == PL_NO_TIME ? t : d->open_start;
  if (d->suspect) d->damaged++;
  d->suspect = 0;
  lost_add(d, (pl_lost){start, t, d->open_count, d->open});
  d->open = 0;
}

static void count_bad(pl_decoder *d) {
  if (++d->bad >= BAD_MAX && FORMATS[d->format].absolute) d->error = PL_DECODE_E_DATA;
}

/* The same click again is no second witness: a run of equal words is damage. */
static int repeated(const pl_decoder *d, int64_t t, int c) {
  int same = 0;
  for (int i = 0; i < d->suspects; i++) same |= d->suspect_channel[i] == c;
  return same && t == d->suspect_time;
}

/* A leap: believed when it is the first record of all or the second of two that agree. */
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
    if (d->suspect == 2) d->open = 0;
    d->suspect = 0;
    for (int i = 0; i < d->suspects; i++) pl_accept(d, s, d->suspect_time, d->suspect_channel[i]);
    pl_accept(d, s, t, c);
    return;
  }
  int opened = !d->open || d->suspect == 2;
  if (d->suspect) d->damaged++;
  pl_lost_open(d, PL_LOST_DAMAGED, 1);
  d->suspect = opened ? 2 : 1;
  d->suspect_serial = d->serial;
  d->suspect_time = t;
  d->suspects = 1;
  d->suspect_channel[0] = c;
  count_bad(d);
}

/* A record earlier than the latest one: sorted in while that is still possible. */
void pl_late(pl_decoder *d, pl_sink *s, int64_t t, int c) {
  if (d->window == 0 || t < settled(d)) {
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

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Whole records from p on, plain stretches by the kernel when there is one. */
static size_t run_records(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s) {
  size_t done = 0;
  while (done < n && pl_room(d, s)) {
    size_t step = n - done;
    if (d->kernel && !d->open) {
      size_t k = least(step, s->capacity - s->n - PL_ROOM);
      k = d->kernel(d, p + done * d->record, k, s->time + s->n, s->channel + s->n);
      s->n += k;
      done += k;
      d->bad = (size_t)d->bad > k ? d->bad - (int)k : 0; /* as pl_accept does */
      step = least(n - done, k < 4 * STEP ? STEP : 1); /* a lone special record, or many */
    } else if (d->kernel) {
      step = least(step, STEP);
    }
    done += d->run(d, p + done * d->record, step, s);
  }
  /* a kernel writes whole groups: what lies beyond the last tag is nobody's to wipe later */
  size_t beyond = least(s->capacity - s->n, GROUP);
  memset(s->time + s->n, 0, beyond * sizeof *s->time);
  memset(s->channel + s->n, 0, beyond);
  d->position += (int64_t)(done * d->record);
  d->records += (int64_t)done;
  return done;
}

static int hold(pl_decoder *d, pl_sink *s) {
  size_t keep = s->n;
  int64_t cut = settled(d);
  while (keep > 0 && s->time[keep - 1] > cut) keep--;
  if (s->n - keep > PL_HELD_MAX) {
    keep = s->n - PL_HELD_MAX;
    cut = s->time[keep];
  }
  size_t held = s->n - keep;
  if (held > d->held_cap) {
    int64_t *t = malloc(PL_HELD_MAX * sizeof *t);
    uint8_t *c = malloc(PL_HELD_MAX);
    if (!t || !c) {
      free(t);
      free(c);
      return PL_DECODE_E_MEMORY;
    }
    d->held_time = t;
    d->held_channel = c;
    d->held_cap = PL_HELD_MAX;
  }
  if (held) {
    memcpy(d->held_time, s->time + keep, held * sizeof *d->held_time);
    memcpy(d->held_channel, s->channel + keep, held);
    memset(s->time + keep, 0, held * sizeof *s->time); /* nobody wipes what is not handed out */
    memset(s->channel + keep, 0, held);
  }
  d->held_n = held;
  s->n = keep;
  d->floor = cut;
  return PL_DECODE_OK;
}

/* The first bytes complete the record that the previous call left unfinished. */
static size_t run_pending(pl_decoder *d, const uint8_t *data, size_t size, pl_sink *s) {
  if (d->pending_n == 0) return 0;
  size_t take = d->record - d->pending_n < size ? d->record - d->pending_n : size;
  memcpy(d->pending + d->pending_n, data, take);
  d->pending_n += take;
  if (d->pending_n == d->record && run_records(d, d->pending, 1, s) == 1) d->pending_n = 0;
  return take;
}

int64_t pl_decoder_feed(pl_decoder *d, const uint8_t *data, size_t size, int64_t *time_ps,
                        uint8_t *channel, size_t capacity, size_t *consumed) {
  *consumed = 0;
  if (d->error) return d->error;
  if (capacity < d->held_n + PL_ROOM) return PL_DECODE_E_CAPACITY;
  pl_sink s = {time_ps, channel, d->held_n, capacity};
  if (d->held_n) {
    memcpy(time_ps, d->held_time, d->held_n * sizeof *time_ps);
    memcpy(channel, d->held_channel, d->held_n);
  }
  size_t at = run_pending(d, data, size, &s);
  size_t whole = (size - at) / d->record;
  size_t done = run_records(d, data + at, whole, &s);
  at += done * d->record;
  if (done == whole && !d->error) {
    memcpy(d->pending + d->pending_n, data + at, size - at);
    d->pending_n += size - at;
    at = size;
  }
  *consumed = at;
  int status = hold(d, &s);
  if (status < 0) return status;
  if (d->open && d->open_start != PL_NO_TIME && d->floor > d->open_start) {
    lost_add(d, (pl_lost){d->open_start, d->floor, d->open_count, d->open});
    d->open_start = d->floor;
    d->open_count = d->open_count < 0 ? -1 : 0;
  }
  inform(d);
  return (int64_t)s.n;
}

int64_t pl_decoder_finish(pl_decoder *d, int64_t *time_ps, uint8_t *channel, size_t capacity) {
  if (capacity < d->held_n) return PL_DECODE_E_CAPACITY;
  size_t n = d->held_n;
  if (n) {
    memcpy(time_ps, d->held_time, n * sizeof *time_ps);
    memcpy(channel, d->held_channel, n);
    explicit_bzero(d->held_time, n * sizeof *time_ps);
    explicit_bzero(d->held_channel, n);
  }
  d->held_n = 0;
  d->floor = d->last;
  if (d->open && d->last != PL_NO_TIME) pl_lost_close(d, d->last);
  inform(d);
  return (int64_t)n;
}

int64_t pl_decoder_lost(pl_decoder *d, pl_lost *out, size_t capacity) {
  size_t n = d->lost_n < capacity ? d->lost_n : capacity;
  memcpy(out, d->lost, n * sizeof *out);
  memmove(d->lost, d->lost + n, (d->lost_n - n) * sizeof *out);
  d->lost_n -= n;
  inform(d);
  return (int64_t)n;
}

const pl_decoder_info *pl_decoder_info_of(const pl_decoder *d) { return &d->info; }
