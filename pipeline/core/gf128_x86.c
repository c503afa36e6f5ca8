/* GF(2^128) with PCLMULQDQ and VPCLMULQDQ. */
#include "gf128_x86.h"

#if PL_GF128_X86
#include <immintrin.h>

#define SSE __attribute__((target("pclmul,sse4.1,ssse3")))

/* An unreduced product of 256 bits in three overlapping parts. */
typedef struct {
  __m128i low, middle, high;
} triple;

SSE static inline __m128i to_vector(pl_u128 a) {
  return _mm_set_epi64x((long long)a.hi, (long long)a.lo);
}

SSE static inline pl_u128 from_vector(__m128i a) {
  return (pl_u128){(uint64_t)_mm_cvtsi128_si64(a), (uint64_t)_mm_extract_epi64(a, 1)};
}

SSE static inline void accumulate(triple *sum, __m128i a, __m128i b) {
  sum->low = _mm_xor_si128(sum->low, _mm_clmulepi64_si128(a, b, 0x00));
  sum->high = _mm_xor_si128(sum->high, _mm_clmulepi64_si128(a, b, 0x11));
  __m128i cross = _mm_xor_si128(_mm_clmulepi64_si128(a, b, 0x01), _mm_clmulepi64_si128(a, b, 0x10));
  sum->middle = _mm_xor_si128(sum->middle, cross);
}

SSE static inline __m128i reduce(triple t) {
  const __m128i tail = _mm_set_epi64x(0, 0x87);
  __m128i low = _mm_xor_si128(t.low, _mm_slli_si128(t.middle, 8));
  __m128i high = _mm_xor_si128(t.high, _mm_srli_si128(t.middle, 8));
  __m128i top = _mm_clmulepi64_si128(high, tail, 0x01);
  high = _mm_xor_si128(high, _mm_srli_si128(top, 8));
  low = _mm_xor_si128(low, _mm_slli_si128(top, 8));
  return _mm_xor_si128(low, _mm_clmulepi64_si128(high, tail, 0x00));
}

SSE pl_u128 pl_gf128_multiply_sse(pl_u128 a, pl_u128 b) {
  triple t = {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()};
  accumulate(&t, to_vector(a), to_vector(b));
  return from_vector(reduce(t));
}

SSE static inline __m128i load_block(const uint8_t *data) {
  const __m128i reverse = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)data), reverse);
}

/* n <= 8 blocks with one reduction: (hash ^ b1) k^n ^ b2 k^(n-1) ^ ... ^ bn k. */
SSE static inline __m128i absorb_some(__m128i hash, const __m128i *powers, const uint8_t *data,
                                      size_t n) {
  triple t = {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()};
  accumulate(&t, _mm_xor_si128(hash, load_block(data)), powers[n - 1]);
  for (size_t i = 1; i < n; i++) accumulate(&t, load_block(data + 16 * i), powers[n - 1 - i]);
  return reduce(t);
}

SSE pl_u128 pl_gf128_absorb_sse(pl_u128 hash, const pl_u128 powers[PL_GF128_POWERS],
                                const uint8_t *data, size_t blocks) {
  __m128i h = to_vector(hash), power[8];
  for (int i = 0; i < 8; i++) power[i] = to_vector(powers[i]);
  for (; blocks >= 8; blocks -= 8, data += 128) h = absorb_some(h, power, data, 8);
  if (blocks > 0) h = absorb_some(h, power, data, blocks);
  return from_vector(h);
}

#define WIDE __attribute__((target("avx2,vpclmulqdq,pclmul")))

/* Two blocks per register and 16 per reduction; the two halves of the sums are added at its end. */
WIDE pl_u128 pl_gf128_absorb_vpclmul(pl_u128 hash, const pl_u128 powers[PL_GF128_POWERS],
                                     const uint8_t *data, size_t blocks) {
  const __m256i reverse = _mm256_broadcastsi128_si256(
      _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  __m256i power[8];
  for (int i = 0; i < 8; i++) /* k^(16-2i), k^(15-2i) */
    power[i] = _mm256_set_m128i(to_vector(powers[14 - 2 * i]), to_vector(powers[15 - 2 * i]));
  __m128i h = to_vector(hash);
  for (; blocks >= 16; blocks -= 16, data += 256) {
    __m256i low = _mm256_setzero_si256(), middle = low, high = low;
    for (int i = 0; i < 8; i++) {
      __m256i pair = _mm256_loadu_si256((const __m256i *)(data + 32 * i));
      pair = _mm256_shuffle_epi8(pair, reverse);
      if (i == 0) pair = _mm256_xor_si256(pair, _mm256_zextsi128_si256(h));
      low = _mm256_xor_si256(low, _mm256_clmulepi64_epi128(pair, power[i], 0x00));
      high = _mm256_xor_si256(high, _mm256_clmulepi64_epi128(pair, power[i], 0x11));
      middle = _mm256_xor_si256(middle, _mm256_clmulepi64_epi128(pair, power[i], 0x01));
      middle = _mm256_xor_si256(middle, _mm256_clmulepi64_epi128(pair, power[i], 0x10));
    }
    triple t = {_mm_xor_si128(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1)),
                _mm_xor_si128(_mm256_castsi256_si128(middle), _mm256_extracti128_si256(middle, 1)),
                _mm_xor_si128(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1))};
    h = reduce(t);
  }
  return pl_gf128_absorb_sse(from_vector(h), powers, data, blocks);
}

SSE pl_u128 pl_dot_sse(const uint64_t *a, const uint64_t *b, size_t n) {
  __m128i sum = _mm_setzero_si128(), other = _mm_setzero_si128();
  for (size_t i = 0; i + 2 <= n; i += 2) {
    __m128i left = _mm_loadu_si128((const __m128i *)(a + i));
    __m128i right = _mm_loadu_si128((const __m128i *)(b + i));
    sum = _mm_xor_si128(sum, _mm_clmulepi64_si128(left, right, 0x00));
    other = _mm_xor_si128(other, _mm_clmulepi64_si128(left, right, 0x11));
  }
  return from_vector(_mm_xor_si128(sum, other));
}
#endif
