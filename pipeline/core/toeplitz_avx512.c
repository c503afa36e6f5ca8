/* Transform kernels with VPCLMULQDQ on 512 bits. */
#include "toeplitz_fft.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#if defined(__clang__)
#define WIDTH
#else
#define WIDTH ",prefer-vector-width=512" /* for plain loops: the change of basis */
#endif
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,gfni,vpclmulqdq" WIDTH)))
#define INLINE TARGET static inline __attribute__((always_inline))
#define NAME pl_fft_avx512
#define LANES 8

typedef __m512i lanes;
typedef struct {
  __m512i even, odd;
} wide;

INLINE lanes load(const uint64_t *from) { return _mm512_loadu_si512(from); }

INLINE void store(uint64_t *to, lanes a) { _mm512_storeu_si512(to, a); }

INLINE lanes spread(uint64_t a) { return _mm512_set1_epi64((long long)a); }

INLINE lanes add(lanes a, lanes b) { return _mm512_xor_si512(a, b); }

/* Even and odd columns, then of those every second, then every fourth. */
INLINE void transpose(lanes a[8]) {
  lanes t[8], u[8];
  for (int r = 0; r < 4; r++) {
    t[r] = _mm512_unpacklo_epi64(a[2 * r], a[2 * r + 1]);
    t[4 + r] = _mm512_unpackhi_epi64(a[2 * r], a[2 * r + 1]);
  }
  for (int h = 0; h < 4; h++) {
    u[2 * h] = _mm512_shuffle_i64x2(t[2 * h], t[2 * h + 1], 0x88);
    u[2 * h + 1] = _mm512_shuffle_i64x2(t[2 * h], t[2 * h + 1], 0xdd);
  }
  for (int odd = 0; odd < 2; odd++)
    for (int c = 0; c < 2; c++) {
      a[odd + 2 * c] = _mm512_shuffle_i64x2(u[4 * odd + c], u[4 * odd + 2 + c], 0x88);
      a[odd + 2 * c + 4] = _mm512_shuffle_i64x2(u[4 * odd + c], u[4 * odd + 2 + c], 0xdd);
    }
}

INLINE wide wide_zero(void) { return (wide){_mm512_setzero_si512(), _mm512_setzero_si512()}; }

INLINE wide wide_add_product(wide sum, lanes a, lanes b) {
  sum.even = add(sum.even, _mm512_clmulepi64_epi128(a, b, 0x00));
  sum.odd = add(sum.odd, _mm512_clmulepi64_epi128(a, b, 0x11));
  return sum;
}

/* x^64 = x^4 + x^3 + x + 1, byte by byte, as matrices: the low eight bits of a byte times that, and
 * the bits above, which belong to the next byte; those above the last byte are multiplied again. */
INLINE lanes wide_reduce(wide sum) {
  const lanes same = spread(0x0103060d1b366cd8u), next = spread(0xb060c08000000000u);
  lanes low = _mm512_unpacklo_epi64(sum.even, sum.odd);
  lanes high = _mm512_unpackhi_epi64(sum.even, sum.odd);
  lanes over = _mm512_rol_epi64(_mm512_gf2p8affine_epi64_epi8(high, next, 0), 8);
  over = _mm512_mask_gf2p8affine_epi64_epi8(over, 0x0101010101010101u, over, same, 0);
  high = _mm512_gf2p8affine_epi64_epi8(high, same, 0);
  return _mm512_ternarylogic_epi64(low, high, over, 0x96); /* all three added */
}

#include "toeplitz_lanes.h"
#endif
