/* Transform kernels with VPCLMULQDQ on 256 bits: one register holds the four lanes. */
#include "toeplitz_fft.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx2,vpclmulqdq")))
#define INLINE TARGET static inline __attribute__((always_inline))
#define NAME pl_fft_vpclmul
#define LANES 4

typedef __m256i lanes;
typedef struct {
  __m256i even, odd;
} wide;

INLINE lanes load(const uint64_t *from) { return _mm256_loadu_si256((const __m256i *)from); }

INLINE void store(uint64_t *to, lanes a) { _mm256_storeu_si256((__m256i *)to, a); }

INLINE lanes spread(uint64_t a) { return _mm256_set1_epi64x((long long)a); }

INLINE lanes add(lanes a, lanes b) { return _mm256_xor_si256(a, b); }

INLINE void transpose(lanes a[4]) {
  lanes low01 = _mm256_unpacklo_epi64(a[0], a[1]), high01 = _mm256_unpackhi_epi64(a[0], a[1]);
  lanes low23 = _mm256_unpacklo_epi64(a[2], a[3]), high23 = _mm256_unpackhi_epi64(a[2], a[3]);
  a[0] = _mm256_permute2x128_si256(low01, low23, 0x20);
  a[1] = _mm256_permute2x128_si256(high01, high23, 0x20);
  a[2] = _mm256_permute2x128_si256(low01, low23, 0x31);
  a[3] = _mm256_permute2x128_si256(high01, high23, 0x31);
}

INLINE wide wide_zero(void) { return (wide){_mm256_setzero_si256(), _mm256_setzero_si256()}; }

INLINE wide wide_add_product(wide sum, lanes a, lanes b) {
  sum.even = add(sum.even, _mm256_clmulepi64_epi128(a, b, 0x00));
  sum.odd = add(sum.odd, _mm256_clmulepi64_epi128(a, b, 0x11));
  return sum;
}

/* x^64 = x^4 + x^3 + x + 1; what that lifts above x^63 again is added to the upper half first. */
INLINE lanes wide_reduce(wide sum) {
  lanes low = _mm256_unpacklo_epi64(sum.even, sum.odd);
  lanes high = _mm256_unpackhi_epi64(sum.even, sum.odd);
  lanes over = add(_mm256_srli_epi64(high, 60), _mm256_srli_epi64(high, 61));
  high = add(high, add(over, _mm256_srli_epi64(high, 63)));
  lanes shifted = add(_mm256_slli_epi64(high, 3), _mm256_slli_epi64(high, 4));
  return add(add(low, high), add(shifted, _mm256_slli_epi64(high, 1)));
}

#include "toeplitz_lanes.h"
#endif
