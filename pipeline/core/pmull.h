/* Carry-less products with PMULL of 64-bit Arm (FEAT_PMULL). */
#ifndef PHOTONLINK_PMULL_H
#define PHOTONLINK_PMULL_H
#include <arm_neon.h>

/* The compilers' names for it: PMULL on 64 bits came with the AES instructions. */
#if defined(__clang__)
#define TARGET __attribute__((target("aes")))
#else
#define TARGET __attribute__((target("+crypto")))
#endif
#define INLINE TARGET static inline __attribute__((always_inline))

INLINE uint64x2_t low_product(uint64x2_t a, uint64x2_t b) {
  poly64_t x = (poly64_t)vgetq_lane_u64(a, 0), y = (poly64_t)vgetq_lane_u64(b, 0);
  return vreinterpretq_u64_p128(vmull_p64(x, y));
}

INLINE uint64x2_t high_product(uint64x2_t a, uint64x2_t b) {
  return vreinterpretq_u64_p128(vmull_high_p64(vreinterpretq_p64_u64(a), vreinterpretq_p64_u64(b)));
}
#endif
