/* Internals of the decoders: the context and the common handling of a record.
 *
 * `last` is the latest time seen. A tag at or after it is appended; one that is earlier by at
 * most `window` is sorted in; anything earlier is dropped, counted and becomes a lost interval.
 * Tags later than last - window are held back at the end of a call, so that returned tags are
 * final. Formats with wraps have window 0 and hold nothing, but for T3.
 *
 * Where records carry the whole time, one wrong word could move the clock far ahead, so that all
 * later records would be too early. So a leap of more than `leap` is held until the next record: it
 * is accepted when that one is near it, else it was damage. */
#ifndef PHOTONLINK_DECODER_H
#define PHOTONLINK_DECODER_H
#include <string.h>

#include "decode.h"

enum { PL_LOST_MAX = 1024, PL_RECORD_MAX = 18, PL_HELD_MAX = 1 << 16 };
enum { PL_BITS = 4, PL_ROOM = 2 * PL_BITS }; /* of a pattern; events one record can release */
#define PL_NO_TIME INT64_MIN
__extension__ typedef __int128 pl_i128;

typedef struct {
  int64_t *time;
  uint8_t *channel;
  size_t n, capacity;
} pl_sink;

/* Decodes up to n whole records, while the sink has room; returns how many. */
typedef size_t (*pl_run)(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s);
/* Decodes a stretch of plain records (one event each, in order); stops before any other. */
typedef size_t (*pl_kernel)(pl_decoder *d, const uint8_t *p, size_t n, int64_t *t, uint8_t *c);

/* Constants of a format. */
typedef struct {
  size_t record;
  int64_t num, den;     /* ps per unit when the format fixes it, else 0 */
  int64_t tags, dtimes; /* how far one record reaches, in units and dtime bins */
  int64_t window_ps;    /* how late a record may come; T3: the reach of a dtime */
  int absolute;         /* records carry the whole time */
} pl_format_facts;
const pl_format_facts *pl_format_of(int format); /* NULL: there is no such format */

/* A leap that is held until the next record, and whether it opened the lost interval. */
typedef enum { PL_NO_SUSPECT, PL_SUSPECT, PL_SUSPECT_OPENED } pl_suspect;

struct pl_decoder {
  pl_decoder_info info;   /* what the caller sees */
  pl_run run;
  pl_kernel kernel;
  int format, narrow;
  size_t record;
  int64_t num, dnum, den;
  int64_t units;          /* wraps so far, in time units */
  int64_t base, rest;     /* units * num + den / 2 = base * den + rest */
  int64_t span_ps;        /* the longest time a record can add to base */
  int64_t last, floor, window, leap;
  uint64_t previous;        /* raw time of the previous record */
  uint32_t left, at, sequence; /* of a frame or packet: words to come, words read, number */
  uint32_t flags;           /* what its header says */
  int open;               /* a lost interval is open: reason, or 0 */
  int bracket;            /* it stays open until the instrument ends it */
  int64_t open_start, open_count;
  pl_suspect suspect;
  int suspects, suspect_channel[PL_BITS]; /* its events, -1 for none */
  int64_t suspect_time;
  int64_t late_time;      /* of the latest record that came too early */
  uint64_t serial, suspect_serial; /* which record this is, and which one leapt */
  int bad;                /* records too early or suspect, less those in order */
  size_t lost_n, pending_n, held_n, held_cap;
  pl_lost lost[PL_LOST_MAX];
  uint8_t pending[PL_RECORD_MAX];
  int64_t *held_time;
  uint8_t *held_channel;
  int64_t position, records, dummies, damaged, disordered;
  int error;
};

/* Tags up to it are final: none is sorted in before. */
int64_t pl_settled(const pl_decoder *d);
void pl_lost_add(pl_decoder *d, pl_lost lost);
void pl_lost_close(pl_decoder *d, int64_t t);
void pl_lost_open(pl_decoder *d, int reason, int64_t count);
void pl_late(pl_decoder *d, pl_sink *s, int64_t t, int c);
void pl_leap(pl_decoder *d, pl_sink *s, int64_t t, int c);
/* Time of a record that carries the whole time; 0 when it leaves int64. */
int pl_whole_time(const pl_decoder *d, uint64_t units, int64_t *t);
/* Adds count wraps of `wrap` units to the base; sets d->error when time leaves int64. */
void pl_wrap(pl_decoder *d, uint64_t count, int64_t wrap);
int64_t pl_scale_wide(const pl_decoder *d, int64_t tag, int64_t dtime);
pl_run pl_run_of(int format);
pl_kernel pl_kernel_of(const pl_decoder *d, int level);

size_t pl_run_tdc1(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s);
size_t pl_run_a1(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s);
size_t pl_run_t2(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s);
size_t pl_run_t2_ph300(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s);
size_t pl_run_t3(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s);
size_t pl_run_t3_ph300(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s);
size_t pl_run_qutag(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s);
size_t pl_run_qutag_packed(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s);
size_t pl_run_swabian16(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s);
size_t pl_run_s15_fast(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s);
size_t pl_run_flat64(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s);
size_t pl_run_packed32(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s);
size_t pl_run_nox(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s);
size_t pl_run_fpga_link(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s);
size_t pl_run_timetagger4(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s);

static inline uint16_t pl_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static inline uint32_t pl_u32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t pl_u64(const uint8_t *p) {
  return pl_u32(p) | (uint64_t)pl_u32(p + 4) << 32;
}

static inline int pl_room(const pl_decoder *d, const pl_sink *s) {
  return s->n + PL_ROOM <= s->capacity && !d->error;
}

/* Time of a record whose tag counts from the last wrap. */
static inline int64_t pl_scale(const pl_decoder *d, int64_t tag, int64_t dtime) {
  if (!d->narrow) return pl_scale_wide(d, tag, dtime);
  int64_t sum = tag * d->num + dtime * d->dnum + d->rest;
  return d->base + (d->den == 1 ? sum : sum / d->den);
}

static inline void pl_accept(pl_decoder *d, pl_sink *s, int64_t t, int c) {
  if (d->open && !d->bracket) pl_lost_close(d, t);
  if (d->bad) d->bad--;
  d->last = t;
  if (c < 0) return;
  s->time[s->n] = t;
  s->channel[s->n++] = (uint8_t)c;
}

/* Time has come to t; with c >= 0 by an event on that channel, else by a record without one. */
static inline void pl_emit(pl_decoder *d, pl_sink *s, int64_t t, int c) {
  if (t < d->last)
    pl_late(d, s, t, c);
  else if ((uint64_t)t - (uint64_t)d->last > (uint64_t)d->leap)
    pl_leap(d, s, t, c);
  else
    pl_accept(d, s, t, c);
}

/* qutools compressed: how many units a word may come late, which is far less than the period. */
#define PL_PACKED_PERIOD ((int64_t)1 << 37)
static inline int64_t pl_packed_late(const pl_decoder *d) {
  pl_i128 units = (pl_i128)d->window * d->den / d->num;
  return units < PL_PACKED_PERIOD / 16 ? (int64_t)units : PL_PACKED_PERIOD / 16;
}

static inline void pl_bad(pl_decoder *d) {
  d->damaged++;
  pl_lost_open(d, PL_LOST_DAMAGED, 1);
}

/* One event per set bit of a detector pattern: bit b is channel b + 1. */
static inline void pl_emit_pattern(pl_decoder *d, pl_sink *s, int64_t t, unsigned pattern) {
  for (unsigned b = 0; b < PL_BITS; b++)
    if (pattern >> b & 1) pl_emit(d, s, t, (int)b + 1);
}
#endif
