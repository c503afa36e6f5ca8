/* Announcements of event times: gaps in steps of a grid, less the shortest gap that the quiet rule
 * leaves, in the Rice code (Rice and Plaunt, IEEE Trans. Commun. 19, 889, 1971). Gaps of a Poisson
 * stream are geometric, for which it is within about 0.03 bit an event of the optimum when the
 * parameter is right: 1 + floor(log2(0.4812 mean)), from the golden ratio (Kiely, IPN Progress
 * Report 42-159, 2004). Most significant bit first. */
#include "core.h"

#include <string.h>

#include "cpu.h"

#define INLINE static inline __attribute__((always_inline))

/* ESCAPE ones stand for 64 plain bits. */
enum { ESCAPE = 24, MAX_RICE = 32, HEAD = PL_ANNOUNCE_HEAD_BYTES };
static const int64_t FOREVER = INT64_MAX / 8;

/* The slot in steps of the grid. */
typedef struct {
  int64_t first, last; /* steps that a time may fall on */
  int64_t shortest;    /* gap */
  int bits;
} grid;

static int make_grid(const pl_slot *slot, grid *g) {
  if (slot->grid_bits < 0 || slot->grid_bits > PL_ANNOUNCE_MAX_GRID_BITS) return PL_E_ARGUMENT;
  if (slot->start_ps < -FOREVER || slot->end_ps > FOREVER || slot->end_ps <= slot->start_ps)
    return PL_E_ARGUMENT;
  if (slot->quiet_ps < 0 || slot->quiet_ps > FOREVER) return PL_E_ARGUMENT;
  g->bits = (int)slot->grid_bits;
  g->first = slot->start_ps >> g->bits;
  g->last = (slot->end_ps - 1) >> g->bits;
  g->shortest = slot->quiet_ps >> g->bits;
  return PL_OK;
}

static int rice_of(const grid *g, uint32_t n) {
  if (n == 0) return 0;
  const int64_t bound = (int64_t)(n - 1) * g->shortest, span = g->last - g->first + 1;
  const uint64_t mean = (uint64_t)(span > bound ? span - bound : 0) / n;
  const uint64_t x = (uint64_t)((double)mean * 0.4812);
  const int rice = x ? 64 - __builtin_clzll(x) : 0;
  return rice < MAX_RICE ? rice : MAX_RICE;
}

typedef struct {
  uint8_t *next;
  uint64_t held; /* the low `n` < 32 bits are not written yet */
  int n;
} writer;

static inline void put(writer *w, uint64_t value, int bits) { /* bits <= 32 */
  w->held = w->held << bits | value;
  w->n += bits;
  if (w->n >= 32) {
    w->n -= 32;
    const uint32_t word = __builtin_bswap32((uint32_t)(w->held >> w->n));
    memcpy(w->next, &word, sizeof word);
    w->next += sizeof word;
  }
}

static inline void put_gap(writer *w, uint64_t gap, int rice) {
  const uint64_t quotient = gap >> rice;
  const uint64_t rest = gap & (((uint64_t)1 << rice) - 1);
  if (quotient < ESCAPE) {
    const uint64_t ones = (((uint64_t)1 << quotient) - 1) << 1;
    if (__builtin_expect((int)quotient + 1 + rice <= 32, 1)) {
      put(w, ones << rice | rest, (int)quotient + 1 + rice);
      return;
    }
    put(w, ones, (int)quotient + 1);
    put(w, rest, rice);
    return;
  }
  put(w, ((uint64_t)1 << ESCAPE) - 1, ESCAPE);
  put(w, gap >> 32, 32);
  put(w, (uint32_t)gap, 32);
}

int64_t pl_announce(const int64_t *time_ps, size_t n, const pl_slot *slot, uint8_t *out,
                    size_t capacity) {
  grid g;
  int status = make_grid(slot, &g);
  if (status != PL_OK || n > UINT32_MAX) return PL_E_ARGUMENT;
  if (n && (time_ps[0] < slot->start_ps || time_ps[n - 1] >= slot->end_ps)) return PL_E_ARGUMENT;
  if (capacity < HEAD) return PL_E_CAPACITY;
  const uint32_t head = __builtin_bswap32((uint32_t)n);
  memcpy(out, &head, HEAD);
  const int rice = rice_of(&g, (uint32_t)n);
  writer w = {.next = out + HEAD};
  const uint8_t *end = out + capacity;
  int64_t before = g.first;
  for (size_t k = 0; k < n; k++) {
    const int64_t step = time_ps[k] >> g.bits, gap = step - before;
    if (gap < 0 || (k && time_ps[k] - time_ps[k - 1] < slot->quiet_ps)) return PL_E_ARGUMENT;
    if (end - w.next < PL_ANNOUNCE_MAX_EVENT_BYTES) return PL_E_CAPACITY;
    put_gap(&w, (uint64_t)gap, rice);
    before = step + g.shortest;
  }
  if (w.n > 0 && end - w.next < 4) return PL_E_CAPACITY;
  for (; w.n > 0; w.n -= 8)
    *w.next++ = (uint8_t)(w.n >= 8 ? w.held >> (w.n - 8) : w.held << (8 - w.n));
  return w.next - out;
}

/* The bits not yet read, from the top of `held`; zeros follow the end, which `left` detects. */
typedef struct {
  const uint8_t *next, *end;
  uint64_t held;
  int n;        /* of them are real, or zeros beyond the end */
  int64_t left; /* bits in all; negative: beyond the end */
} reader;

static inline void refill(reader *r) {
  if (r->end - r->next >= 8) {
    uint64_t word;
    memcpy(&word, r->next, sizeof word);
    r->held |= __builtin_bswap64(word) >> r->n;
    r->next += (63 - r->n) >> 3;
    r->n |= 56;
    return;
  }
  for (; r->n <= 56; r->n += 8)
    if (r->next < r->end) r->held |= (uint64_t)*r->next++ << (56 - r->n);
}

static inline void drop(reader *r, int bits) { /* bits < 64 */
  r->held <<= bits;
  r->n -= bits;
  r->left -= bits;
}

static inline uint64_t get(reader *r, int bits) { /* bits <= 32 */
  const uint64_t value = bits ? r->held >> (64 - bits) : 0;
  drop(r, bits);
  return value;
}

static inline int64_t get_gap(reader *r, int rice) {
  refill(r);
  const int ones = r->held == UINT64_MAX ? 64 : __builtin_clzll(~r->held);
  if (__builtin_expect(ones < ESCAPE, 1)) { /* a code of at most 56 bits: all are there */
    const uint64_t rest = r->held << (ones + 1);
    drop(r, ones + 1 + rice);
    return (int64_t)ones << rice | (int64_t)(rest >> 1 >> (63 - rice));
  }
  drop(r, ESCAPE);
  refill(r);
  const uint64_t high = get(r, 32);
  refill(r);
  const int64_t gap = (int64_t)(high << 32 | get(r, 32));
  /* one code per gap: this gap has a short code, or is impossible */
  return high >> 31 || gap >> rice < ESCAPE ? PL_E_DATA : gap;
}

/* The announced events one after the other. */
typedef struct {
  reader bits;
  grid g;
  uint32_t n, done;
  int rice;
  int64_t step;
} announced;

static int open_announced(announced *an, const uint8_t *data, size_t bytes, const pl_slot *slot) {
  int status = make_grid(slot, &an->g);
  if (status != PL_OK) return status;
  if (bytes < HEAD || bytes > INT64_MAX / 8) return PL_E_DATA;
  uint32_t head;
  memcpy(&head, data, HEAD);
  an->n = __builtin_bswap32(head);
  an->done = 0;
  an->rice = rice_of(&an->g, an->n);
  an->step = an->g.first;
  const int64_t left = 8 * (int64_t)(bytes - HEAD);
  an->bits = (reader){.next = data + HEAD, .end = data + bytes, .left = left};
  return (int64_t)an->n * (1 + an->rice) > an->bits.left ? PL_E_DATA : PL_OK;
}

/* The next one's time, or PL_E_DATA in `status`. */
static inline int64_t next_time(announced *an, int *status) {
  const int64_t gap = get_gap(&an->bits, an->rice);
  const int64_t from = an->done++ ? an->step + an->g.shortest : an->step;
  if (gap < 0 || gap > an->g.last - from || an->bits.left < 0) {
    *status = PL_E_DATA;
    return 0;
  }
  an->step = from + gap;
  return an->step * ((int64_t)1 << an->g.bits) + ((int64_t)1 << an->g.bits >> 1);
}

static int at_end(const announced *an) {
  const reader *r = &an->bits;
  return r->left >= 0 && r->left < 8 && (r->left == 0 || r->held >> (64 - r->left) == 0);
}

int64_t pl_announced_events(const uint8_t *data, size_t bytes, const pl_slot *slot) {
  announced an;
  int status = open_announced(&an, data, bytes, slot);
  return status != PL_OK ? status : (int64_t)an.n;
}

int64_t pl_announced_times(const uint8_t *data, size_t bytes, const pl_slot *slot,
                           int64_t *time_ps, size_t capacity) {
  announced an;
  int status = open_announced(&an, data, bytes, slot);
  if (status != PL_OK) return status;
  if (an.n > capacity) return PL_E_CAPACITY;
  for (uint32_t k = 0; k < an.n; k++) {
    time_ps[k] = next_time(&an, &status);
    if (status != PL_OK) return status;
  }
  return at_end(&an) ? (int64_t)an.n : PL_E_DATA;
}

/* ---- pairs ---- */

enum { PIECE = 4096 }; /* events: their times stay in the cache */

typedef struct {
  const int64_t *own;
  size_t n_own, at; /* `at`: no earlier one is near the next events */
  int64_t window, track;
  uint32_t *hist;
  int64_t hist_bits, to_count; /* announced events counted so far */
} around;

static size_t first_not_before(const around *a, int64_t t) {
  size_t low = a->at, high = a->n_own;
  while (low < high) {
    const size_t mid = low + (high - low) / 2;
    if (a->own[mid] < t)
      low = mid + 1;
    else
      high = mid;
  }
  return low;
}

static void count(const around *a, const int64_t *theirs, size_t n) {
  size_t at = a->at;
  for (size_t k = 0; k < n; k++) {
    while (at < a->n_own && a->own[at] < theirs[k] - a->track) at++;
    for (size_t i = at; i < a->n_own && a->own[i] <= theirs[k] + a->track; i++)
      a->hist[(theirs[k] - a->own[i] + a->track) >> a->hist_bits]++;
  }
}

/* Is every own event of a piece alone within twice the window? */
static int apart(const int64_t *own, size_t n, int64_t window) {
  int near = 0;
  for (size_t i = 1; i < n; i++) near |= own[i] - own[i - 1] <= 2 * window;
  return !near;
}

/* Pairs of a piece of announced events, in this station's clock; returns their number. */
static int64_t pair_piece(around *a, const int64_t *theirs, size_t n, int64_t *own_index,
                          int64_t *their_index, int64_t *residual, size_t capacity) {
  a->at = first_not_before(a, theirs[0] - a->track);
  const size_t counted = a->to_count < (int64_t)n ? (size_t)a->to_count : n;
  count(a, theirs, counted);
  a->to_count -= (int64_t)counted;
  const size_t low = first_not_before(a, theirs[0] - a->window);
  a->at = low;
  const size_t high = first_not_before(a, theirs[n - 1] + a->window + 1);
  if (!apart(a->own + low, high - low, a->window)) return PL_E_ARGUMENT;
  const int64_t pairs = pl_match(a->own + low, high - low, theirs, n, a->window, own_index,
                                 their_index, capacity);
  for (int64_t p = 0; p < pairs; p++) {
    own_index[p] += (int64_t)low;
    residual[p] = theirs[their_index[p]] - a->own[own_index[p]];
  }
  return pairs;
}

/* Times into one's own clock: less the offset and what the clocks run apart since the slot's start,
 * rounded to the nearest. */
INLINE void move_times(int64_t *time, size_t n, const pl_slot_clock *clock, int64_t start) {
  const double rate = clock->rate;
  const int64_t offset = clock->offset_ps;
  for (size_t k = 0; k < n; k++) {
    const double apart = rate * (double)(time[k] - start);
    time[k] -= offset + (int64_t)(apart + (apart < 0 ? -0.5 : 0.5));
  }
}

static void move_portable(int64_t *time, size_t n, const pl_slot_clock *clock, int64_t start) {
  move_times(time, n, clock, start);
}
#if defined(__x86_64__)
__attribute__((target("avx512f,avx512dq,avx512vl"))) static void move_avx512(
    int64_t *time, size_t n, const pl_slot_clock *clock, int64_t start) {
  move_times(time, n, clock, start);
}
#endif

static void move_to_own(int64_t *time, size_t n, const pl_slot_clock *clock, int64_t start) {
#if defined(__x86_64__)
  if (pl_simd() >= PL_SIMD_AVX512) {
    move_avx512(time, n, clock, start);
    return;
  }
#endif
  move_portable(time, n, clock, start);
}

static int limits_are_possible(const announced *an, const pl_slot_clock *clock, int64_t window,
                               int64_t track, int64_t hist_bits) {
  if (window < 0 || track < window || track > INT32_MAX || hist_bits < 0 || hist_bits > 31)
    return 0;
  if (!(clock->rate > -1e-3 && clock->rate < 1e-3)) return 0;
  if (clock->offset_ps > FOREVER || clock->offset_ps < -FOREVER) return 0;
  const int64_t gap = an->g.shortest * ((int64_t)1 << an->g.bits);
  return gap - gap / 1000 > 2 * window; /* else an event could have two candidates */
}

int64_t pl_announced_pairs(const uint8_t *data, size_t bytes, const pl_slot *slot,
                           const pl_slot_clock *clock, const int64_t *own_ps, size_t n_own,
                           int64_t window_ps, int64_t track_ps, int64_t *own_index,
                           int64_t *announced_index, int64_t *residual_ps, size_t capacity,
                           uint32_t *hist, int64_t hist_bits) {
  announced an;
  int status = open_announced(&an, data, bytes, slot);
  if (status != PL_OK) return status;
  if (!limits_are_possible(&an, clock, window_ps, track_ps, hist_bits)) return PL_E_ARGUMENT;
  if (an.n > capacity) return PL_E_CAPACITY;
  around a = {.own = own_ps, .n_own = n_own, .window = window_ps, .track = track_ps,
              .hist = hist, .hist_bits = hist_bits, .to_count = PL_ANNOUNCE_COUNTED};
  int64_t piece[PIECE], pairs = 0;
  while (an.done < an.n) {
    const uint32_t done = an.done;
    const size_t n = an.n - done < PIECE ? an.n - done : PIECE;
    for (size_t k = 0; k < n; k++) {
      piece[k] = next_time(&an, &status);
      if (status != PL_OK) return status;
    }
    move_to_own(piece, n, clock, slot->start_ps);
    const int64_t found = pair_piece(&a, piece, n, own_index + pairs, announced_index + pairs,
                                     residual_ps + pairs, capacity - (size_t)pairs);
    if (found < 0) return found;
    for (int64_t p = pairs; p < pairs + found; p++) announced_index[p] += done;
    pairs += found;
  }
  return at_end(&an) ? pairs : PL_E_DATA;
}
