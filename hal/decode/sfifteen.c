/* S-Fifteen TDC1, a1 (binary and text) and fast words: a time, a dummy bit that only carries time, a
 * detector pattern. */
#include "decoder.h"

enum { DUMMY = 0x10, PATTERN = 0x0f, TDC1_SHIFT = 5, A1_SHIFT = 10, FAST_SHIFT = 6 };
static inline uint32_t tdc1_tag(uint32_t w) { return w >> TDC1_SHIFT; }
static inline int64_t a1_tag(uint64_t w) { return (int64_t)(w >> A1_SHIFT); }
static const int64_t TDC1_PERIOD = (int64_t)1 << 27, FAST_PERIOD = (int64_t)1 << 26;
static const int64_t A1_PERIOD = (int64_t)1 << 54, A1_EDGE = (int64_t)1 << 50;

static void word(pl_decoder *d, pl_sink *s, int64_t t, unsigned low) {
  if (low & DUMMY) {
    d->dummies++;
    pl_emit(d, s, t, -1);
  } else if (low & PATTERN) {
    pl_emit_pattern(d, s, t, low & PATTERN);
  } else {
    pl_bad(d); /* neither a detector nor a dummy */
  }
}

size_t pl_run_tdc1(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s) {
  size_t i = 0;
  for (; i < n && pl_room(d, s); i++) {
    uint32_t w = pl_u32(p + 4 * i), tag = tdc1_tag(w);
    if (tag < d->previous) pl_wrap(d, 1, TDC1_PERIOD);
    if (d->error) break;
    d->previous = tag;
    word(d, s, pl_scale(d, tag, 0), w);
  }
  return i;
}

/* The fast words of a TDC2: 26 bits of time; the upper half of the range is left only by a wrap. */
size_t pl_run_s15_fast(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s) {
  size_t i = 0;
  for (; i < n && pl_room(d, s); i++) {
    const uint32_t w = pl_u32(p + 4 * i);
    if (d->previous >> 31 && !(w >> 31)) pl_wrap(d, 1, FAST_PERIOD);
    if (d->error) break;
    d->previous = w;
    word(d, s, pl_scale(d, w >> FAST_SHIFT, 0), w);
  }
  return i;
}

/* Hexadecimal digits and the end of their line; 0 when it is no such line. */
static int hex_line(const uint8_t *p, int digits, uint64_t *value) {
  uint64_t v = 0;
  for (int i = 0; i < digits; i++) {
    unsigned c = p[i], letter = (c | 0x20) - 'a';
    if (c - '0' > 9 && letter > 5) return 0;
    v = v << 4 | (letter <= 5 ? letter + 10 : c - '0');
  }
  *value = v;
  return p[digits] == '\n';
}

/* One word of an a format; UINT64_MAX, which is none, for text that is no word. */
static inline uint64_t a_word(int format, const uint8_t *p) {
  uint64_t w, high;
  switch (format) {
  case PL_FORMAT_A1: return pl_u64(p);
  case PL_FORMAT_A1_LEGACY: w = pl_u64(p); return w >> 32 | w << 32;
  case PL_FORMAT_A2: return hex_line(p, 16, &w) ? w : UINT64_MAX;
  default: return hex_line(p, 8, &w) && hex_line(p + 9, 8, &high) ? high << 32 | w : UINT64_MAX;
  }
}

/* 54 bits wrap after 19.5 h. Only a step from the last sixteenth to the first is taken for a wrap,
 * and the opposite step for a late word from before it: any other leap back is damage. A word that
 * is not believed (all bits set, too early, a leap that nothing confirms) moves neither `previous`
 * nor the count of wraps. */
size_t pl_run_a1(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s) {
  size_t i = 0;
  const size_t record = d->record;
  for (; i < n && pl_room(d, s); i++) {
    uint64_t w = a_word(d->format, p + record * i);
    d->serial++;
    if (w == UINT64_MAX || !(w & (DUMMY | PATTERN))) {
      pl_bad(d);
      continue;
    }
    int64_t tag = a1_tag(w), before = (int64_t)d->previous;
    int64_t units = d->units, base = d->base, rest = d->rest, late = 0;
    if (tag < A1_EDGE && before > A1_PERIOD - A1_EDGE) {
      pl_wrap(d, 1, A1_PERIOD);
      if (d->error) break;
    } else if (d->units > 0 && before < A1_EDGE && tag > A1_PERIOD - A1_EDGE) {
      late = A1_PERIOD / 32 * 125;
    }
    int64_t t = pl_scale(d, tag, 0) - late;
    int early = d->last != PL_NO_TIME && t < d->last - d->window;
    word(d, s, t, (unsigned)w);
    if (d->suspect)
      d->units = units, d->base = base, d->rest = rest;
    else if (!late && !early)
      d->previous = (uint64_t)tag;
  }
  return i;
}
