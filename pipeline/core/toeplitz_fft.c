/* Order of the layers, and twiddles. */
#include "toeplitz_fft.h"

#include "cpu.h"

/* Cantor basis of GF(2^64): V[i]^2 + V[i] = V[i-1]. */
static const uint64_t V[PL_FFT_MAX_LOG + 1] = {
    0x0000000000000001, 0x19c9369f278adc02, 0xa181e7d66f5ff794, 0x5db84357ce785d08,
    0xb973d466f5c9d0ca, 0x521ac889831a075e, 0x033ce8beddc8a656, 0xb5846c4e07b91010,
    0x4087b8cbb37a32ec, 0x00d0d3888c0ae17c, 0xafd5ac70237f2222, 0xe3f5af99cc3aaaf8,
    0x5a1db3b16a0b58b8, 0x09947c54fe7ee248, 0x0e8eaf0e0068f544, 0xa2a113500b4b4f5a,
    0xe96f9805d6ce0bb0, 0x53496f8b5c9edd4c, 0xad325cb6f4ac2a9e, 0x4a8dcf8bd7ede826,
    0xa3e9c552b6434210, 0x5fa92ad9c9bc7ed0};

const pl_fft_kernel *pl_fft_kernels(int level) {
#if defined(__x86_64__)
  if (level >= PL_SIMD_AVX512) return &pl_fft_avx512;
  if (level >= PL_SIMD_VPCLMUL) return &pl_fft_vpclmul;
  if (level >= PL_SIMD_SSE) return &pl_fft_sse;
#elif defined(__aarch64__)
  if (level >= PL_SIMD_NEON) return &pl_fft_neon;
#endif
  (void)level;
  return &pl_fft_portable;
}

void pl_fft_twiddles(uint64_t *twiddles, int log) {
  twiddles[0] = 0;
  for (int i = 0; i < log - 1; i++)
    for (size_t j = 0; j < (size_t)1 << i; j++)
      twiddles[((size_t)1 << i) + j] = twiddles[j] ^ V[i + 1];
}

static void add_words(uint64_t *restrict to, const uint64_t *restrict from, size_t n) {
  for (size_t i = 0; i < n; i++) to[i] ^= from[i];
}

/* Block `j` of that size, 2^(an even number) leaves: depth first, so that each block is finished in cache. */
static void transform(const pl_fft_kernel *kernel, enum pl_fft_mode mode, uint64_t *data, int log,
                      size_t j, const uint64_t *t) {
  if (log == kernel->leaf_log) {
    kernel->leaves[mode](data, t, j, 1);
    return;
  }
  size_t quarter = (size_t)1 << (log - 2);
  const uint64_t w[3] = {t[j], t[2 * j], t[2 * j + 1]};
  if (mode != PL_FFT_OUT) kernel->radix4[mode](data, quarter, w);
  if (log - 2 == kernel->leaf_log) {
    kernel->leaves[mode](data, t, 4 * j, 4);
  } else {
    for (size_t q = 0; q < 4; q++)
      transform(kernel, mode, data + q * quarter, log - 2, 4 * j + q, t);
  }
  if (mode == PL_FFT_OUT) kernel->radix4[mode](data, quarter, w);
}

void pl_fft(const pl_fft_kernel *kernel, enum pl_fft_mode mode, uint64_t *data, int log,
            const uint64_t *twiddles) {
  if ((log - kernel->leaf_log) % 2 == 0) {
    transform(kernel, mode, data, log, 0, twiddles);
    return;
  }
  size_t half = (size_t)1 << (log - 1); /* the first twiddle is zero: additions only */
  if (mode == PL_FFT_FORWARD) add_words(data + half, data, half);
  if (mode == PL_FFT_SEED) add_words(data, data + half, half);
  transform(kernel, mode, data, log - 1, 0, twiddles);
  transform(kernel, mode, data + half, log - 1, 1, twiddles);
  if (mode == PL_FFT_OUT) add_words(data, data + half, half);
}
