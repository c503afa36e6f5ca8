/* Transform kernels with PMULL: two registers hold the four lanes. */
#include "toeplitz_fft.h"

#if defined(__aarch64__)
#include "pmull.h"

#define NAME pl_fft_neon
#define LANES 4

typedef struct {
  uint64x2_t v[2];
} lanes;
typedef struct {
  uint64x2_t even[2], odd[2];
} wide;

INLINE lanes load(const uint64_t *from) { return (lanes){{vld1q_u64(from), vld1q_u64(from + 2)}}; }

INLINE void store(uint64_t *to, lanes a) {
  vst1q_u64(to, a.v[0]);
  vst1q_u64(to + 2, a.v[1]);
}

INLINE lanes spread(uint64_t a) { return (lanes){{vdupq_n_u64(a), vdupq_n_u64(a)}}; }

INLINE lanes add(lanes a, lanes b) {
  return (lanes){{veorq_u64(a.v[0], b.v[0]), veorq_u64(a.v[1], b.v[1])}};
}

INLINE void transpose(lanes a[4]) {
  lanes t[4];
  for (int h = 0; h < 2; h++) {
    t[2 * h].v[0] = vzip1q_u64(a[0].v[h], a[1].v[h]);
    t[2 * h].v[1] = vzip1q_u64(a[2].v[h], a[3].v[h]);
    t[2 * h + 1].v[0] = vzip2q_u64(a[0].v[h], a[1].v[h]);
    t[2 * h + 1].v[1] = vzip2q_u64(a[2].v[h], a[3].v[h]);
  }
  for (int r = 0; r < 4; r++) a[r] = t[r];
}

INLINE wide wide_zero(void) {
  uint64x2_t z = vdupq_n_u64(0);
  return (wide){{z, z}, {z, z}};
}

INLINE wide wide_add_product(wide sum, lanes a, lanes b) {
  for (int h = 0; h < 2; h++) {
    sum.even[h] = veorq_u64(sum.even[h], low_product(a.v[h], b.v[h]));
    sum.odd[h] = veorq_u64(sum.odd[h], high_product(a.v[h], b.v[h]));
  }
  return sum;
}

/* x^64 = x^4 + x^3 + x + 1; what that lifts above x^63 again is added to the upper half first. */
INLINE uint64x2_t reduce_pair(uint64x2_t even, uint64x2_t odd) {
  uint64x2_t low = vzip1q_u64(even, odd), high = vzip2q_u64(even, odd);
  uint64x2_t over = veorq_u64(vshrq_n_u64(high, 60), vshrq_n_u64(high, 61));
  high = veorq_u64(high, veorq_u64(over, vshrq_n_u64(high, 63)));
  uint64x2_t shifted = veorq_u64(vshlq_n_u64(high, 3), vshlq_n_u64(high, 4));
  shifted = veorq_u64(shifted, vshlq_n_u64(high, 1));
  return veorq_u64(veorq_u64(low, high), shifted);
}

INLINE lanes wide_reduce(wide sum) {
  return (lanes){{reduce_pair(sum.even[0], sum.odd[0]), reduce_pair(sum.even[1], sum.odd[1])}};
}

#include "toeplitz_lanes.h"
#endif
