/* PicoQuant T2 and T3 records. Inputs keep their own numbers (0-based); the sync event of T2 is
 * channel 64, a marker record with mask m is channel 100 + m. */
#include "decoder.h"

enum { SYNC = 64, MARKER = 100, OVERFLOW = 63, MARKER_MAX = 15, PH_SPECIAL = 15 };
static const int64_t T2_PERIOD = 33554432, T2_PERIOD_HH1 = 33552000, T2_PERIOD_PH = 210698240;
static const int64_t T3_PERIOD = 1024, T3_PERIOD_PH = 65536;

static void wrap(pl_decoder *d, pl_sink *s, uint64_t count, int64_t period) {
  pl_wrap(d, count, period);
  if (!d->error) pl_emit(d, s, pl_scale(d, 0, 0), -1);
}

/* Fields of a record by name. T2 and T3: special, channel (of a special record: its kind), times;
 * the PicoHarp 300 has no bit for special records but a channel that says so. */
static inline int special(uint32_t r) { return (int)(r >> 31); }
static inline int channel(uint32_t r) { return (int)(r >> 25 & 63); }
static inline uint32_t t2_tag(uint32_t r) { return r & 0x1ffffff; }
static inline uint32_t t3_sync(uint32_t r) { return r & 1023; }
static inline uint32_t t3_dtime(uint32_t r) { return r >> 10 & 0x7fff; }
static inline int ph_channel(uint32_t r) { return (int)(r >> 28); }
static inline uint32_t ph_t2_tag(uint32_t r) { return r & 0xfffffff; }
static inline uint32_t ph_t2_marker(uint32_t r) { return r & 15; } /* 0: overflow */
static inline uint32_t ph_t3_sync(uint32_t r) { return r & 0xffff; }
static inline uint32_t ph_t3_dtime(uint32_t r) { return r >> 16 & 0xfff; }
static inline uint32_t ph_t3_marker(uint32_t r) { return ph_t3_dtime(r); } /* 0: overflow */

size_t pl_run_t2(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s) {
  const int v1 = d->format == PL_FORMAT_T2_HH1;
  size_t i = 0;
  for (; i < n && pl_room(d, s); i++) {
    const uint32_t r = pl_u32(p + 4 * i), tag = t2_tag(r);
    const int kind = channel(r);
    if (!special(r))
      pl_emit(d, s, pl_scale(d, tag, 0), kind);
    else if (kind == OVERFLOW)
      wrap(d, s, v1 || tag == 0 ? 1 : tag, v1 ? T2_PERIOD_HH1 : T2_PERIOD);
    else if (kind <= MARKER_MAX)
      pl_emit(d, s, pl_scale(d, tag, 0), kind ? MARKER + kind : SYNC);
    else
      pl_bad(d);
  }
  return i;
}

size_t pl_run_t2_ph300(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s) {
  size_t i = 0;
  for (; i < n && pl_room(d, s); i++) {
    const uint32_t r = pl_u32(p + 4 * i), marker = ph_t2_marker(r);
    if (ph_channel(r) != PH_SPECIAL)
      pl_emit(d, s, pl_scale(d, ph_t2_tag(r), 0), ph_channel(r));
    else if (marker == 0)
      wrap(d, s, 1, T2_PERIOD_PH);
    else /* the marker takes the tag's lowest four bits */
      pl_emit(d, s, pl_scale(d, ph_t2_tag(r) - marker, 0), MARKER + (int)marker);
  }
  return i;
}

size_t pl_run_t3(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s) {
  const int v1 = d->format == PL_FORMAT_T3_HH1;
  size_t i = 0;
  for (; i < n && pl_room(d, s); i++) {
    const uint32_t r = pl_u32(p + 4 * i), sync = t3_sync(r);
    const int kind = channel(r);
    if (!special(r))
      pl_emit(d, s, pl_scale(d, sync, t3_dtime(r)), kind);
    else if (kind == OVERFLOW)
      wrap(d, s, v1 || sync == 0 ? 1 : sync, T3_PERIOD);
    else if (kind >= 1 && kind <= MARKER_MAX)
      pl_emit(d, s, pl_scale(d, sync, 0), MARKER + kind);
    else
      pl_bad(d);
  }
  return i;
}

size_t pl_run_t3_ph300(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s) {
  size_t i = 0;
  for (; i < n && pl_room(d, s); i++) {
    const uint32_t r = pl_u32(p + 4 * i), sync = ph_t3_sync(r), marker = ph_t3_marker(r);
    if (ph_channel(r) != PH_SPECIAL)
      pl_emit(d, s, pl_scale(d, sync, ph_t3_dtime(r)), ph_channel(r));
    else if (marker == 0)
      wrap(d, s, 1, T3_PERIOD_PH);
    else if (marker <= MARKER_MAX)
      pl_emit(d, s, pl_scale(d, sync, 0), MARKER + (int)marker);
    else
      pl_bad(d);
  }
  return i;
}
