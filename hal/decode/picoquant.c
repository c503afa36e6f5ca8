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

size_t pl_run_t2(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s) {
  const int v1 = d->format == PL_FORMAT_T2_HH1;
  size_t i = 0;
  for (; i < n && pl_room(d, s); i++) {
    uint32_t r = pl_u32(p + 4 * i), tag = r & 0x1ffffff, field = r >> 25 & 63;
    if (!(r >> 31))
      pl_emit(d, s, pl_scale(d, tag, 0), (int)field);
    else if (field == OVERFLOW)
      wrap(d, s, v1 || tag == 0 ? 1 : tag, v1 ? T2_PERIOD_HH1 : T2_PERIOD);
    else if (field <= MARKER_MAX)
      pl_emit(d, s, pl_scale(d, tag, 0), field ? MARKER + (int)field : SYNC);
    else
      pl_bad(d);
  }
  return i;
}

size_t pl_run_t2_ph300(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s) {
  size_t i = 0;
  for (; i < n && pl_room(d, s); i++) {
    uint32_t r = pl_u32(p + 4 * i), tag = r & 0xfffffff, field = r >> 28, mask = r & 15;
    if (field != PH_SPECIAL)
      pl_emit(d, s, pl_scale(d, tag, 0), (int)field);
    else if (mask == 0)
      wrap(d, s, 1, T2_PERIOD_PH);
    else
      pl_emit(d, s, pl_scale(d, tag & ~15u, 0), MARKER + (int)mask);
  }
  return i;
}

size_t pl_run_t3(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s) {
  const int v1 = d->format == PL_FORMAT_T3_HH1;
  size_t i = 0;
  for (; i < n && pl_room(d, s); i++) {
    uint32_t r = pl_u32(p + 4 * i), sync = r & 1023, dtime = r >> 10 & 0x7fff, field = r >> 25 & 63;
    if (!(r >> 31))
      pl_emit(d, s, pl_scale(d, sync, dtime), (int)field);
    else if (field == OVERFLOW)
      wrap(d, s, v1 || sync == 0 ? 1 : sync, T3_PERIOD);
    else if (field >= 1 && field <= MARKER_MAX)
      pl_emit(d, s, pl_scale(d, sync, 0), MARKER + (int)field);
    else
      pl_bad(d);
  }
  return i;
}

size_t pl_run_t3_ph300(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s) {
  size_t i = 0;
  for (; i < n && pl_room(d, s); i++) {
    uint32_t r = pl_u32(p + 4 * i), sync = r & 0xffff, dtime = r >> 16 & 0xfff, field = r >> 28;
    if (field != PH_SPECIAL)
      pl_emit(d, s, pl_scale(d, sync, dtime), (int)field);
    else if (dtime == 0)
      wrap(d, s, 1, T3_PERIOD_PH);
    else if (dtime <= MARKER_MAX)
      pl_emit(d, s, pl_scale(d, sync, 0), MARKER + (int)dtime);
    else
      pl_bad(d);
  }
  return i;
}
