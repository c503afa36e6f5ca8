/* Compact code of sorted event times: gaps in ticks of a grid, Rice-coded (Rice and Plaunt, IEEE
 * Trans. Commun. 19, 889 (1971)), each followed by its label. Gaps of a Poisson stream are
 * geometric, for which the Rice code is within about 0.03 bit per event of the optimum at the
 * right parameter. Most significant bit first. */
#include "core.h"

/* A quotient above ESCAPE ones is written as 64 plain bits: a gap costs at most ~96 bits. */
enum { ESCAPE = 24 };

typedef struct {
  uint8_t *out;
  size_t capacity, bytes;
  uint64_t held; /* the low `n` bits are not written yet */
  int n;
} writer;

static int put(writer *w, uint64_t value, int bits) { /* bits <= 32 */
  w->held = w->held << bits | value;
  for (w->n += bits; w->n >= 8; w->n -= 8) {
    if (w->bytes == w->capacity) return PL_E_CAPACITY;
    w->out[w->bytes++] = (uint8_t)(w->held >> (w->n - 8));
  }
  return PL_OK;
}

static int put_gap(writer *w, uint64_t gap, int rice) {
  uint64_t quotient = gap >> rice;
  if (quotient >= ESCAPE) {
    if (put(w, ((uint64_t)1 << ESCAPE) - 1, ESCAPE) != PL_OK) return PL_E_CAPACITY;
    if (put(w, gap >> 32, 32) != PL_OK) return PL_E_CAPACITY;
    return put(w, gap & 0xffffffffu, 32);
  }
  int status = put(w, (((uint64_t)1 << quotient) - 1) << 1, (int)quotient + 1);
  return status != PL_OK ? status : put(w, gap & (((uint64_t)1 << rice) - 1), rice);
}

int64_t pl_timecode_encode(const int64_t *tick, const uint8_t *label, size_t n, int label_bits,
                           int rice, uint8_t *out, size_t capacity) {
  writer w = {.out = out, .capacity = capacity};
  int64_t before = 0;
  if (rice < 0 || rice > 31 || label_bits < 1 || label_bits > 2) return PL_E_ARGUMENT;
  for (size_t k = 0; k < n; k++) {
    if (tick[k] < before || label[k] >> label_bits) return PL_E_ARGUMENT;
    int status = put_gap(&w, (uint64_t)(tick[k] - before), rice);
    if (status == PL_OK) status = put(&w, label[k], label_bits);
    if (status != PL_OK) return status;
    before = tick[k];
  }
  if (w.n > 0 && put(&w, 0, 8 - w.n) != PL_OK) return PL_E_CAPACITY;
  return (int64_t)w.bytes;
}

typedef struct {
  const uint8_t *data;
  size_t bytes, at;
  uint64_t held;
  int n;
} reader;

static int64_t get(reader *r, int bits) { /* bits <= 32 */
  for (; r->n < bits; r->n += 8) {
    if (r->at == r->bytes) return PL_E_DATA;
    r->held = r->held << 8 | r->data[r->at++];
  }
  r->n -= bits;
  return (int64_t)(r->held >> r->n & (((uint64_t)1 << bits) - 1));
}

static int64_t get_gap(reader *r, int rice) {
  int64_t quotient = 0, bit;
  while (quotient < ESCAPE && (bit = get(r, 1)) != 0) {
    if (bit < 0) return bit;
    quotient++;
  }
  if (quotient < ESCAPE) {
    int64_t low = get(r, rice);
    return low < 0 ? low : quotient << rice | low;
  }
  int64_t high = get(r, 32), low = get(r, 32);
  if (high < 0 || low < 0 || high >= (int64_t)1 << 31) return PL_E_DATA;
  int64_t gap = high << 32 | low;
  return gap >> rice < ESCAPE ? PL_E_DATA : gap; /* one code per gap: this gap has a short code */
}

int64_t pl_timecode_decode(const uint8_t *data, size_t bytes, size_t n, int label_bits, int rice,
                           int64_t last_tick, int64_t *tick, uint8_t *label) {
  reader r = {.data = data, .bytes = bytes};
  int64_t at = 0;
  if (rice < 0 || rice > 31 || label_bits < 1 || label_bits > 2) return PL_E_ARGUMENT;
  for (size_t k = 0; k < n; k++) {
    int64_t gap = get_gap(&r, rice), mark = get(&r, label_bits);
    if (gap < 0 || mark < 0 || gap > last_tick - at) return PL_E_DATA;
    tick[k] = at += gap;
    label[k] = (uint8_t)mark;
  }
  if (r.at != r.bytes || (r.held & (((uint64_t)1 << r.n) - 1)) != 0) return PL_E_DATA;
  return (int64_t)n;
}
