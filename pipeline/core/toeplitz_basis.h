/* Change of basis, monomials -> Lin-Chung-Han, for elements of type WORD: additions only. The
 * including file defines WORD, TYPED(name), TARGET and INLINE. No include guard: it is included
 * once for 32-bit and once for 64-bit elements.
 *
 * Forward is a list of steps "to ^= from" on disjoint ranges. The inverse transpose (SEED) is the
 * same list with "from ^= to", the transpose (OUT) that list backwards. */

/* The list of change4 with unit 1. */
#undef STEPS
#undef STEPS_BACKWARDS
#define STEPS(S)                                                                                  \
  S(8, 14) S(9, 15) S(2, 8) S(3, 9) S(4, 10) S(5, 11) S(6, 12) S(7, 13) S(4, 7) S(1, 4)           \
  S(2, 5) S(3, 6) S(12, 15) S(9, 12) S(10, 13) S(11, 14) S(8, 12) S(9, 13) S(10, 14)              \
  S(11, 15) S(4, 8) S(5, 9) S(6, 10) S(7, 11) S(2, 3) S(1, 2) S(6, 7) S(5, 6) S(10, 11)           \
  S(9, 10) S(14, 15) S(13, 14)
#define STEPS_BACKWARDS(S)                                                                        \
  S(13, 14) S(14, 15) S(9, 10) S(10, 11) S(5, 6) S(6, 7) S(1, 2) S(2, 3) S(7, 11) S(6, 10)        \
  S(5, 9) S(4, 8) S(11, 15) S(10, 14) S(9, 13) S(8, 12) S(11, 14) S(10, 13) S(9, 12)              \
  S(12, 15) S(3, 6) S(2, 5) S(1, 4) S(4, 7) S(7, 13) S(6, 12) S(5, 11) S(4, 10) S(3, 9)           \
  S(2, 8) S(9, 15) S(8, 14)

INLINE void TYPED(add_range)(enum pl_fft_mode mode, WORD *to, WORD *from, size_t n) {
  WORD *restrict target = mode == PL_FFT_FORWARD ? to : from;
  const WORD *restrict source = mode == PL_FFT_FORWARD ? from : to;
  for (size_t i = 0; i < n; i++) target[i] ^= source[i];
}

/* One level of `expand` on one block: x^h with h = 2^(level-1) units is S^(h / 2^i) + x^(h / 2^i),
 * so the upper half moves down; its own top part first. */
INLINE void TYPED(lower)(enum pl_fft_mode mode, WORD *f, size_t half, size_t step) {
  if (mode != PL_FFT_OUT) TYPED(add_range)(mode, f + half, f + 2 * half - step, step);
  TYPED(add_range)(mode, f + step, f + half, half - step);
  if (mode == PL_FFT_OUT) TYPED(add_range)(mode, f + half, f + 2 * half - step, step);
}

/* 2^k coefficients, each of `unit` words, of f = sum of f_q S^q with deg f_q < 2^i and
 * S = x^(2^i) + x, which is s_i of the Cantor basis when i is a power of two. */
INLINE void TYPED(expand)(enum pl_fft_mode mode, WORD *f, int k, int i, size_t unit) {
  size_t end = unit << k;
  for (int n = 0; n < k - i; n++) {
    int level = mode == PL_FFT_OUT ? i + 1 + n : k - n;
    for (size_t at = 0; at < end; at += unit << level)
      TYPED(lower)(mode, f + at, unit << (level - 1), unit << (level - 1 - i));
  }
}

/* 2^2 and 2^4 coefficients. */
INLINE void TYPED(change2)(enum pl_fft_mode mode, WORD *f, size_t unit) {
  TYPED(expand)(mode, f, 2, 1, unit);
}

INLINE void TYPED(change4)(enum pl_fft_mode mode, WORD *f, size_t unit) {
  if (mode != PL_FFT_OUT) TYPED(expand)(mode, f, 4, 2, unit);
  TYPED(change2)(mode, f, 4 * unit);
  for (size_t q = 0; q < 4; q++) TYPED(change2)(mode, f + 4 * q * unit, unit);
  if (mode == PL_FFT_OUT) TYPED(expand)(mode, f, 4, 2, unit);
}

#if LANES == 4
/* 2^4 single words, on copies with names, which stay in registers. */
INLINE void TYPED(change_words)(enum pl_fft_mode mode, WORD *f) {
    WORD w0 = f[0], w1 = f[1], w2 = f[2], w3 = f[3], w4 = f[4], w5 = f[5], w6 = f[6], w7 = f[7],
       w8 = f[8], w9 = f[9], w10 = f[10], w11 = f[11], w12 = f[12], w13 = f[13], w14 = f[14], w15
       = f[15];
#define FORWARD_STEP(to, from) w##to ^= w##from;
#define TRANSPOSED_STEP(to, from) w##from ^= w##to;
  if (mode == PL_FFT_FORWARD) {
    STEPS(FORWARD_STEP)
  } else if (mode == PL_FFT_SEED) {
    STEPS(TRANSPOSED_STEP)
  } else {
    STEPS_BACKWARDS(TRANSPOSED_STEP)
  }
  f[0] = w0; f[1] = w1; f[2] = w2; f[3] = w3; f[4] = w4; f[5] = w5; f[6] = w6; f[7] = w7; f[8] =
  w8; f[9] = w9; f[10] = w10; f[11] = w11; f[12] = w12; f[13] = w13; f[14] = w14; f[15] = w15;
#undef FORWARD_STEP
#undef TRANSPOSED_STEP
}
#endif

INLINE void TYPED(change8)(enum pl_fft_mode mode, WORD *f) {
  if (mode != PL_FFT_OUT) TYPED(expand)(mode, f, 8, 4, 1);
  TYPED(change4)(mode, f, 16);
#if LANES == 4
  for (size_t q = 0; q < 16; q++) TYPED(change_words)(mode, f + 16 * q);
#endif
  if (mode == PL_FFT_OUT) TYPED(expand)(mode, f, 8, 4, 1);
}

/* Any k: the coefficients in S are changed as polynomials in S, the f_q on their own. */
TARGET static void TYPED(change)(enum pl_fft_mode mode, WORD *f, int k, size_t unit) {
  if (k <= 1 || (LANES != 4 && k <= 4 && unit == 1)) return;
  if (k == 8 && unit == 1) {
    if (mode == PL_FFT_FORWARD) TYPED(change8)(PL_FFT_FORWARD, f);
    if (mode == PL_FFT_SEED) TYPED(change8)(PL_FFT_SEED, f);
    if (mode == PL_FFT_OUT) TYPED(change8)(PL_FFT_OUT, f);
    return;
  }
  int i = 1;
  while (2 * i < k) i *= 2;
  if (mode != PL_FFT_OUT) TYPED(expand)(mode, f, k, i, unit);
  TYPED(change)(mode, f, k - i, unit << i);
  for (size_t q = 0; q < (size_t)1 << (k - i); q++)
    TYPED(change)(mode, f + (q * unit << i), i, unit);
  if (mode == PL_FFT_OUT) TYPED(expand)(mode, f, k, i, unit);
}
