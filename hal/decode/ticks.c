/* TTM8000 I-mode words and the records of the Bristol NOX box. */
#include "decoder.h"

enum { FALLING = 128 };

/* Stop inputs 1..8; their falling edges are 128 + input. */
static inline int edge_channel(unsigned input, unsigned rising) {
  return (int)(rising ? input + 1 : FALLING + input + 1);
}

static inline void whole(pl_decoder *d, pl_sink *s, uint64_t units, int c) {
  int64_t t;
  if (pl_whole_time(d, units, &t))
    pl_emit(d, s, t, c);
  else
    pl_bad(d);
}

size_t pl_run_flat64(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s) {
  size_t i = 0;
  for (; i < n && pl_room(d, s); i++) {
    const uint64_t w = pl_u64(p + 8 * i);
    d->serial++;
    whole(d, s, w & (((uint64_t)1 << 60) - 1), edge_channel(w >> 61, w >> 60 & 1));
  }
  return i;
}

/* A high word holds bits 57..27 of the time of all events until the next one; by itself it moves
 * the horizon. */
size_t pl_run_packed32(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s) {
  size_t i = 0;
  for (; i < n && pl_room(d, s); i++) {
    const uint32_t w = pl_u32(p + 4 * i);
    d->serial++;
    if (w >> 31) {
      d->previous = (uint64_t)(w & 0x7fffffff) << 27;
      d->dummies++;
      whole(d, s, d->previous, -1);
    } else {
      whole(d, s, d->previous | (w & 0x7ffffff), edge_channel(w >> 28 & 7, w >> 27 & 1));
    }
  }
  return i;
}

enum { DETECTION = 0x24, CONFIGURATION = 0x25 };
static const int64_t NOX_PERIOD = (int64_t)1 << 48, NOX_EDGE = (int64_t)1 << 44;

static inline int64_t nox_time(const uint8_t *r) {
  uint64_t coarse = (uint64_t)r[1] << 28 | (uint64_t)r[2] << 20 | (uint64_t)r[3] << 12 |
                    (uint64_t)r[4] << 4 | r[5] >> 4;
  return (int64_t)(coarse << 12 | (uint64_t)(r[6] & 15) << 8 | r[7]);
}

/* 48 bits wrap after 528 s: from the last sixteenth to the first. The opposite step is a late record
 * from before the wrap. A refused record does not count as a step. */
static void nox_detection(pl_decoder *d, pl_sink *s, const uint8_t *r) {
  const int64_t tag = nox_time(r), before = (int64_t)d->previous;
  const int64_t units = d->units, base = d->base, rest = d->rest;
  int64_t t;
  if (tag < NOX_EDGE && before > NOX_PERIOD - NOX_EDGE) {
    pl_wrap(d, 1, NOX_PERIOD);
    if (d->error) return;
  }
  if (units > 0 && before < NOX_EDGE && tag > NOX_PERIOD - NOX_EDGE) {
    pl_i128 late = (pl_i128)units + tag - NOX_PERIOD;
    pl_emit(d, s, (int64_t)((late * d->num + d->den / 2) / d->den), (r[6] >> 4) - 1);
    return;
  }
  t = pl_scale(d, tag, 0);
  int early = d->last != PL_NO_TIME && t < d->last - d->window;
  pl_emit(d, s, t, (r[6] >> 4) - 1);
  if (d->suspect)
    d->units = units, d->base = base, d->rest = rest;
  else if (!early)
    d->previous = (uint64_t)tag;
}

size_t pl_run_nox(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s) {
  size_t i = 0;
  for (; i < n && pl_room(d, s); i++) {
    const uint8_t *r = p + 8 * i;
    d->serial++;
    if (r[0] == CONFIGURATION)
      d->dummies++;
    else if (r[0] == DETECTION && r[6] >> 4)
      nox_detection(d, s, r);
    else
      pl_bad(d);
  }
  return i;
}
