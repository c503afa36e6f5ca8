/* Transform kernels with PCLMULQDQ: two registers hold the four lanes. */
#include "toeplitz_fft.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("pclmul,sse4.1")))
#define INLINE TARGET static inline __attribute__((always_inline))
#define NAME pl_fft_sse
#define LANES 4

typedef struct {
  __m128i v[2];
} lanes;
typedef struct {
  __m128i even[2], odd[2];
} wide;

INLINE lanes load(const uint64_t *from) {
  const __m128i *at = (const __m128i *)from;
  return (lanes){{_mm_loadu_si128(at), _mm_loadu_si128(at + 1)}};
}

INLINE void store(uint64_t *to, lanes a) {
  _mm_storeu_si128((__m128i *)to, a.v[0]);
  _mm_storeu_si128((__m128i *)to + 1, a.v[1]);
}

INLINE lanes spread(uint64_t a) {
  __m128i both = _mm_set1_epi64x((long long)a);
  return (lanes){{both, both}};
}

INLINE lanes add(lanes a, lanes b) {
  return (lanes){{_mm_xor_si128(a.v[0], b.v[0]), _mm_xor_si128(a.v[1], b.v[1])}};
}

INLINE void transpose(lanes a[4]) {
  lanes t[4];
  for (int h = 0; h < 2; h++) {
    t[2 * h].v[0] = _mm_unpacklo_epi64(a[0].v[h], a[1].v[h]);
    t[2 * h].v[1] = _mm_unpacklo_epi64(a[2].v[h], a[3].v[h]);
    t[2 * h + 1].v[0] = _mm_unpackhi_epi64(a[0].v[h], a[1].v[h]);
    t[2 * h + 1].v[1] = _mm_unpackhi_epi64(a[2].v[h], a[3].v[h]);
  }
  for (int r = 0; r < 4; r++) a[r] = t[r];
}

INLINE wide wide_zero(void) {
  __m128i z = _mm_setzero_si128();
  return (wide){{z, z}, {z, z}};
}

INLINE wide wide_add_product(wide sum, lanes a, lanes b) {
  for (int h = 0; h < 2; h++) {
    sum.even[h] = _mm_xor_si128(sum.even[h], _mm_clmulepi64_si128(a.v[h], b.v[h], 0x00));
    sum.odd[h] = _mm_xor_si128(sum.odd[h], _mm_clmulepi64_si128(a.v[h], b.v[h], 0x11));
  }
  return sum;
}

/* x^64 = x^4 + x^3 + x + 1; what that lifts above x^63 again is added to the upper half first. */
INLINE __m128i reduce_pair(__m128i even, __m128i odd) {
  __m128i low = _mm_unpacklo_epi64(even, odd), high = _mm_unpackhi_epi64(even, odd);
  __m128i over = _mm_xor_si128(_mm_srli_epi64(high, 60), _mm_srli_epi64(high, 61));
  high = _mm_xor_si128(high, _mm_xor_si128(over, _mm_srli_epi64(high, 63)));
  __m128i shifted = _mm_xor_si128(_mm_slli_epi64(high, 3), _mm_slli_epi64(high, 4));
  shifted = _mm_xor_si128(shifted, _mm_slli_epi64(high, 1));
  return _mm_xor_si128(_mm_xor_si128(low, high), shifted);
}

INLINE lanes wide_reduce(wide sum) {
  return (lanes){{reduce_pair(sum.even[0], sum.odd[0]), reduce_pair(sum.even[1], sum.odd[1])}};
}

#include "toeplitz_lanes.h"
#endif
