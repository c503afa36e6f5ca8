/* The AVX-512 kernel of T2: as that of AVX2, in groups of sixteen records.
 *
 * The first-level cache waits for few lines at a time, and stores are among them: so the records
 * are fetched into the second level first, two pages ahead, and into the first when they are near
 * (past the end it is a no-op). Measured on Zen 4: a third faster than into the first level at once
 * when the output stays in the second, 5 % faster than without the second step. */
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
enum { AHEAD = 8192, NEAR = 2048 }; /* bytes */

AVX512 size_t pl_avx512_t2(pl_decoder *d, const uint8_t *p, size_t n, int64_t *t, uint8_t *c) {
  if (n < 16 || pl_scale(d, pl_u32(p) & 0x1ffffff, 0) < d->last) return 0;
  const __m512i num = _mm512_set1_epi64(d->num), base = _mm512_set1_epi64(d->base + d->rest);
  const __m512i tags = _mm512_set1_epi32(0x1ffffff);
  __m512i before = _mm512_setzero_si512();
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    _mm_prefetch((const char *)p + 4 * i + AHEAD, _MM_HINT_T1);
    _mm_prefetch((const char *)p + 4 * i + NEAR, _MM_HINT_T0);
    __m512i r = _mm512_loadu_si512(p + 4 * i), tag = _mm512_and_si512(r, tags);
    unsigned stop = _mm512_movepi32_mask(r);
    stop |= _mm512_cmplt_epu32_mask(tag, _mm512_alignr_epi32(tag, before, 15));
    before = tag;
    __m512i lo = _mm512_cvtepu32_epi64(_mm512_castsi512_si256(tag));
    __m512i hi = _mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(tag, 1));
    _mm512_storeu_si512(t + i, _mm512_add_epi64(_mm512_mul_epu32(lo, num), base));
    _mm512_storeu_si512(t + i + 8, _mm512_add_epi64(_mm512_mul_epu32(hi, num), base));
    _mm_storeu_si128((__m128i *)(c + i), _mm512_cvtepi32_epi8(_mm512_srli_epi32(r, 25)));
    if (stop) {
      i += (size_t)__builtin_ctz(stop);
      break;
    }
  }
  if (i) d->last = t[i - 1];
  return i;
}
#endif
