/* GF(2^128) with PMULL. */
#include "gf128.h"

#if defined(__aarch64__)
#include "pmull.h"

typedef uint64x2_t block;

INLINE block to_block(pl_u128 a) { return vcombine_u64(vcreate_u64(a.lo), vcreate_u64(a.hi)); }

INLINE pl_u128 from_block(block a) {
  return (pl_u128){vgetq_lane_u64(a, 0), vgetq_lane_u64(a, 1)};
}

INLINE block load_bytes(const uint8_t *from) {
  block swapped = vreinterpretq_u64_u8(vrev64q_u8(vld1q_u8(from)));
  return vextq_u64(swapped, swapped, 1);
}

INLINE block add(block a, block b) { return veorq_u64(a, b); }
INLINE block up(block a) { return vextq_u64(vdupq_n_u64(0), a, 1); }
INLINE block down(block a) { return vextq_u64(a, vdupq_n_u64(0), 1); }

INLINE block cross_product(block a, block b) {
  block turned = vextq_u64(b, b, 1);
  return add(low_product(a, turned), high_product(a, turned));
}

#include "gf128_blocks.h"

const pl_gf128_kernel pl_gf128_neon = {multiply, absorb};
#endif
