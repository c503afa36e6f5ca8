/* AVX-512 kernels of the merge: as those of AVX2, of eight and eight. Packing is the same one, as
 * it waits for memory. */
#include "merge.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define INLINE TARGET __attribute__((always_inline)) static inline

enum { WIDE = 8 };
typedef __m512i vec;

/* Lower and upper eight of two ascending eights, ascending again. */
INLINE vec lower(vec x, vec y, vec *upper) {
  y = _mm512_permutexvar_epi64(_mm512_setr_epi64(7, 6, 5, 4, 3, 2, 1, 0), y);
  vec low = _mm512_min_epu64(x, y), high = _mm512_max_epu64(x, y);
  x = _mm512_mask_blend_epi64(0xf0, low, high), y = _mm512_alignr_epi64(high, low, 4);
  low = _mm512_min_epu64(x, y), high = _mm512_max_epu64(x, y);
  const vec middle = _mm512_setr_epi64(2, 3, 8, 9, 6, 7, 12, 13);
  x = _mm512_mask_blend_epi64(0xcc, low, high), y = _mm512_permutex2var_epi64(low, middle, high);
  low = _mm512_min_epu64(x, y), high = _mm512_max_epu64(x, y);
  x = _mm512_mask_blend_epi64(0xaa, low, high);
  y = _mm512_castpd_si512(
      _mm512_shuffle_pd(_mm512_castsi512_pd(low), _mm512_castsi512_pd(high), 0x55));
  low = _mm512_min_epu64(x, y), high = _mm512_max_epu64(x, y);
  const vec first = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
  const vec last = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
  *upper = _mm512_permutex2var_epi64(low, last, high);
  return _mm512_permutex2var_epi64(low, first, high);
}

INLINE vec load(const uint64_t *key) { return _mm512_loadu_si512(key); }

INLINE void put_keys(vec keys, uint64_t *key) { _mm512_storeu_si512(key, keys); }

INLINE void put_tags(vec keys, int64_t first, int64_t *t, uint8_t *c) {
  const vec origin = _mm512_set1_epi64((int64_t)pl_key_origin(first));
  _mm512_storeu_si512(t, _mm512_add_epi64(_mm512_srli_epi64(keys, PL_TIME_SHIFT), origin));
  _mm_storel_epi64((__m128i *)c, _mm512_cvtepi64_epi8(keys));
}

#include "merge_chains.h"

const pl_merge_kernels pl_merge_avx512 = {pl_avx2_pack, merge, finish};
#endif
