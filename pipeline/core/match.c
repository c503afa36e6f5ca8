/* Two-fold coincidences: which event of one list belongs to which of the other.
 *
 * The walk is greedy in time order. One walk is a chain of dependent loads and compares; four of
 * them over separate stretches of time, interleaved, keep the processor busy while each waits. */
#include "core.h"

#include <string.h>

enum { WALKS = 4, SPLIT_TRIES = 4096 };

/* A stretch of both lists; pairs go to positions from `n` on. */
typedef struct {
  size_t i, i_end, j, j_end, n, n_start;
} stretch;

typedef struct {
  const int64_t *a, *b;
  int64_t shift, window; /* of b, half width */
  int64_t *ai, *bi;      /* NULL: count only */
} walk;

static size_t lower_bound(const int64_t *t, size_t n, int64_t value) {
  size_t low = 0;
  while (n > 0) {
    size_t half = n / 2;
    if (t[low + half] < value) {
      low += half + 1;
      n -= half + 1;
    } else {
      n = half;
    }
  }
  return low;
}

/* A place at or after i where nothing of the last window can pair with what follows. */
static int find_split(const walk *w, size_t na, size_t nb, size_t *i, size_t *j) {
  if (*i == 0 || *i >= na) return 0;
  *j = lower_bound(w->b, nb, w->a[*i] - w->shift);
  for (int k = 0; k < SPLIT_TRIES && *i < na; k++, ++*i) {
    while (*j < nb && w->b[*j] + w->shift < w->a[*i]) ++*j;
    int64_t from = w->a[*i] - w->window;
    if (w->a[*i - 1] < from && (*j == 0 || w->b[*j - 1] + w->shift < from)) return 1;
  }
  return 0;
}

static size_t fewer(size_t x, size_t y) { return x < y ? x : y; }

/* Cuts the lists into stretches; 1 when there are WALKS of them. */
static int split(const walk *w, size_t na, size_t nb, stretch *s) {
  size_t i = 0, j = 0, n = 0;
  for (int k = 0; k < WALKS; k++) {
    size_t i_end = na / WALKS * (size_t)(k + 1), j_end = 0;
    if (i_end < i) i_end = i;
    if (k == WALKS - 1) {
      i_end = na;
      j_end = nb;
    } else if (!find_split(w, na, nb, &i_end, &j_end)) {
      return 0;
    }
    s[k] = (stretch){.i = i, .i_end = i_end, .j = j, .j_end = j_end, .n = n, .n_start = n};
    n += fewer(i_end - i, j_end - j);
    i = i_end;
    j = j_end;
  }
  return 1;
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

static inline void run(const walk *w, stretch *s, int count, int store) {
  const int64_t *a = w->a, *b = w->b, shift = w->shift, window = w->window;
  int64_t *ai = w->ai, *bi = w->bi;
  if (count == WALKS) {
    stretch p = s[0], q = s[1], u = s[2], v = s[3];
    for (;;) {
      size_t steps = fewer(fewer(safe_steps(&p), safe_steps(&q)),
                           fewer(safe_steps(&u), safe_steps(&v)));
      if (steps == 0) break;
      for (size_t k = 0; k < steps; k++) {
        STEP(p);
        STEP(q);
        STEP(u);
        STEP(v);
      }
    }
    s[0] = p, s[1] = q, s[2] = u, s[3] = v;
  }
  for (int k = 0; k < count; k++) {
    stretch p = s[k];
    while (p.i < p.i_end && p.j < p.j_end) STEP(p);
    s[k] = p;
  }
}

static size_t match(const walk *w, size_t na, size_t nb) {
  stretch s[WALKS];
  int count = na > 1024 && nb > 1024 && split(w, na, nb, s) ? WALKS : 1;
  if (count == 1) s[0] = (stretch){.i_end = na, .j_end = nb};
  if (w->ai != NULL)
    run(w, s, count, 1);
  else
    run(w, s, count, 0);
  size_t n = 0;
  for (int k = 0; k < count; k++) {
    size_t found = s[k].n - s[k].n_start;
    if (w->ai != NULL && n != s[k].n_start) {
      memmove(w->ai + n, w->ai + s[k].n_start, found * sizeof *w->ai);
      memmove(w->bi + n, w->bi + s[k].n_start, found * sizeof *w->bi);
    }
    n += found;
  }
  return n;
}

static int64_t distance(int64_t x, int64_t y) { return x > y ? x - y : y - x; }

/* Pair k takes a nearer neighbour that no pair holds. */
static void settle_one(const walk *w, size_t na, size_t nb, size_t n, size_t k) {
  const int64_t *a = w->a, *b = w->b;
  int64_t i = w->ai[k], j = w->bi[k], here = distance(a[i], b[j]);
  int64_t i_end = k + 1 < n ? w->ai[k + 1] : (int64_t)na;
  int64_t j_end = k + 1 < n ? w->bi[k + 1] : (int64_t)nb;
  for (; j + 1 < j_end && distance(a[i], b[j + 1]) < here; j++) here = distance(a[i], b[j + 1]);
  for (; i + 1 < i_end && distance(a[i + 1], b[j]) < here; i++) here = distance(a[i + 1], b[j]);
  w->ai[k] = i;
  w->bi[k] = j;
}

/* Almost never is there a nearer one at all, which two compares tell. */
static void settle(const walk *w, size_t na, size_t nb, size_t n) {
  const int64_t *a = w->a, *b = w->b;
  for (size_t k = 0; k + 1 < n; k++) {
    int64_t i = w->ai[k], j = w->bi[k], here = distance(a[i], b[j]);
    if ((a[i + 1] - b[j] < here) | (b[j + 1] - a[i] < here)) settle_one(w, na, nb, n, k);
  }
  if (n > 0) settle_one(w, na, nb, n, n - 1);
}

int64_t pl_match(const int64_t *a, size_t na, const int64_t *b, size_t nb, int64_t window_ps,
                 int64_t *a_index, int64_t *b_index, size_t capacity) {
  if (window_ps < 0) return PL_E_ARGUMENT;
  if (capacity < fewer(na, nb)) return PL_E_CAPACITY;
  walk w = {.a = a, .b = b, .window = window_ps, .ai = a_index, .bi = b_index};
  size_t n = match(&w, na, nb);
  settle(&w, na, nb, n);
  return (int64_t)n;
}

int64_t pl_match_count(const int64_t *a, size_t na, const int64_t *b, size_t nb,
                       int64_t window_ps, int64_t shift_ps) {
  if (window_ps < 0) return PL_E_ARGUMENT;
  walk w = {.a = a, .b = b, .window = window_ps, .shift = shift_ps};
  return (int64_t)match(&w, na, nb);
}
