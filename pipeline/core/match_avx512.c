/* The search for near events, eight by eight: all 64 differences at once. */
#include "match.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,popcnt,bmi,bmi2")))
#define INLINE TARGET static inline __attribute__((always_inline))
enum { SIDE = 8, GROUP = 16 };

typedef struct {
  __m512i shift, window, width; /* width: twice the window */
  __m512i places;               /* 0, 1, .. 63 in bytes */
} search;

/* Bit 8 x + y: is b[y] 0..width above a[x]? */
INLINE uint64_t compare(const int64_t *a, __m512i b, __m512i width) {
  __mmask8 m[SIDE];
  for (int x = 0; x < SIDE; x++)
    m[x] = _mm512_cmple_epu64_mask(_mm512_sub_epi64(b, _mm512_set1_epi64(a[x])), width);
  __mmask32 lower = _mm512_kunpackw(_mm512_kunpackb(m[3], m[2]), _mm512_kunpackb(m[1], m[0]));
  __mmask32 upper = _mm512_kunpackw(_mm512_kunpackb(m[7], m[6]), _mm512_kunpackb(m[5], m[4]));
  return _cvtmask64_u64(_mm512_kunpackd(upper, lower));
}

/* The set bits become pairs. Eight are written whether there are so many or not; more are rare. */
INLINE int32_t *put(int32_t *to, uint64_t bits, size_t base, __m512i places) {
  const __m256i in_a = _mm256_set1_epi32(7 << 16), in_b = _mm256_set1_epi32(7);
  const __m256i bases = _mm256_set1_epi32((int)base);
  int n = __builtin_popcountll(bits);
  __m512i bytes = _mm512_maskz_compress_epi8(bits, places);
  for (int done = 0;;) {
    __m256i place = _mm256_cvtepu8_epi32(_mm512_castsi512_si128(bytes));
    __m256i pair = _mm256_or_si256(_mm256_and_si256(_mm256_slli_epi32(place, 13), in_a),
                                   _mm256_and_si256(place, in_b));
    _mm256_storeu_si256((__m256i *)(to + done), _mm256_add_epi32(pair, bases));
    done += SIDE;
    if (__builtin_expect(done >= n, 1)) break;
    bytes = _mm512_alignr_epi64(bytes, bytes, 1);
  }
  return to + n;
}

/* Compares eight with eight, then moves on past those that are too early for all later events: all
 * eight of one list, except those near the last of the other, which are compared again. Returns
 * whether it moved. */
INLINE int step(match_stretch *s, search how) {
  const int64_t *a = s->a + s->i, *b = s->b + s->j;
  __m512i each_a = _mm512_loadu_si512(a);
  __m512i each_b = _mm512_add_epi64(_mm512_loadu_si512(b), how.shift);
  __m512i last_a = _mm512_set1_epi64(a[SIDE - 1]);
  __m512i last_b = _mm512_add_epi64(_mm512_set1_epi64(b[SIDE - 1]), how.shift);
  uint64_t near = compare(a, _mm512_add_epi64(each_b, how.window), how.width);
  s->end = put(s->end, near, s->i << 16 | s->j, how.places);
  unsigned past_a = _mm512_cmpgt_epi64_mask(_mm512_sub_epi64(last_b, each_a), how.window);
  unsigned past_b = _mm512_cmpgt_epi64_mask(_mm512_sub_epi64(last_a, each_b), how.window);
  s->i += (size_t)__builtin_popcount(past_a);
  s->j += (size_t)__builtin_popcount(past_b);
  return (past_a | past_b) != 0;
}

static inline size_t fewer(size_t x, size_t y) { return x < y ? x : y; }

/* Number of steps that stay inside lists and buffer in any case. */
static inline size_t room(const match_stretch *s) {
  size_t free = MATCH_NEAR - (size_t)(s->end - s->pair);
  return fewer(fewer(s->na - s->i, s->nb - s->j) / SIDE, free / (SIDE * SIDE));
}

/* Each step depends on the one before: two interleaved searches wait half as long. */
INLINE int run_two(match_stretch s[2], search how) {
  match_stretch p = s[0], q = s[1];
  int moved = 1;
  for (size_t steps; moved && (steps = fewer(room(&p), room(&q)));)
    for (; steps; steps--) moved &= step(&p, how) & step(&q, how);
  s[0] = p, s[1] = q;
  return moved;
}

INLINE int run(match_stretch *s, search how) {
  match_stretch p = *s;
  int moved = 1;
  for (size_t steps; moved && (steps = room(&p));)
    for (; steps; steps--) moved &= step(&p, how);
  *s = p;
  return moved;
}

/* The last few, one by one. */
static int finish(match_stretch *s, int64_t shift, int64_t window) {
  for (size_t j = s->j; s->i < s->na; s->i++) {
    int64_t at = s->a[s->i] - shift;
    while (j < s->nb && at - s->b[j] > window) j++;
    for (size_t y = j; y < s->nb && s->b[y] - at <= window; y++) {
      if (s->end == s->pair + MATCH_NEAR) return 0;
      *s->end++ = (int32_t)(s->i << 16 | y);
    }
  }
  return 1;
}

static void insert(int32_t *pair, size_t at) {
  int32_t x = pair[at];
  for (; at > 0 && pair[at - 1] > x; at--) pair[at] = pair[at - 1];
  pair[at] = x;
}

/* Pairs that are out of order are few, and not far from their place. */
TARGET static void sort(int32_t *pair, size_t n) {
  for (size_t k = 1; k < n; k += GROUP) {
    size_t end = fewer(n, k + GROUP);
    if (n - k >= GROUP && !_mm512_cmplt_epi32_mask(_mm512_loadu_si512(pair + k),
                                                   _mm512_loadu_si512(pair + k - 1)))
      continue;
    for (size_t y = k; y < end; y++) insert(pair, y);
  }
}

/* The greedy walk over all that is near: in order, every pair of two events that are free. Returns
 * how many these are, which come first then. Most are taken sixteen at once: each is later than the
 * one before in both lists. */
TARGET static size_t take(int32_t *pair, size_t n) {
  size_t taken = 0;
  int32_t i_free = 0, j_free = 0;
  for (size_t k = 0, end; k < n;) {
    end = fewer(n, k + GROUP);
    if (n - k > GROUP && pair[k] >> 16 >= i_free && (pair[k] & 0xffff) >= j_free) {
      __m512i group = _mm512_loadu_si512(pair + k), next = _mm512_loadu_si512(pair + k + 1);
      if (_mm512_cmpgt_epu16_mask(next, group) == UINT32_MAX) {
        _mm512_storeu_si512(pair + taken, group);
        taken += GROUP;
        k = end;
        i_free = (pair[taken - 1] >> 16) + 1;
        j_free = (pair[taken - 1] & 0xffff) + 1;
      }
    }
    for (; k < end; k++) {
      int32_t x = pair[k], i = x >> 16, j = x & 0xffff;
      int both = (i >= i_free) & (j >= j_free);
      pair[taken] = x;
      taken += (size_t)both;
      i_free = both ? i + 1 : i_free;
      j_free = both ? j + 1 : j_free;
    }
  }
  return taken;
}

INLINE search with(int64_t shift, int64_t window) {
  search how = {.shift = _mm512_set1_epi64(shift), .window = _mm512_set1_epi64(window)};
  how.width = _mm512_add_epi64(how.window, how.window);
  uint8_t place[SIDE * SIDE];
  for (int k = 0; k < SIDE * SIDE; k++) place[k] = (uint8_t)k;
  how.places = _mm512_loadu_si512(place);
  return how;
}

TARGET int pl_match_avx512(match_stretch s[2], int64_t shift, int64_t window) {
  search how = with(shift, window);
  if (!run_two(s, how)) return 0;
  for (int k = 0; k < 2; k++) {
    if (!run(&s[k], how) || !finish(&s[k], shift, window)) return 0;
    size_t n = (size_t)(s[k].end - s[k].pair);
    sort(s[k].pair, n);
    s[k].end = s[k].pair + take(s[k].pair, n);
  }
  return 1;
}
#endif
