/* Transform kernels in plain C. */
#include <string.h>

#include "gf128.h"
#include "toeplitz_fft.h"

#define TARGET
#define INLINE static inline __attribute__((always_inline))
#define NAME pl_fft_portable
#define LANES 4

typedef struct {
  uint64_t v[4];
} lanes;
typedef struct {
  pl_u128 v[4];
} wide;

INLINE lanes load(const uint64_t *from) {
  lanes a;
  memcpy(&a, from, sizeof a);
  return a;
}

INLINE void store(uint64_t *to, lanes a) { memcpy(to, &a, sizeof a); }

INLINE lanes spread(uint64_t a) { return (lanes){{a, a, a, a}}; }

INLINE lanes add(lanes a, lanes b) {
  for (int i = 0; i < 4; i++) a.v[i] ^= b.v[i];
  return a;
}

INLINE void transpose(lanes a[4]) {
  for (int r = 0; r < 4; r++)
    for (int c = r + 1; c < 4; c++) {
      uint64_t held = a[r].v[c];
      a[r].v[c] = a[c].v[r];
      a[c].v[r] = held;
    }
}

INLINE wide wide_zero(void) {
  wide sum;
  memset(&sum, 0, sizeof sum);
  return sum;
}

INLINE wide wide_add_product(wide sum, lanes a, lanes b) {
  for (int i = 0; i < 4; i++) {
    pl_u128 product = pl_clmul64(a.v[i], b.v[i]);
    sum.v[i].lo ^= product.lo;
    sum.v[i].hi ^= product.hi;
  }
  return sum;
}

/* x^64 = x^4 + x^3 + x + 1; what that lifts above x^63 again is added to the upper half first. */
INLINE lanes wide_reduce(wide sum) {
  lanes a;
  for (int i = 0; i < 4; i++) {
    uint64_t high = sum.v[i].hi;
    high ^= high >> 60 ^ high >> 61 ^ high >> 63;
    a.v[i] = sum.v[i].lo ^ high ^ high << 1 ^ high << 3 ^ high << 4;
  }
  return a;
}

#include "toeplitz_lanes.h"
