/* The kernels of toeplitz_fft.h on LANES (4 or 8) lanes of 64 bits, once per level. The including
 * file defines INLINE, TARGET, NAME and, for its type `lanes`: load, store, spread, add, transpose,
 * and for its type `wide` (unreduced products) wide_zero, wide_add_product, wide_reduce. */

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
  for (size_t i = 0; i < n; i += LANES) {
    lanes v[4];
    for (size_t q = 0; q < 4; q++) v[q] = load(data + q * n + i);
    two_layers(mode, v, w);
    for (size_t q = 0; q < 4; q++) store(data + q * n + i, v[q]);
  }
}

#define WORD uint32_t
#define TYPED(name) name##_32
#include "toeplitz_basis.h"
#undef WORD
#undef TYPED
#define WORD uint64_t
#define TYPED(name) name##_64
#include "toeplitz_basis.h"

#if LANES == 4
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
#else
/* The change of basis among 16 elements, left to the leaves: it commutes with the layers above. */
INLINE void change_sixteen(enum pl_fft_mode mode, lanes v[16]) {
#define FORWARD_STEP(to, from) v[to] = add(v[to], v[from]);
#define TRANSPOSED_STEP(to, from) v[from] = add(v[from], v[to]);
  if (mode == PL_FFT_FORWARD) {
    STEPS(FORWARD_STEP)
  } else if (mode == PL_FFT_SEED) {
    STEPS(TRANSPOSED_STEP)
  } else {
    STEPS_BACKWARDS(TRANSPOSED_STEP)
  }
#undef FORWARD_STEP
#undef TRANSPOSED_STEP
}

/* Layers 6 to 4 of one block of 128, between its 16 vectors. */
INLINE void upper(enum pl_fft_mode mode, lanes v[16], const uint64_t *t, size_t j) {
  const lanes w[3] = {spread(t[j]), spread(t[2 * j]), spread(t[2 * j + 1])};
  for (size_t i = 0; i < 4; i++) {
    const lanes last = spread(t[4 * j + i]);
    if (mode != PL_FFT_OUT) continue;
    butterfly(mode, &v[4 * i], &v[4 * i + 2], last);
    butterfly(mode, &v[4 * i + 1], &v[4 * i + 3], last);
  }
  for (size_t i = 0; i < 4; i++) {
    lanes quarters[4] = {v[i], v[i + 4], v[i + 8], v[i + 12]};
    two_layers(mode, quarters, w);
    for (size_t q = 0; q < 4; q++) v[i + 4 * q] = quarters[q];
  }
  for (size_t i = 0; i < 4; i++) {
    const lanes last = spread(t[4 * j + i]);
    if (mode == PL_FFT_OUT) continue;
    butterfly(mode, &v[4 * i], &v[4 * i + 2], last);
    butterfly(mode, &v[4 * i + 1], &v[4 * i + 3], last);
  }
}

/* Lane b of vector l <-> element l of the b-th 16 elements. */
INLINE void turn(lanes v[16], int back) {
  lanes even[8], odd[8];
  for (size_t i = 0; i < 8; i++) {
    even[i] = back ? v[i] : v[2 * i];
    odd[i] = back ? v[8 + i] : v[2 * i + 1];
  }
  transpose(even);
  transpose(odd);
  for (size_t i = 0; i < 8; i++) {
    v[back ? 2 * i : i] = even[i];
    v[back ? 2 * i + 1 : 8 + i] = odd[i];
  }
}

/* Layers 3 to 0 of eight blocks of 16, each with twiddles of its own: the table is linear in its
 * index, so those of layer i are t[64 j >> i] + t[(8 >> i) b] + t[place in the block]. */
INLINE void lower(enum pl_fft_mode mode, lanes v[16], const uint64_t *t, size_t j,
                  const lanes block[4]) {
  const lanes three = add(block[3], spread(t[8 * j])), two = add(block[2], spread(t[16 * j]));
  const lanes one = add(block[1], spread(t[32 * j])), zero = add(block[0], spread(t[64 * j]));
  const lanes w[3] = {three, two, add(two, spread(t[1]))};
  for (int step = 0; step < 2; step++) {
    if ((step == 0) == (mode != PL_FFT_OUT)) {
      for (size_t i = 0; i < 4; i++) {
        lanes quarters[4] = {v[i], v[i + 4], v[i + 8], v[i + 12]};
        two_layers(mode, quarters, w);
        for (size_t q = 0; q < 4; q++) v[i + 4 * q] = quarters[q];
      }
    } else {
      for (size_t q = 0; q < 4; q++) {
        const lanes last[3] = {add(one, spread(t[q])), add(zero, spread(t[2 * q])),
                               add(zero, spread(t[2 * q + 1]))};
        two_layers(mode, v + 4 * q, last);
      }
    }
  }
}

INLINE void leaves(enum pl_fft_mode mode, uint64_t *data, const uint64_t *t, size_t first,
                   size_t count) {
  lanes block[4], v[16];
  for (size_t i = 0; i < 4; i++) {
    uint64_t each[8];
    for (size_t b = 0; b < 8; b++) each[b] = t[(8 >> i) * b];
    block[i] = load(each);
  }
  for (size_t j = first; j < first + count; j++, data += 128) {
    for (size_t r = 0; r < 16; r++) v[r] = load(data + 8 * r);
    if (mode == PL_FFT_OUT) {
      lower(mode, v, t, j, block);
      change_sixteen(mode, v);
      turn(v, 1);
      upper(mode, v, t, j);
    } else {
      upper(mode, v, t, j);
      turn(v, 0);
      change_sixteen(mode, v);
      lower(mode, v, t, j, block);
    }
    for (size_t r = 0; r < 16; r++) store(data + 8 * r, v[r]);
  }
}
#endif

/* Two cache lines of each row at a time. */
TARGET static void multiply_rows(uint64_t *out, const uint64_t *x, const uint64_t *s, size_t rows,
                                 size_t stride) {
  for (size_t i = 0; i < stride; i += 4 * LANES) {
    wide sum[4] = {wide_zero(), wide_zero(), wide_zero(), wide_zero()};
    for (size_t r = 0; r < rows; r++)
      for (size_t k = 0; k < 4; k++) {
        size_t at = r * stride + i + LANES * k;
        sum[k] = wide_add_product(sum[k], load(x + at), load(s + at));
      }
    for (size_t k = 0; k < 4; k++) store(out + i + LANES * k, wide_reduce(sum[k]));
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
                            basis_64,
                            LANES == 4 ? 4 : 7};
