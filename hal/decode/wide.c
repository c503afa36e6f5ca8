/* qutools quTAG / quTAU files and the Swabian 16-byte tag. */
#include "decoder.h"

/* Fields of a record by name. */
static inline int64_t qutag_time(const uint8_t *r) { return (int64_t)pl_u64(r); }
static inline uint16_t qutag_channel(const uint8_t *r) { return pl_u16(r + 8); }
static inline uint64_t packed(const uint8_t *r) { return pl_u32(r) | (uint64_t)r[4] << 32; }
static inline int64_t packed_time(uint64_t r) { return (int64_t)r & (PL_PACKED_PERIOD - 1); }
static inline int packed_channel(uint64_t r) { return (int)(r >> 37); }
static inline int swabian_type(const uint8_t *r) { return r[0]; }
static inline int64_t swabian_missed(const uint8_t *r) { return pl_u16(r + 2); }
static inline int32_t swabian_channel(const uint8_t *r) { return (int32_t)pl_u32(r + 4); }
static inline int64_t swabian_time(const uint8_t *r) { return (int64_t)pl_u64(r + 8); }

size_t pl_run_qutag(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s) {
  size_t i = 0;
  for (; i < n && pl_room(d, s); i++) {
    const uint8_t *r = p + 10 * i;
    int64_t units = qutag_time(r), t = units;
    d->serial++;
    int bad = qutag_channel(r) > UINT8_MAX || units < 0;
    if (d->num != 1 || d->den != 1) {
      pl_i128 wide = ((pl_i128)units * d->num + d->den / 2) / d->den;
      bad |= wide > INT64_MAX;
      t = (int64_t)wide;
    }
    if (bad)
      pl_bad(d);
    else
      pl_emit(d, s, t, qutag_channel(r));
  }
  return i;
}

/* 37 bits wrap. A short step back is a word that comes late, and so is a step to the end of the
 * range just after a wrap; any other step back is a wrap. */
size_t pl_run_qutag_packed(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s) {
  const int64_t late = pl_packed_late(d);
  size_t i = 0;
  for (; i < n && pl_room(d, s); i++) {
    const uint64_t r = packed(p + 5 * i);
    const int64_t tag = packed_time(r), before = (int64_t)d->previous;
    if (d->units > 0 && tag - before >= PL_PACKED_PERIOD - late) {
      pl_i128 units = (pl_i128)d->units + tag - PL_PACKED_PERIOD;
      pl_emit(d, s, (int64_t)((units * d->num + d->den / 2) / d->den), packed_channel(r));
      continue;
    }
    if (tag + late < before) pl_wrap(d, 1, PL_PACKED_PERIOD);
    if (d->error) break;
    if (tag > before || tag + late < before) d->previous = (uint64_t)tag;
    pl_emit(d, s, pl_scale(d, tag, 0), packed_channel(r));
  }
  return i;
}

enum { TAG = 0, ERROR = 1, OVERFLOW_BEGIN = 2, OVERFLOW_END = 3, MISSED = 4 };
enum { FALLING = 128, CHANNEL_MAX = 127 };

/* Begin .. End brackets a loss and its Missed tags carry the counts; an Error tag (clock source
 * changed) or a Missed tag on its own makes everything since the last good time doubtful. */
static void swabian_special(pl_decoder *d, pl_sink *s, const uint8_t *r, int64_t t) {
  switch (swabian_type(r)) {
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
    pl_lost_open(d, PL_LOST_INSTRUMENT, swabian_missed(r));
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
    const int32_t channel = swabian_channel(r);
    const int64_t t = swabian_time(r);
    d->serial++;
    if (swabian_type(r) != TAG)
      swabian_special(d, s, r, t);
    else if (channel == 0 || channel > CHANNEL_MAX || channel < -CHANNEL_MAX)
      pl_bad(d);
    else
      pl_emit(d, s, t, channel > 0 ? channel : FALLING - channel);
  }
  return i;
}

static inline void store_u64(uint8_t *out, uint64_t v) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  v = __builtin_bswap64(v);
#endif
  memcpy(out, &v, sizeof v);
}

void pl_swabian16_write(size_t n, const int64_t *time_ps, const int32_t *channel,
                        const uint8_t *type, const uint16_t *missed, int64_t zero_ps,
                        uint8_t *restrict out) {
  for (size_t i = 0; i < n; i++) {
    const uint32_t head = type[i] | (uint32_t)missed[i] << 16;
    store_u64(out + 16 * i, head | (uint64_t)(uint32_t)channel[i] << 32);
    store_u64(out + 16 * i + 8, (uint64_t)time_ps[i] - (uint64_t)zero_ps);
  }
}
