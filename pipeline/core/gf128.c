/* Portable kernels, and the choice between levels. */
#include "gf128.h"

#include <string.h>

#include "cpu.h"

__extension__ typedef unsigned __int128 wide;

/* Bits four apart: with at most 15 of them in one factor, the integer product counts each
 * coefficient in its own four bits and the lowest of them is the carry-less coefficient. */
static const uint64_t COMB = 0x1111111111111111u;

pl_u128 pl_clmul64(uint64_t a, uint64_t b) {
  const wide comb = (wide)COMB << 64 | COMB;
  uint64_t low = a & ~(0xfull << 60); /* 15 bits per comb; the top four follow below */
  wide sum = 0;
  for (int r = 0; r < 4; r++) {
    wide part = 0;
    for (int i = 0; i < 4; i++) {
      wide left = low & (COMB << i), right = b & (COMB << ((r - i) & 3));
      part ^= left * right;
    }
    sum ^= part & comb << r;
  }
  for (int i = 60; i < 64; i++) {
    wide mask = -(wide)(a >> i & 1);
    sum ^= ((wide)b << i) & mask;
  }
  return (pl_u128){(uint64_t)sum, (uint64_t)(sum >> 64)};
}

pl_u128 pl_gf128_load(const uint8_t block[16]) {
  uint64_t word[2];
  memcpy(word, block, 16);
  return (pl_u128){__builtin_bswap64(word[1]), __builtin_bswap64(word[0])};
}

void pl_gf128_store(uint8_t block[16], pl_u128 value) {
  uint64_t word[2] = {__builtin_bswap64(value.hi), __builtin_bswap64(value.lo)};
  memcpy(block, word, 16);
}

/* Times x^7+x^2+x+1, which x^128 is; the upper part of the result has seven bits. */
static pl_u128 fold(uint64_t a) {
  return (pl_u128){a ^ a << 1 ^ a << 2 ^ a << 7, a >> 63 ^ a >> 62 ^ a >> 57};
}

static pl_u128 multiply(pl_u128 a, pl_u128 b) {
  pl_u128 low = pl_clmul64(a.lo, b.lo), high = pl_clmul64(a.hi, b.hi);
  pl_u128 middle = pl_clmul64(a.lo ^ a.hi, b.lo ^ b.hi);
  middle.lo ^= low.lo ^ high.lo;
  middle.hi ^= low.hi ^ high.hi;
  pl_u128 top = fold(high.hi);
  pl_u128 rest = fold(high.lo ^ middle.hi ^ top.hi);
  return (pl_u128){low.lo ^ rest.lo, low.hi ^ middle.lo ^ rest.hi ^ top.lo};
}

static pl_u128 absorb(pl_u128 hash, const pl_u128 powers[PL_GF128_POWERS], const uint8_t *data,
                      size_t blocks) {
  for (; blocks > 0; blocks--, data += 16) {
    pl_u128 block = pl_gf128_load(data);
    hash = multiply((pl_u128){hash.lo ^ block.lo, hash.hi ^ block.hi}, powers[0]);
  }
  return hash;
}

const pl_gf128_kernel *pl_gf128_kernels(int level) {
  static const pl_gf128_kernel portable = {multiply, absorb};
#if defined(__x86_64__)
  if (level >= PL_SIMD_AVX512) return &pl_gf128_avx512;
  if (level >= PL_SIMD_VPCLMUL) return &pl_gf128_vpclmul;
  if (level >= PL_SIMD_SSE) return &pl_gf128_sse;
#elif defined(__aarch64__)
  if (level >= PL_SIMD_NEON) return &pl_gf128_neon;
#endif
  (void)level;
  return &portable;
}
