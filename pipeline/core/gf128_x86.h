/* The x86 kernels behind pl_gf128_kernels. */
#ifndef PHOTONLINK_GF128_X86_H
#define PHOTONLINK_GF128_X86_H
#include "gf128.h"

#if defined(__x86_64__)
#define PL_GF128_X86 1
pl_u128 pl_gf128_multiply_sse(pl_u128 a, pl_u128 b);
pl_u128 pl_gf128_absorb_sse(pl_u128 hash, const pl_u128 powers[PL_GF128_POWERS],
                            const uint8_t *data, size_t blocks);
pl_u128 pl_gf128_absorb_vpclmul(pl_u128 hash, const pl_u128 powers[PL_GF128_POWERS],
                                const uint8_t *data, size_t blocks);
pl_u128 pl_dot_sse(const uint64_t *a, const uint64_t *b, size_t n);
#else
#define PL_GF128_X86 0
#endif
#endif
