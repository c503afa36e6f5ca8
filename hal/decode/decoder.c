/* Decoder contexts: bytes are fed in pieces. The formats are in the other files. */
#include "decoder.h"

#include <stdlib.h>

/* STEP: records read one by one before the kernel is tried again. GROUP: the most that a kernel
 * writes beyond what it returns. */
enum { STEP = 8, GROUP = 16 };
static const int64_t LEAP_PS = 60000000000000; /* 60 s without a record */

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

/* T3 records are in order but for the reach of an arrival time, which counts from its sync and may
 * be longer than the sync period that the file names. */
static int64_t window_of(const pl_format_facts *facts, int64_t dnum, int64_t den) {
  if (!facts->dtimes) return facts->window_ps;
  return (int64_t)((pl_i128)facts->dtimes * dnum / den) + 1;
}

int pl_decoder_new(pl_decoder **out, int format, int64_t num, int64_t dnum, int64_t den) {
  *out = NULL;
  const pl_format_facts *facts = pl_format_of(format);
  if (!facts) return PL_E_ARGUMENT;
  if (facts->num) {
    num = facts->num;
    den = facts->den;
    dnum = 0;
  }
  if (den < 1 || den > 1 << 20 || num < 1 || num >= (int64_t)1 << 62 || dnum < 0 ||
      dnum >= (int64_t)1 << 40)
    return PL_E_ARGUMENT;
  pl_i128 reach = (pl_i128)facts->tags * num + (pl_i128)facts->dtimes * dnum + den;
  if (reach / den >= INT64_MAX / 2) return PL_E_ARGUMENT; /* a single record would leave int64 */
  pl_decoder *d = calloc(1, sizeof *d);
  if (!d) return PL_E_MEMORY;
  d->format = format;
  d->record = facts->record;
  d->num = num;
  d->dnum = dnum;
  d->den = den;
  d->rest = den / 2;
  d->narrow = reach < (pl_i128)1 << 62;
  d->span_ps = (int64_t)(reach / den) + 1;
  d->window = window_of(facts, dnum, den);
  d->last = d->floor = facts->absolute ? PL_NO_TIME : 0;
  d->late_time = PL_NO_TIME;
  d->leap = facts->absolute ? LEAP_PS : INT64_MAX;
  d->run = pl_run_of(format);
  d->kernel = pl_kernel_of(d, pl_decode_level_get());
  inform(d);
  *out = d;
  return PL_OK;
}

/* Tags are raw key: held-back tags are overwritten before the memory is freed. */
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
  if (level < PL_DECODE_PORTABLE || level > pl_decode_level_get()) return PL_E_ARGUMENT;
  d->kernel = pl_kernel_of(d, level);
  return PL_OK;
}

int64_t pl_scale_wide(const pl_decoder *d, int64_t tag, int64_t dtime) {
  pl_i128 sum = (pl_i128)tag * d->num + (pl_i128)dtime * d->dnum + d->rest;
  return d->base + (int64_t)(sum / d->den);
}

/* units = q den + r: the product with q is whole, that with r is small */
int pl_whole_time(const pl_decoder *d, uint64_t units, int64_t *t) {
  const uint64_t den = (uint64_t)d->den, num = (uint64_t)d->num, q = units / den, r = units % den;
  if (num > (uint64_t)1 << 40) { /* nor is it small: rare units, wide arithmetic */
    pl_i128 wide = ((pl_i128)units * d->num + d->den / 2) / d->den;
    *t = (int64_t)wide;
    return wide <= INT64_MAX;
  }
  if (q > (uint64_t)(INT64_MAX / 2) / num) return 0;
  *t = (int64_t)(q * num + (r * num + den / 2) / den);
  return 1;
}

void pl_wrap(pl_decoder *d, uint64_t count, int64_t wrap) {
  pl_i128 units = (pl_i128)d->units + (pl_i128)count * wrap;
  pl_i128 total = units * d->num + d->den / 2;
  pl_i128 base = d->den == 1 ? total : total / d->den;
  if (units > INT64_MAX || base > INT64_MAX - d->span_ps) {
    d->error = PL_E_DATA;
    return;
  }
  d->units = (int64_t)units;
  d->base = (int64_t)base;
  d->rest = (int64_t)(total - base * d->den);
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
  /* a kernel writes whole groups: wipe now what lies beyond the last tag */
  size_t beyond = least(s->capacity - s->n, GROUP);
  memset(s->time + s->n, 0, beyond * sizeof *s->time);
  memset(s->channel + s->n, 0, beyond);
  d->position += (int64_t)(done * d->record);
  d->records += (int64_t)done;
  return done;
}

static int hold(pl_decoder *d, pl_sink *s) {
  size_t keep = s->n;
  int64_t cut = pl_settled(d);
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
      return PL_E_MEMORY;
    }
    d->held_time = t;
    d->held_channel = c;
    d->held_cap = PL_HELD_MAX;
  }
  if (held) {
    memcpy(d->held_time, s->time + keep, held * sizeof *d->held_time);
    memcpy(d->held_channel, s->channel + keep, held);
    memset(s->time + keep, 0, held * sizeof *s->time); /* the caller wipes returned tags only */
    memset(s->channel + keep, 0, held);
  }
  d->held_n = held;
  s->n = keep;
  d->floor = cut;
  return PL_OK;
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
  if (capacity < d->held_n + PL_ROOM) return PL_E_CAPACITY;
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
    pl_lost_add(d, (pl_lost){d->open_start, d->floor, d->open_count, d->open});
    d->open_start = d->floor;
    d->open_count = d->open_count < 0 ? -1 : 0;
  }
  inform(d);
  return (int64_t)s.n;
}

int64_t pl_decoder_finish(pl_decoder *d, int64_t *time_ps, uint8_t *channel, size_t capacity) {
  if (capacity < d->held_n) return PL_E_CAPACITY;
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
