/* AVX2 kernels of the merge.
 *
 * Runs are merged four keys at a time: of the four in hand and the next four of the run whose head
 * is less, a bitonic network (K. E. Batcher, AFIPS 1968) gives the lower four, which are final,
 * and the upper four, which stay in hand. That takes no branch, but every step waits for the one
 * before; so five chains of them, which share the result evenly, run side by side. */
#include "merge.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2")))
#define INLINE __attribute__((target("avx2"), always_inline)) static inline

enum { WIDE = 4, CHAINS = 5 };
_Static_assert((int)WIDE <= (int)PL_MERGE_PAD, "a load may begin at the end of a run");

AVX2 static int pack(const pl_piece *p, uint64_t from, uint64_t *key) {
  const int64_t *t = p->t;
  const uint8_t *c = p->c;
  if (p->n == 0) return 1;
  key[0] = pl_key(t[0], 0, c[0], from);
  const __m256i step = _mm256_set1_epi64x(WIDE << PL_INDEX_SHIFT);
  __m256i plus = _mm256_slli_epi64(_mm256_setr_epi64x(1, 2, 3, 4), PL_INDEX_SHIFT);
  plus = _mm256_add_epi64(plus, _mm256_set1_epi64x((int64_t)from));
  __m256i wrong = _mm256_setzero_si256();
  size_t i = 1;
  for (; i + WIDE <= p->n; i += WIDE) {
    __m256i x = _mm256_loadu_si256((const __m256i *)(t + i));
    __m256i before = _mm256_loadu_si256((const __m256i *)(t + i - 1));
    wrong = _mm256_or_si256(wrong, _mm256_cmpgt_epi64(before, x));
    int32_t bytes;
    memcpy(&bytes, c + i, sizeof bytes);
    __m256i low = _mm256_add_epi64(plus, _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(bytes)));
    x = _mm256_add_epi64(_mm256_slli_epi64(x, PL_TIME_SHIFT), low);
    _mm256_storeu_si256((__m256i *)(key + i), x);
    plus = _mm256_add_epi64(plus, step);
  }
  int back = !_mm256_testz_si256(wrong, wrong);
  for (; i < p->n; i++) {
    key[i] = pl_key(t[i], i, c[i], from);
    back |= t[i] < t[i - 1];
  }
  return !back;
}

/* Where a chain stands; keys are taken for doubles, which have a minimum (see merge.h). */
typedef struct {
  __m256d hand;
  size_t at;    /* in a; the place in b is implied by what both have given */
  size_t begin; /* of its part of the result */
} chain;

/* The next four of the run whose head is less. Sentinels are not less, so a is not overrun; b is
 * when both are at their ends, by one load. `both` is the sum of the places in a and b, counted
 * from the same key. Conditional moves by hand: compilers make this a branch, which would be missed
 * every other time. */
INLINE __m256d take(chain *s, const uint64_t *key, size_t both) {
  const size_t a = s->at;
  size_t from = both - a, next = a + WIDE;
  __asm__("cmp %[y], %[x]\n\tcmovb %[a], %[from]\n\tcmovnb %[a], %[next]"
          : [from] "+&r"(from), [next] "+&r"(next)
          : [a] "r"(a), [x] "r"(key[a]), [y] "r"(key[from])
          : "cc");
  s->at = next;
  return _mm256_loadu_pd((const double *)(key + from));
}

/* Lower and upper four of two ascending fours, ascending again. Pairs of registers are rearranged
 * by one shuffle and one blend, as shuffles have fewer ports than blends. */
INLINE __m256d lower(__m256d x, __m256d y, __m256d *upper) {
  y = _mm256_permute4x64_pd(y, 0x1b);
  __m256d low = _mm256_min_pd(x, y), high = _mm256_max_pd(x, y);
  x = _mm256_blend_pd(low, high, 0xc), y = _mm256_permute2f128_pd(low, high, 0x21);
  low = _mm256_min_pd(x, y), high = _mm256_max_pd(x, y);
  x = _mm256_blend_pd(low, high, 0xa), y = _mm256_shuffle_pd(low, high, 0x5);
  low = _mm256_min_pd(x, y), high = _mm256_max_pd(x, y);
  x = _mm256_unpacklo_pd(low, high), y = _mm256_unpackhi_pd(low, high);
  __m256d middle = _mm256_permute2f128_pd(x, y, 0x21);
  *upper = _mm256_blend_pd(middle, y, 0xc);
  return _mm256_blend_pd(x, middle, 0xc);
}

/* Four keys to their place: as they are, or back to times and channels. */
INLINE void put(__m256d keys, uint64_t *key, const pl_target *to, size_t i) {
  if (key) {
    _mm256_storeu_pd((double *)(key + i), keys);
    return;
  }
  __m256i k = _mm256_castpd_si256(keys);
  __m256i origin = _mm256_set1_epi64x((int64_t)pl_key_origin(to->first));
  __m256i t = _mm256_add_epi64(_mm256_srli_epi64(k, PL_TIME_SHIFT), origin);
  _mm256_storeu_si256((__m256i *)(to->t + i), t);
  /* the low bytes, those of the upper half to places 2 and 3 */
  const __m256i pick = _mm256_setr_epi32((int)0xffff0800, -1, -1, -1, 0x0800ffff, -1, -1, -1);
  k = _mm256_shuffle_epi8(k, pick);
  __m128i c = _mm_or_si128(_mm256_castsi256_si128(k), _mm256_extracti128_si256(k, 1));
  int32_t bytes = _mm_cvtsi128_si32(c);
  memcpy(to->c + i, &bytes, sizeof bytes);
}

/* As much of the next block as a step makes of this one. Past an end it is a no-op. */
INLINE void fetch(const pl_target *to, size_t step) {
  const pl_piece *p = to->next + step % to->streams;
  const uintptr_t i = step / to->streams * CHAINS * WIDE, t = (uintptr_t)p->t + i * sizeof *p->t;
  for (uintptr_t k = 0; k < CHAINS * WIDE * sizeof *p->t; k += 64)
    _mm_prefetch((const char *)(t + k), _MM_HINT_T0);
  _mm_prefetch((const char *)((uintptr_t)p->c + i), _MM_HINT_T0);
}

/* Every chain makes as many keys, a multiple of four, and the last ends where the result does: they
 * overlap a little, and write the same there. */
INLINE void run(pl_keys a, pl_keys b, uint64_t *key, const pl_target *to) {
  const size_t n = a.n + b.n, each = (n / CHAINS + WIDE) / WIDE * WIDE;
  const size_t apart = (size_t)(b.key - a.key);
  chain s[CHAINS];
#pragma GCC unroll 5
  for (size_t k = 0; k < CHAINS; k++) {
    s[k].begin = (n - each) * k / (CHAINS - 1);
    s[k].at = pl_share(a, b, s[k].begin);
    s[k].hand = take(&s[k], a.key, s[k].begin + apart);
  }
  for (size_t i = 0; i < each; i += WIDE) {
    if (!key) fetch(to, i / WIDE);
#pragma GCC unroll 5
    for (size_t k = 0; k < CHAINS; k++) {
      __m256d next = take(&s[k], a.key, s[k].begin + apart + WIDE + i);
      put(lower(s[k].hand, next, &s[k].hand), key, to, s[k].begin + i);
    }
  }
}

AVX2 static void merge(pl_keys a, pl_keys b, uint64_t *out) {
  if (a.n + b.n < WIDE)
    pl_merge_plain.merge(a, b, out);
  else
    run(a, b, out, NULL);
}

AVX2 static void finish(pl_keys a, pl_keys b, uint64_t *spare, const pl_target *to) {
  if (a.n + b.n < WIDE)
    pl_merge_plain.finish(a, b, spare, to);
  else
    run(a, b, NULL, to);
}

const pl_merge_kernels pl_merge_avx2 = {pack, merge, finish};
#endif
