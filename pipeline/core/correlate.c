/* Cross-correlation of two sorted time series: histograms of b - a. */
#include "cpu.h"

__extension__ typedef unsigned __int128 u128;

typedef struct {
  uint64_t width, reciprocal; /* of the whole range; 2^64 / bin, rounded up */
  int64_t low;
} range;

/* Differences stay below 2^32 so that one multiplication divides exactly by the bin: with
 * r = floor(2^64 / bin) + 1 the error d * (r - 2^64 / bin) is below 2^32 <= 2^64 / bin. */
static int range_init(range *r, int64_t low, int64_t bin, size_t n_bins) {
  if (bin < 1 || n_bins < 1 || bin > UINT32_MAX || n_bins > UINT32_MAX / (uint64_t)bin)
    return PL_E_ARGUMENT;
  if (low > INT64_MAX / 4 || low < -(INT64_MAX / 4)) return PL_E_ARGUMENT;
  r->width = (uint64_t)bin * n_bins;
  r->reciprocal = UINT64_MAX / (uint64_t)bin + 1; /* bin 1 wraps to 0 and is treated apart */
  r->low = low;
  return PL_OK;
}

static inline size_t bin_of(const range *r, uint64_t d) {
  return r->reciprocal ? (size_t)((u128)d * r->reciprocal >> 64) : (size_t)d;
}

/* b - a - low; unsigned, so that whatever the input, a bin index is only formed inside. */
static inline uint64_t distance(const range *r, int64_t a, int64_t b) {
  return (uint64_t)b - (uint64_t)a - (uint64_t)r->low;
}

/* First b at or after a + low. */
static inline size_t first_stop(const range *r, int64_t a, const int64_t *b, size_t nb, size_t j) {
  while (j < nb && (int64_t)distance(r, a, b[j]) < 0) j++;
  return j;
}

typedef struct {
  const int64_t *a, *b;
  size_t na, nb;
  uint64_t *hist;
} series;

static int64_t correlate_plain(const range *r, const series *s) {
  int64_t pairs = 0;
  size_t start = 0;
  for (size_t i = 0; i < s->na; i++) {
    start = first_stop(r, s->a[i], s->b, s->nb, start);
    for (size_t j = start; j < s->nb; j++) {
      uint64_t d = distance(r, s->a[i], s->b[j]);
      if (d >= r->width) break;
      s->hist[bin_of(r, d)]++;
      pairs++;
    }
  }
  return pairs;
}

#if defined(__x86_64__)
#include <immintrin.h>

/* The number of an event's partners is unpredictable, and each mispredicted branch costs as much as
 * ten partners. So eight candidates at a time are compared without a branch, the distances that lie
 * inside are moved together, and a second loop counts them. Each step depends on the one before; so
 * two walks over the two halves of `a` are interleaved. */
#define AVX2 __attribute__((target("avx2,bmi,bmi2,popcnt")))
enum { LANES = 8, LIST = 2048 };

typedef struct {
  uint32_t distance[LIST + LANES];
  size_t n;
  int64_t pairs;
} found;

/* b[start] is the first that may be in the range of a[i], b[j] the next to compare with it. */
typedef struct {
  size_t i, i_end, start, j;
} walk;

AVX2 static void count_found(const range *r, uint64_t *hist, found *f) {
  for (size_t k = 0; k < f->n; k++) hist[bin_of(r, f->distance[k])]++;
  f->pairs += (int64_t)f->n;
  f->n = 0;
}

AVX2 static inline unsigned lanes(__m256i x, __m256i y) {
  return (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(x)) |
         (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(y)) << 4;
}

/* Writes the marked ones of eight distances, of which the lower halves matter, to the front. */
AVX2 static inline void keep(uint32_t *out, __m256i x, __m256i y, unsigned marked) {
  __m256 low = _mm256_shuffle_ps(_mm256_castsi256_ps(x), _mm256_castsi256_ps(y), 0x88);
  __m256i all = _mm256_permute4x64_epi64(_mm256_castps_si256(low), 0xd8);
  uint64_t bytes = _pdep_u64(marked, 0x0101010101010101) * 255;
  uint64_t order = _pext_u64(0x0706050403020100, bytes);
  __m256i pick = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)order));
  _mm256_storeu_si256((__m256i *)out, _mm256_permutevar8x32_epi32(all, pick));
}

/* Compares eight; then on to the next eight, or to the next a. Needs j + 8 <= nb. */
AVX2 static inline size_t step(const range *r, const series *s, walk *w, uint32_t *out) {
  const __m256i width = _mm256_set1_epi64x((int64_t)r->width);
  const __m256i from = _mm256_set1_epi64x((int64_t)((uint64_t)s->a[w->i] + (uint64_t)r->low));
  __m256i x = _mm256_sub_epi64(_mm256_loadu_si256((const __m256i *)(s->b + w->j)), from);
  __m256i y = _mm256_sub_epi64(_mm256_loadu_si256((const __m256i *)(s->b + w->j + 4)), from);
  unsigned before = lanes(x, y);
  unsigned below = lanes(_mm256_cmpgt_epi64(width, x), _mm256_cmpgt_epi64(width, y));
  unsigned inside = below & ~before, more = below >> (LANES - 1);
  keep(out, x, y, inside);
  w->start += (size_t)__builtin_popcount(before);
  w->i += 1 - more;
  w->j = more ? w->j + LANES : w->start;
  return (size_t)__builtin_popcount(inside);
}

static inline size_t fewer(size_t x, size_t y) { return x < y ? x : y; }

static inline size_t safe_steps(const series *s, const walk *w) {
  return fewer(w->i_end - w->i, (s->nb - w->j) / LANES);
}

AVX2 static void walk_two(const range *r, const series *s, walk *first, walk *second, found *f) {
  walk p = *first, q = *second;
  for (;;) {
    size_t steps = fewer(safe_steps(s, &p), safe_steps(s, &q));
    if (steps == 0) break;
    steps = fewer(steps, LIST / (2 * LANES));
    size_t n = 0;
    for (size_t k = 0; k < steps; k++) {
      n += step(r, s, &p, f->distance + n);
      n += step(r, s, &q, f->distance + n);
    }
    f->n = n;
    count_found(r, s->hist, f);
  }
  *first = p;
  *second = q;
}

/* One walk to its end; the last few b one by one. */
AVX2 static void walk_one(const range *r, const series *s, walk *w, found *f) {
  while (w->i < w->i_end) {
    if (f->n >= LIST) count_found(r, s->hist, f);
    if (s->nb - w->j >= LANES) {
      f->n += step(r, s, w, f->distance + f->n);
      continue;
    }
    for (; w->j < s->nb; w->j++) {
      uint64_t d = distance(r, s->a[w->i], s->b[w->j]);
      w->start += d >> 63;
      if (d < r->width) f->distance[f->n++] = (uint32_t)d;
    }
    w->i++;
    w->j = w->start;
  }
  count_found(r, s->hist, f);
}

static int64_t correlate_avx2(const range *r, const series *s) {
  size_t half = s->na / 2, low = 0, high = s->nb;
  while (half && low < high) { /* the first b in the range of a[half] */
    size_t middle = low + (high - low) / 2;
    if (distance(r, s->a[half], s->b[middle]) >> 63)
      low = middle + 1;
    else
      high = middle;
  }
  walk p = {.i_end = half}, q = {.i = half, .i_end = s->na, .start = low, .j = low};
  found f = {.n = 0};
  walk_two(r, s, &p, &q, &f);
  walk_one(r, s, &p, &f);
  walk_one(r, s, &q, &f);
  return f.pairs;
}

/* Whether no difference leaves 63 bits, which the comparisons above rely on. */
static int near(const series *s) {
  if (!s->na || !s->nb) return 0;
  int64_t first = s->a[0] < s->b[0] ? s->a[0] : s->b[0], a = s->a[s->na - 1], b = s->b[s->nb - 1];
  return (uint64_t)(a > b ? a : b) - (uint64_t)first < (uint64_t)1 << 61;
}
#endif

int64_t pl_correlate(const int64_t *a, size_t na, const int64_t *b, size_t nb, int64_t low_ps,
                     int64_t bin_ps, size_t n_bins, uint64_t *hist) {
  range r;
  int status = range_init(&r, low_ps, bin_ps, n_bins);
  if (status < 0) return status;
  series s = {a, b, na, nb, hist};
#if defined(__x86_64__)
  if (pl_simd() >= PL_SIMD_AVX2 && near(&s)) return correlate_avx2(&r, &s);
#endif
  return correlate_plain(&r, &s);
}

int64_t pl_start_stop(const int64_t *a, size_t na, const int64_t *b, size_t nb, int64_t low_ps,
                      int64_t bin_ps, size_t n_bins, uint64_t *hist) {
  range r;
  int status = range_init(&r, low_ps, bin_ps, n_bins);
  if (status < 0) return status;
  int64_t pairs = 0;
  size_t stop = 0;
  for (size_t i = 0; i < na; i++) {
    stop = first_stop(&r, a[i], b, nb, stop);
    if (stop == nb) break;
    uint64_t d = distance(&r, a[i], b[stop]);
    if (d >= r.width) continue;
    hist[bin_of(&r, d)]++;
    pairs++;
  }
  return pairs;
}
