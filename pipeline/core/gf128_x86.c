/* GF(2^128) with PCLMULQDQ and VPCLMULQDQ. */
#include "gf128.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("pclmul,sse4.1,ssse3")))
#define INLINE TARGET static inline __attribute__((always_inline))

typedef __m128i block;

INLINE block to_block(pl_u128 a) { return _mm_set_epi64x((long long)a.hi, (long long)a.lo); }

INLINE pl_u128 from_block(block a) {
  return (pl_u128){(uint64_t)_mm_cvtsi128_si64(a), (uint64_t)_mm_extract_epi64(a, 1)};
}

INLINE block load_bytes(const uint8_t *from) {
  const __m128i reverse = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)from), reverse);
}

INLINE block add(block a, block b) { return _mm_xor_si128(a, b); }
INLINE block up(block a) { return _mm_slli_si128(a, 8); }
INLINE block down(block a) { return _mm_srli_si128(a, 8); }
INLINE block low_product(block a, block b) { return _mm_clmulepi64_si128(a, b, 0x00); }
INLINE block high_product(block a, block b) { return _mm_clmulepi64_si128(a, b, 0x11); }

INLINE block cross_product(block a, block b) {
  return add(_mm_clmulepi64_si128(a, b, 0x01), _mm_clmulepi64_si128(a, b, 0x10));
}

#include "gf128_blocks.h"

#define WIDE __attribute__((target("avx2,vpclmulqdq,pclmul")))

WIDE static inline block halves(__m256i a) {
  return add(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
}

/* Two blocks per register and 16 per reduction; the two halves of the sums are added at its end. */
WIDE static pl_u128 absorb_wide(pl_u128 hash, const pl_u128 powers[PL_GF128_POWERS],
                                const uint8_t *data, size_t blocks) {
  const __m256i reverse = _mm256_broadcastsi128_si256(
      _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  __m256i power[8];
  for (int i = 0; i < 8; i++) /* k^(16-2i), k^(15-2i) */
    power[i] = _mm256_set_m128i(to_block(powers[14 - 2 * i]), to_block(powers[15 - 2 * i]));
  block h = to_block(hash);
  for (; blocks >= 16; blocks -= 16, data += 256) {
    __m256i low = _mm256_setzero_si256(), middle = low, high = low;
    for (int i = 7; i >= 0; i--) { /* the pair that waits for the last hash comes last */
      __m256i pair = _mm256_loadu_si256((const __m256i *)(data + 32 * i));
      pair = _mm256_shuffle_epi8(pair, reverse);
      if (i == 0) pair = _mm256_xor_si256(pair, _mm256_zextsi128_si256(h));
      low = _mm256_xor_si256(low, _mm256_clmulepi64_epi128(pair, power[i], 0x00));
      high = _mm256_xor_si256(high, _mm256_clmulepi64_epi128(pair, power[i], 0x11));
      middle = _mm256_xor_si256(middle, _mm256_clmulepi64_epi128(pair, power[i], 0x01));
      middle = _mm256_xor_si256(middle, _mm256_clmulepi64_epi128(pair, power[i], 0x10));
    }
    h = reduce((triple){halves(low), halves(middle), halves(high)});
  }
  return absorb(from_block(h), powers, data, blocks);
}

#define WIDEST __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,vpclmulqdq,pclmul")))

WIDEST static inline block quarters(__m512i a) {
  return halves(_mm256_xor_si256(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1)));
}

/* Four blocks per register and 32 per reduction. */
WIDEST static pl_u128 absorb_widest(pl_u128 hash, const pl_u128 powers[PL_GF128_POWERS],
                                    const uint8_t *data, size_t blocks) {
  enum { N = PL_GF128_POWERS / 4 };
  const __m512i reverse = _mm512_broadcast_i32x4(
      _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  const __m512i turn = _mm512_set_epi64(1, 0, 3, 2, 5, 4, 7, 6);
  __m512i power[N];
  for (int i = 0; i < N; i++) /* highest first */
    power[i] = _mm512_permutexvar_epi64(turn, _mm512_loadu_si512(&powers[4 * (N - 1 - i)]));
  block h = to_block(hash);
  for (; blocks >= 4 * N; blocks -= 4 * N, data += 64 * N) {
    __m512i low = _mm512_setzero_si512(), middle = low, other = low, high = low;
    for (int i = N - 1; i >= 0; i--) {
      __m512i four = _mm512_shuffle_epi8(_mm512_loadu_si512(data + 64 * i), reverse);
      if (i == 0) four = _mm512_xor_si512(four, _mm512_zextsi128_si512(h));
      low = _mm512_xor_si512(low, _mm512_clmulepi64_epi128(four, power[i], 0x00));
      high = _mm512_xor_si512(high, _mm512_clmulepi64_epi128(four, power[i], 0x11));
      middle = _mm512_xor_si512(middle, _mm512_clmulepi64_epi128(four, power[i], 0x01));
      other = _mm512_xor_si512(other, _mm512_clmulepi64_epi128(four, power[i], 0x10));
    }
    middle = _mm512_xor_si512(middle, other);
    h = reduce((triple){quarters(low), quarters(middle), quarters(high)});
  }
  return absorb_wide(from_block(h), powers, data, blocks);
}

const pl_gf128_kernel pl_gf128_avx512 = {multiply, absorb_widest};
const pl_gf128_kernel pl_gf128_sse = {multiply, absorb};
const pl_gf128_kernel pl_gf128_vpclmul = {multiply, absorb_wide};
#endif
