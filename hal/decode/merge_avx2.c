/* AVX2 kernels of the merge: a bitonic network (K. E. Batcher, AFIPS 1968) of four and four. */
#include "merge.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx2")))
#define INLINE TARGET __attribute__((always_inline)) static inline

enum { WIDE = 4 };
typedef __m256d vec; /* of keys taken for doubles, which have a minimum: see merge.h */

TARGET int pl_avx2_pack(const pl_piece *p, uint64_t from, uint64_t *key) {
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

/* Lower and upper four of two ascending fours, ascending again. Pairs of registers are rearranged
 * by one shuffle and one blend, as shuffles have fewer ports than blends. */
INLINE vec lower(vec x, vec y, vec *upper) {
  y = _mm256_permute4x64_pd(y, 0x1b);
  vec low = _mm256_min_pd(x, y), high = _mm256_max_pd(x, y);
  x = _mm256_blend_pd(low, high, 0xc), y = _mm256_permute2f128_pd(low, high, 0x21);
  low = _mm256_min_pd(x, y), high = _mm256_max_pd(x, y);
  x = _mm256_blend_pd(low, high, 0xa), y = _mm256_shuffle_pd(low, high, 0x5);
  low = _mm256_min_pd(x, y), high = _mm256_max_pd(x, y);
  x = _mm256_unpacklo_pd(low, high), y = _mm256_unpackhi_pd(low, high);
  vec middle = _mm256_permute2f128_pd(x, y, 0x21);
  *upper = _mm256_blend_pd(middle, y, 0xc);
  return _mm256_blend_pd(x, middle, 0xc);
}

INLINE vec load(const uint64_t *key) { return _mm256_loadu_pd((const double *)key); }

INLINE void put_keys(vec keys, uint64_t *key) { _mm256_storeu_pd((double *)key, keys); }

INLINE void put_tags(vec keys, int64_t first, int64_t *t, uint8_t *c) {
  const __m256i origin = _mm256_set1_epi64x((int64_t)pl_key_origin(first));
  /* the low bytes, those of the upper half to places 2 and 3 */
  const __m256i pick = _mm256_setr_epi32((int)0xffff0800, -1, -1, -1, 0x0800ffff, -1, -1, -1);
  __m256i k = _mm256_castpd_si256(keys);
  __m256i time = _mm256_add_epi64(_mm256_srli_epi64(k, PL_TIME_SHIFT), origin);
  _mm256_storeu_si256((__m256i *)t, time);
  k = _mm256_shuffle_epi8(k, pick);
  __m128i low = _mm_or_si128(_mm256_castsi256_si128(k), _mm256_extracti128_si256(k, 1));
  int32_t bytes = _mm_cvtsi128_si32(low);
  memcpy(c, &bytes, sizeof bytes);
}

#include "merge_chains.h"

const pl_merge_kernels pl_merge_avx2 = {pl_avx2_pack, merge, finish};
#endif
