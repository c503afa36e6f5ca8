/* Two-fold coincidences: pairs of events of two lists.
 *
 * The walk is greedy in time order. One walk is a chain of dependent loads and compares; four of
 * them over separate stretches of time, interleaved, use the processor while each waits for memory.
 * match_avx512.c compares eight events with eight instead, for the same pairs. */
#include "match.h"

#include <string.h>

#include "cpu.h"

enum { WALKS = 4 };

/* A stretch of both lists; its pairs go to positions n_start..n-1. */
typedef struct {
  size_t i, i_end, j, j_end, n, n_start;
} stretch;

typedef struct {
  const int64_t *a, *b;
  size_t na, nb;
  int64_t shift, window; /* added to b; half width */
  int64_t *ai, *bi;      /* NULL: count only */
} walk;

static size_t fewer(size_t x, size_t y) { return x < y ? x : y; }

static size_t lower_bound(const int64_t *t, size_t low, size_t high, int64_t value) {
  while (low < high) {
    size_t mid = low + (high - low) / 2;
    if (t[mid] < value)
      low = mid + 1;
    else
      high = mid;
  }
  return low;
}

/* Ends a stretch about `length` events later, where no earlier event can pair with a later one. */
static void end_stretch(const walk *w, stretch *s, size_t length) {
  size_t i = s->i + length, j = s->j;
  if (i < w->na) j = lower_bound(w->b, j, w->nb, w->a[i] - w->shift);
  for (; i < w->na; i++) {
    while (j < w->nb && w->b[j] + w->shift < w->a[i]) j++;
    int64_t from = w->a[i] - w->window;
    if (w->a[i - 1] < from && (j == 0 || w->b[j - 1] + w->shift < from)) break;
  }
  s->i_end = fewer(i, w->na);
  s->j_end = i < w->na ? j : w->nb;
}

/* Number of steps that stay inside in any case: each moves i and j by at most one. */
static size_t safe_steps(const stretch *s) { return fewer(s->i_end - s->i, s->j_end - s->j); }

/* One step: a pair or not, then on in the list that lags (in both after a pair). */
#define STEP(s)                                         \
  do {                                                  \
    int64_t d = a[(s).i] - b[(s).j] - shift;            \
    size_t a_on = d <= window, b_on = d >= -window;     \
    if (store) {                                        \
      ai[(s).n] = (int64_t)(s).i;                       \
      bi[(s).n] = (int64_t)(s).j;                       \
    }                                                   \
    (s).n += a_on & b_on;                               \
    (s).i += a_on;                                      \
    (s).j += b_on;                                      \
  } while (0)

static inline void run(const walk *w, stretch *s, int store) {
  const int64_t *a = w->a, *b = w->b, shift = w->shift, window = w->window;
  int64_t *ai = w->ai, *bi = w->bi;
  stretch p = s[0], q = s[1], u = s[2], v = s[3];
  for (;;) {
    size_t steps =
        fewer(fewer(safe_steps(&p), safe_steps(&q)), fewer(safe_steps(&u), safe_steps(&v)));
    if (steps == 0) break;
    for (size_t k = 0; k < steps; k++) {
      STEP(p);
      STEP(q);
      STEP(u);
      STEP(v);
    }
  }
  s[0] = p, s[1] = q, s[2] = u, s[3] = v;
  for (int k = 0; k < WALKS; k++) {
    p = s[k];
    while (p.i < p.i_end && p.j < p.j_end) STEP(p);
    s[k] = p;
  }
}

static int64_t distance(int64_t x, int64_t y) { return x > y ? x - y : y - x; }

/* Pair k takes a nearer neighbour that no pair holds. */
static void settle_one(const walk *w, const stretch *s, size_t k) {
  const int64_t *a = w->a, *b = w->b;
  int64_t i = w->ai[k], j = w->bi[k], here = distance(a[i], b[j]);
  int64_t i_end = k + 1 < s->n ? w->ai[k + 1] : (int64_t)s->i_end;
  int64_t j_end = k + 1 < s->n ? w->bi[k + 1] : (int64_t)s->j_end;
  for (; j + 1 < j_end && distance(a[i], b[j + 1]) < here; j++) here = distance(a[i], b[j + 1]);
  for (; i + 1 < i_end && distance(a[i + 1], b[j]) < here; i++) here = distance(a[i + 1], b[j]);
  w->ai[k] = i;
  w->bi[k] = j;
}

/* There is almost never a nearer one, which two compares show. */
static void settle(const walk *w, const stretch *s) {
  const int64_t *a = w->a, *b = w->b;
  for (size_t k = s->n_start; k + 1 < s->n; k++) {
    int64_t i = w->ai[k], j = w->bi[k], here = distance(a[i], b[j]);
    if ((a[i + 1] - b[j] < here) | (b[j + 1] - a[i] < here)) settle_one(w, s, k);
  }
  if (s->n > s->n_start) settle_one(w, s, s->n - 1);
}

#if defined(__x86_64__)
#include <immintrin.h>

/* The same walk with four of b compared at once: every step but a few is on to the next of a. The
 * pairs of a round go to a buffer of the cache's size, where a step may write past the last. */
#define AVX2 __attribute__((target("avx2,popcnt")))
enum { LANES = 4 };

typedef struct {
  uint32_t i[WALKS][MATCH_LONGEST + 1], j[WALKS][MATCH_LONGEST + 1];
} found;

typedef struct {
  size_t i, j, n;
} place;

AVX2 static inline unsigned lanes(__m256i x) {
  return (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(x));
}

/* Needs four of b. Those before the window come first, then those inside. */
AVX2 static inline void step4(const walk *w, place *p, uint32_t *i, uint32_t *j) {
  const __m256i most = _mm256_set1_epi64x(w->window), least = _mm256_set1_epi64x(-w->window);
  __m256i x = _mm256_loadu_si256((const __m256i *)(w->b + p->j));
  x = _mm256_sub_epi64(x, _mm256_set1_epi64x(w->a[p->i]));
  unsigned before = lanes(_mm256_cmpgt_epi64(least, x));
  unsigned after = lanes(_mm256_cmpgt_epi64(x, most));
  size_t inside = (before | after) != 15;
  p->j += (size_t)__builtin_popcount(before);
  i[p->n] = (uint32_t)p->i;
  j[p->n] = (uint32_t)p->j;
  p->n += inside;
  p->j += inside;
  p->i += before != 15;
}

static size_t steps4(const walk *w, const stretch *s, const place *p) {
  return fewer(s->i_end - p->i, (w->nb - p->j) / LANES);
}

AVX2 static void run_avx2(const walk *w, stretch *s, found *f) {
  place p = {s[0].i, s[0].j, 0}, q = {s[1].i, s[1].j, 0};
  place u = {s[2].i, s[2].j, 0}, v = {s[3].i, s[3].j, 0};
  for (;;) {
    size_t steps = fewer(fewer(steps4(w, &s[0], &p), steps4(w, &s[1], &q)),
                         fewer(steps4(w, &s[2], &u), steps4(w, &s[3], &v)));
    if (steps == 0) break;
    for (size_t k = 0; k < steps; k++) {
      step4(w, &p, f->i[0], f->j[0]);
      step4(w, &q, f->i[1], f->j[1]);
      step4(w, &u, f->i[2], f->j[2]);
      step4(w, &v, f->i[3], f->j[3]);
    }
  }
  place all[WALKS] = {p, q, u, v};
  for (int k = 0; k < WALKS; k++) {
    while (steps4(w, &s[k], &all[k])) step4(w, &all[k], f->i[k], f->j[k]);
    s[k].i = all[k].i;
    s[k].j = all[k].j;
    s[k].n = all[k].n;
  }
}

/* The last few of b, one by one, and the pairs to their place. */
static size_t finish(const walk *w, stretch *s, uint32_t *i, uint32_t *j, size_t place) {
  for (; s->i < s->i_end && s->j < s->j_end;) {
    int64_t d = w->a[s->i] - w->b[s->j];
    size_t a_on = d <= w->window, b_on = d >= -w->window;
    i[s->n] = (uint32_t)s->i;
    j[s->n] = (uint32_t)s->j;
    s->n += a_on & b_on;
    s->i += a_on;
    s->j += b_on;
  }
  for (size_t k = 0; k < s->n; k++) {
    w->ai[place + k] = i[k];
    w->bi[place + k] = j[k];
  }
  s->n_start = place;
  s->n += place;
  settle(w, s);
  return s->n;
}

/* False when a stretch is too long for the buffer: nothing has then been done. */
static int round_avx2(const walk *w, stretch *s, size_t *n) {
  for (int k = 0; k < WALKS; k++)
    if (s[k].i_end - s[k].i > MATCH_LONGEST) return 0;
  found f;
  run_avx2(w, s, &f);
  for (int k = 0; k < WALKS; k++) *n = finish(w, &s[k], f.i[k], f.j[k], *n);
  return 1;
}

/* As round_avx2, eight by eight. */
AVX2 static int round_avx512(const walk *w, stretch *s, size_t *n) {
  int32_t pair[WALKS][MATCH_NEAR];
  match_stretch part[WALKS];
  for (int k = 0; k < WALKS; k++) {
    size_t na = s[k].i_end - s[k].i, nb = s[k].j_end - s[k].j;
    if (na > MATCH_LONGEST || nb > UINT16_MAX) return 0;
    part[k] = (match_stretch){w->a + s[k].i, w->b + s[k].j, na, nb, 0, 0, pair[k], pair[k]};
  }
  for (int k = 0; k < WALKS; k += 2)
    if (!pl_match_avx512(&part[k], w->shift, w->window)) return 0;
  for (int k = 0; k < WALKS; k++) {
    size_t found = (size_t)(part[k].end - pair[k]);
    s[k].n_start = *n;
    s[k].n = *n += found;
    if (w->ai == NULL) continue;
    int64_t *ai = w->ai + s[k].n_start, *bi = w->bi + s[k].n_start;
    for (size_t p = 0; p < found; p++) {
      ai[p] = (int64_t)s[k].i + (pair[k][p] >> 16);
      bi[p] = (int64_t)s[k].j + (pair[k][p] & 0xffff);
    }
    settle(w, &s[k]);
  }
  return 1;
}
#endif

/* Pairs are found at most where the shorter list could hold them, then moved together. */
static size_t match(const walk *w) {
  size_t i = 0, j = 0, n = 0;
#if defined(__x86_64__)
  int wide = pl_simd() >= PL_SIMD_AVX512;
  int fast = pl_simd() >= PL_SIMD_AVX2 && w->ai != NULL && w->na <= UINT32_MAX &&
             w->nb <= UINT32_MAX; /* it finds pairs only, in 32 bits */
#endif
  while (i < w->na && j < w->nb) {
    stretch s[WALKS];
    size_t room = n, length = fewer(MATCH_STRETCH, (w->na - i + WALKS - 1) / WALKS);
    for (int k = 0; k < WALKS; k++) {
      s[k] = (stretch){.i = i, .i_end = w->na, .j = j, .j_end = w->nb, .n = room, .n_start = room};
      end_stretch(w, &s[k], length);
      i = s[k].i_end;
      j = s[k].j_end;
      room += safe_steps(&s[k]);
    }
#if defined(__x86_64__)
    if (wide && round_avx512(w, s, &n)) continue;
    if (fast && round_avx2(w, s, &n)) continue;
#endif
    if (w->ai == NULL) {
      run(w, s, 0);
    } else {
      run(w, s, 1);
    }
    for (int k = 0; k < WALKS; k++) {
      size_t found = s[k].n - s[k].n_start;
      if (w->ai != NULL) {
        settle(w, &s[k]);
        memmove(w->ai + n, w->ai + s[k].n_start, found * sizeof *w->ai);
        memmove(w->bi + n, w->bi + s[k].n_start, found * sizeof *w->bi);
      }
      n += found;
    }
  }
  return n;
}

int64_t pl_match(const int64_t *a, size_t na, const int64_t *b, size_t nb, int64_t window_ps,
                 int64_t *a_index, int64_t *b_index, size_t capacity) {
  if (window_ps < 0) return PL_E_ARGUMENT;
  if (capacity < fewer(na, nb)) return PL_E_CAPACITY;
  walk w = {.a = a, .na = na, .b = b, .nb = nb, .window = window_ps, .ai = a_index, .bi = b_index};
  return (int64_t)match(&w);
}

int64_t pl_match_count(const int64_t *a, size_t na, const int64_t *b, size_t nb,
                       int64_t window_ps, int64_t shift_ps) {
  if (window_ps < 0) return PL_E_ARGUMENT;
  walk w = {.a = a, .na = na, .b = b, .nb = nb, .window = window_ps, .shift = shift_ps};
  return (int64_t)match(&w);
}
