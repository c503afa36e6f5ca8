/* Formats of frames and packets: Swabian's FPGA link and cronologic's TimeTagger4. */
#include "decoder.h"

/* Words of a frame's header, after the word with the frame's length: two MAC addresses (0..2, half
 * of 3), EtherType 80 9B with "SI", "TT" with version and type, one unused, sequence, roll-over. */
enum { HEADER_WORDS = 8, ETHERTYPE = 3, MAGIC = 4, SEQUENCE = 6, ROLLOVER = 7 };
enum { FRAME_MAX = 1 << 14, FALLING = 128, INPUTS = 20, TIME_TAG = 1, COARSE_BITS = 12 };
enum { SKIPPED = 1, HUNTING = 2, COUNTED = 4 }; /* flags: frame is not ours, no frame, number known */
static const uint32_t ETHERTYPE_SI = 0x49539b80, TT_0_0 = 0x00005454;
static const int64_t PER_COARSE = 4000, LINK_PERIOD = (int64_t)4000 << 44;

static void link_length(pl_decoder *d, uint32_t w) {
  const uint32_t counted = d->flags & COUNTED;
  if (w >= 4 * HEADER_WORDS && w <= FRAME_MAX && w % 4 == 0) {
    d->left = w / 4;
    d->at = 0;
    d->flags = counted;
    return;
  }
  if (!(d->flags & HUNTING)) pl_bad(d); /* once: what follows is out of step until a frame comes */
  d->flags = counted | HUNTING;
}

static void link_header(pl_decoder *d, uint32_t w) {
  switch (d->at) {
  case ETHERTYPE:
    if (w != ETHERTYPE_SI) d->flags |= SKIPPED; /* somebody else's frame */
    return;
  case MAGIC:
    if (!(d->flags & SKIPPED) && w != TT_0_0) {
      pl_bad(d); /* a version that is not known */
      d->flags |= SKIPPED;
    }
    return;
  case SEQUENCE:
    if (d->flags & SKIPPED) return;
    if (d->flags & COUNTED && w != d->sequence + 1) pl_lost_open(d, PL_LOST_INSTRUMENT, -1);
    d->sequence = w;
    d->flags |= COUNTED;
    return;
  case ROLLOVER:
    if (d->flags & SKIPPED) return;
    if (w < d->previous && d->previous - w > (uint32_t)1 << 31)
      pl_wrap(d, 1, LINK_PERIOD); /* its 32 bits wrap after 6.5 h */
    d->previous = w;
    return;
  default: return;
  }
}

static void link_tag(pl_decoder *d, pl_sink *s, uint32_t w) {
  const unsigned index = w >> 24 & 63;
  if (w >> 30 != TIME_TAG) {
    d->dummies++;
  } else if (index >= 2 * INPUTS) {
    pl_bad(d);
  } else {
    const int64_t coarse = (int64_t)(d->previous << COARSE_BITS | (w & 0xfff));
    const int c = index < INPUTS ? (int)index + 1 : (int)(FALLING + index - INPUTS + 1);
    pl_emit(d, s, pl_scale(d, coarse * PER_COARSE + (w >> 12 & 0xfff), 0), c);
  }
}

size_t pl_run_fpga_link(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s) {
  size_t i = 0;
  for (; i < n && pl_room(d, s); i++) {
    const uint32_t w = pl_u32(p + 4 * i);
    d->serial++;
    if (!d->left) {
      link_length(d, w);
      continue;
    }
    if (d->at < HEADER_WORDS)
      link_header(d, w);
    else if (!(d->flags & SKIPPED))
      link_tag(d, s, w);
    d->at++;
    d->left--;
  }
  return i;
}

/* A packet: channel, card, type, flags, uint32 length; uint64 start; `length` words of two hits. */
enum { ODD_HITS = 1, SLOW_SYNC = 2, START_MISSED = 4, SHORTENED = 8, DMA_FULL = 16, HOST_FULL = 32 };
enum { LOSSES = START_MISSED | SHORTENED | DMA_FULL | HOST_FULL, FLAGS = 2 * HOST_FULL - 1 };
enum { START = 64, PACKET_MAX = 1 << 20, RISING = 1, TIME_OVERFLOW = 2, HIT_INPUTS = 4 };
enum { HIT_ROLLOVER = 1 << 24, AT_HEADER = 0, AT_START = 1, AT_HITS = 2 };

static void packet_start(pl_decoder *d, pl_sink *s, uint64_t start) {
  pl_i128 total = (pl_i128)start * d->num + d->den / 2, base = total / d->den;
  d->at = d->left ? AT_HITS : AT_HEADER;
  d->previous = 0; /* roll-overs of the hits, which begin anew */
  if (base > INT64_MAX - d->span_ps) {
    d->error = PL_E_DATA; /* no length can be believed any more */
    return;
  }
  d->base = (int64_t)base;
  d->rest = (int64_t)(total - base * d->den);
  pl_emit(d, s, d->base, START);
}

static void packet_hit(pl_decoder *d, pl_sink *s, uint32_t hit) {
  const uint32_t flags = hit >> 4 & 15, input = hit & 15;
  if (flags & TIME_OVERFLOW) {
    d->previous += HIT_ROLLOVER;
    d->dummies++;
  } else if (input >= HIT_INPUTS) {
    pl_bad(d);
  } else {
    pl_i128 sum = (pl_i128)(int64_t)(d->previous + (hit >> 8)) * d->dnum + d->rest;
    pl_i128 t = d->base + sum / d->den;
    if (t > INT64_MAX)
      pl_bad(d);
    else
      pl_emit(d, s, (int64_t)t, (int)(flags & RISING ? input : FALLING + input));
  }
}

size_t pl_run_timetagger4(pl_decoder *d, const uint8_t *p, size_t n, pl_sink *s) {
  size_t i = 0;
  for (; i < n && pl_room(d, s); i++) {
    const uint64_t w = pl_u64(p + 8 * i);
    d->serial++;
    if (d->at == AT_HEADER) {
      d->flags = (uint32_t)(w >> 24 & 0xff);
      d->left = (uint32_t)(w >> 32);
      if (d->left > PACKET_MAX || d->flags > FLAGS) {
        d->error = PL_E_DATA;
      } else if (d->flags & LOSSES) {
        pl_lost_open(d, PL_LOST_INSTRUMENT, -1);
      }
      d->at = AT_START;
    } else if (d->at == AT_START) {
      packet_start(d, s, w);
    } else {
      packet_hit(d, s, (uint32_t)w);
      if (--d->left == 0) d->at = AT_HEADER;
      if (d->left || !(d->flags & ODD_HITS)) packet_hit(d, s, (uint32_t)(w >> 32));
    }
  }
  return i;
}
