/* qutools quTAG / quTAU files and the Swabian 16-byte tag. */
#include "decoder.h"

static const int64_t PACKED_PERIOD = (int64_t)1 << 37;

size_t pl_run_qutag(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s) {
  size_t i = 0;
  for (; i < n && pl_room(d, s); i++) {
    int64_t units = (int64_t)pl_u64(p + 10 * i), t = units;
    uint16_t channel = pl_u16(p + 10 * i + 8);
    d->serial++;
    int bad = channel > UINT8_MAX || units < 0;
    if (d->num != 1 || d->den != 1) {
      pl_i128 wide = ((pl_i128)units * d->num + d->den / 2) / d->den;
      bad |= wide > INT64_MAX;
      t = (int64_t)wide;
    }
    if (bad)
      pl_bad(d);
    else
      pl_emit(d, s, t, channel);
  }
  return i;
}

size_t pl_run_qutag_packed(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s) {
  size_t i = 0;
  for (; i < n && pl_room(d, s); i++) {
    uint64_t r = pl_u32(p + 5 * i) | (uint64_t)p[5 * i + 4] << 32;
    uint64_t tag = r & ((uint64_t)PACKED_PERIOD - 1);
    if (tag < d->previous) pl_wrap(d, 1, PACKED_PERIOD);
    if (d->error) break;
    d->previous = tag;
    pl_emit(d, s, pl_scale(d, (int64_t)tag, 0), (int)(r >> 37));
  }
  return i;
}

enum { TAG = 0, ERROR = 1, OVERFLOW_BEGIN = 2, OVERFLOW_END = 3, MISSED = 4 };
enum { FALLING = 128, CHANNEL_MAX = 127 };

/* Begin .. End brackets a loss and its Missed tags carry the counts; an Error tag (clock source
 * changed) or a Missed tag on its own makes everything since the last good time doubtful. */
static void swabian_special(pl_decoder *d, pl_sink *s, const uint8_t *r, int64_t t) {
  int64_t missed = pl_u16(r + 2);
  switch (r[0]) {
  case OVERFLOW_BEGIN:
    pl_emit(d, s, t, -1);
    pl_lost_open(d, PL_LOST_INSTRUMENT, 0);
    d->bracket = 1;
    return;
  case OVERFLOW_END:
    if (!d->open) pl_lost_open(d, PL_LOST_INSTRUMENT, -1);
    d->bracket = 0;
    pl_emit(d, s, t, -1);
    return;
  case MISSED:
    pl_lost_open(d, PL_LOST_INSTRUMENT, missed);
    pl_emit(d, s, t, -1);
    return;
  case ERROR:
    pl_lost_open(d, PL_LOST_INSTRUMENT, -1);
    pl_emit(d, s, t, -1);
    return;
  default: pl_bad(d);
  }
}

size_t pl_run_swabian16(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s) {
  size_t i = 0;
  for (; i < n && pl_room(d, s); i++) {
    const uint8_t *r = p + 16 * i;
    int32_t channel = (int32_t)pl_u32(r + 4);
    int64_t t = (int64_t)pl_u64(r + 8);
    d->serial++;
    if (r[0] != TAG)
      swabian_special(d, s, r, t);
    else if (channel == 0 || channel > CHANNEL_MAX || channel < -CHANNEL_MAX)
      pl_bad(d);
    else
      pl_emit(d, s, t, channel > 0 ? channel : FALLING - channel);
  }
  return i;
}
