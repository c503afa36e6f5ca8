/* Carry-less products and GF(2^128), x^128+x^7+x^2+x+1, most significant bit = highest power.
 * Every kernel is constant time: no branch and no address depends on the data. */
#ifndef PHOTONLINK_GF128_H
#define PHOTONLINK_GF128_H
#include "core.h"

typedef struct {
  uint64_t lo, hi;
} pl_u128;

enum { PL_GF128_POWERS = 32 };

typedef struct {
  pl_u128 (*multiply)(pl_u128 a, pl_u128 b);
  /* hash = (...((hash ^ b1) k ^ b2) k ...) k over whole blocks; powers[i] = k^(i+1). */
  pl_u128 (*absorb)(pl_u128 hash, const pl_u128 powers[PL_GF128_POWERS], const uint8_t *data,
                    size_t blocks);
} pl_gf128_kernel;

#if defined(__x86_64__)
extern const pl_gf128_kernel pl_gf128_sse, pl_gf128_vpclmul, pl_gf128_avx512;
#elif defined(__aarch64__)
extern const pl_gf128_kernel pl_gf128_neon;
#endif
/* The kernels of a level, or of the nearest one below it that this build has. */
const pl_gf128_kernel *pl_gf128_kernels(int level);

/* Portable 64 x 64 -> 128. */
pl_u128 pl_clmul64(uint64_t a, uint64_t b);
pl_u128 pl_gf128_load(const uint8_t block[16]);
void pl_gf128_store(uint8_t block[16], pl_u128 value);
#endif
