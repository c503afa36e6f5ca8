/* The kernels of toeplitz_fft.h on four lanes of 64 bits, once per level. The including file
 * defines INLINE, TARGET, NAME and, for its type `lanes`: load, store, spread, add, transpose, and
 * for its type `wide` (unreduced products) wide_zero, wide_add_product, wide_reduce. */

INLINE lanes multiply(lanes a, lanes b) {
  return wide_reduce(wide_add_product(wide_zero(), a, b));
}

INLINE void butterfly(enum pl_fft_mode mode, lanes *a, lanes *b, lanes w) {
  if (mode == PL_FFT_FORWARD) {
    *a = add(*a, multiply(*b, w));
    *b = add(*b, *a);
  } else if (mode == PL_FFT_SEED) {
    *b = add(*b, multiply(*a, w));
    *a = add(*a, *b);
  } else {
    *a = add(*a, *b);
    *b = add(*b, multiply(*a, w));
  }
}

/* Two layers: first 0-2 and 1-3 with w[0], then 0-1 with w[1] and 2-3 with w[2]. */
INLINE void two_layers(enum pl_fft_mode mode, lanes v[4], const lanes w[3]) {
  if (mode != PL_FFT_OUT) {
    butterfly(mode, &v[0], &v[2], w[0]);
    butterfly(mode, &v[1], &v[3], w[0]);
  }
  butterfly(mode, &v[0], &v[1], w[1]);
  butterfly(mode, &v[2], &v[3], w[2]);
  if (mode == PL_FFT_OUT) {
    butterfly(mode, &v[0], &v[2], w[0]);
    butterfly(mode, &v[1], &v[3], w[0]);
  }
}

INLINE void radix4(enum pl_fft_mode mode, uint64_t *data, size_t n, const uint64_t twiddles[3]) {
  const lanes w[3] = {spread(twiddles[0]), spread(twiddles[1]), spread(twiddles[2])};
  for (size_t i = 0; i < n; i += 4) {
    lanes v[4];
    for (size_t q = 0; q < 4; q++) v[q] = load(data + q * n + i);
    two_layers(mode, v, w);
    for (size_t q = 0; q < 4; q++) store(data + q * n + i, v[q]);
  }
}

/* Layers 3 and 2 act between four vectors; transposed, layers 1 and 0 do too. The twiddle table
 * is linear in its index, so those of four neighbouring blocks differ by fixed amounts. */
INLINE void leaves(enum pl_fft_mode mode, uint64_t *data, const uint64_t *t, size_t first,
                   size_t count) {
  const uint64_t even[4] = {t[0], t[2], t[4], t[6]};
  const lanes near = load(t), far = load(even), one = spread(t[1]);
  for (size_t j = first; j < first + count; j++, data += 16) {
    lanes v[4];
    for (size_t q = 0; q < 4; q++) v[q] = load(data + 4 * q);
    lanes high[3] = {spread(t[j]), spread(t[2 * j]), spread(t[2 * j + 1])};
    lanes even_blocks = add(spread(t[8 * j]), far);
    lanes low[3] = {add(spread(t[4 * j]), near), even_blocks, add(even_blocks, one)};
    if (mode == PL_FFT_OUT) {
      two_layers(mode, v, low);
      transpose(v);
      two_layers(mode, v, high);
    } else {
      two_layers(mode, v, high);
      transpose(v);
      two_layers(mode, v, low);
    }
    for (size_t q = 0; q < 4; q++) store(data + 4 * q, v[q]);
  }
}

TARGET static void multiply_rows(uint64_t *out, const uint64_t *x, const uint64_t *s, size_t rows,
                                 size_t stride) {
  for (size_t i = 0; i < stride; i += 4) {
    wide sum = wide_zero();
    for (size_t r = 0; r < rows; r++)
      sum = wide_add_product(sum, load(x + r * stride + i), load(s + r * stride + i));
    store(out + i, wide_reduce(sum));
  }
}

#define BOTH(MODE, SUFFIX)                                                                     \
  TARGET static void radix4_##SUFFIX(uint64_t *data, size_t n, const uint64_t w[3]) {          \
    radix4(MODE, data, n, w);                                                                  \
  }                                                                                            \
  TARGET static void leaves_##SUFFIX(uint64_t *data, const uint64_t *t, size_t first,          \
                                     size_t count) {                                           \
    leaves(MODE, data, t, first, count);                                                       \
  }
BOTH(PL_FFT_FORWARD, forward)
BOTH(PL_FFT_SEED, seed)
BOTH(PL_FFT_OUT, out)

#define WORD uint32_t
#define TYPED(name) name##_32
#include "toeplitz_basis.h"
#undef WORD
#undef TYPED
#define WORD uint64_t
#define TYPED(name) name##_64
#include "toeplitz_basis.h"

TARGET static void basis_32(enum pl_fft_mode mode, uint32_t *data, int log) {
  change_32(mode, data, log, 1);
}

TARGET static void basis_64(enum pl_fft_mode mode, uint64_t *data, int log) {
  change_64(mode, data, log, 1);
}

const pl_fft_kernel NAME = {{radix4_forward, radix4_seed, radix4_out},
                            {leaves_forward, leaves_seed, leaves_out},
                            multiply_rows,
                            basis_32,
                            basis_64};
