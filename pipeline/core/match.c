/* Two-fold coincidences: which event of one list belongs to which of the other.
 *
 * The walk is greedy in time order. One walk is a chain of dependent loads and compares; four of
 * them over separate stretches of time, interleaved, keep the processor busy while each waits. */
#include "core.h"

#include <string.h>

enum { WALKS = 4, STRETCH = 8192 }; /* four stretches and their pairs stay in the cache */

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

/* Ends a stretch about STRETCH events on, where nothing before can pair with what follows. */
static void end_stretch(const walk *w, stretch *s) {
  size_t i = s->i + STRETCH, j = s->j;
  if (i < w->na) j = lower_bound(w->b, j, w->nb, w->a[i] - w->shift);
  for (; i < w->na; i++) {
    while (j < w->nb && w->b[j] + w->shift < w->a[i]) j++;
    int64_t from = w->a[i] - w->window;
    if (w->a[i - 1] < from && (j == 0 || w->b[j - 1] + w->shift < from)) break;
  }
  s->i_end = fewer(i, w->na);
  s->j_end = i < w->na ? j : w->nb;
}

/* How many steps surely stay inside: each moves i and j by at most one. */
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

/* Almost never is there a nearer one at all, which two compares tell. */
static void settle(const walk *w, const stretch *s) {
  const int64_t *a = w->a, *b = w->b;
  for (size_t k = s->n_start; k + 1 < s->n; k++) {
    int64_t i = w->ai[k], j = w->bi[k], here = distance(a[i], b[j]);
    if ((a[i + 1] - b[j] < here) | (b[j + 1] - a[i] < here)) settle_one(w, s, k);
  }
  if (s->n > s->n_start) settle_one(w, s, s->n - 1);
}

/* Pairs are found at most where the shorter list could hold them, then moved together. */
static size_t match(const walk *w) {
  size_t i = 0, j = 0, n = 0;
  while (i < w->na && j < w->nb) {
    stretch s[WALKS];
    size_t room = n;
    for (int k = 0; k < WALKS; k++) {
      s[k] = (stretch){.i = i, .i_end = w->na, .j = j, .j_end = w->nb, .n = room, .n_start = room};
      end_stretch(w, &s[k]);
      i = s[k].i_end;
      j = s[k].j_end;
      room += safe_steps(&s[k]);
    }
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
