/* Additive Fourier transform over GF(2^64), x^64+x^4+x^3+x+1, and its transposes.
 *
 * Evaluation points are spanned by a Cantor basis v_i (v_0 = 1, v_i^2 + v_i = v_(i-1); Cantor,
 * J. Comb. Theory A 50, 285, 1989), the coefficients are those of the basis of Lin, Chung and
 * Han (FOCS 2014). A butterfly on (a, b) with twiddle w is a += w b, b += a. All twiddles are
 * public; no branch and no address depends on the data. */
#ifndef PHOTONLINK_TOEPLITZ_FFT_H
#define PHOTONLINK_TOEPLITZ_FFT_H
#include "core.h"

enum { PL_FFT_MIN_LOG = 7, PL_FFT_MAX_LOG = 21 };

/* F: the transform. SEED: its inverse, transposed. OUT: transposed. */
enum pl_fft_mode { PL_FFT_FORWARD, PL_FFT_SEED, PL_FFT_OUT };

/* Kernels of one level. Between layers four and zero the 16 elements of a leaf are left in an
 * order that is the same for all modes and all levels. */
typedef struct {
  /* Two layers on the four quarters of `data`, each of n elements (a multiple of 4). */
  void (*radix4[3])(uint64_t *data, size_t n, const uint64_t twiddles[3]);
  /* The last four layers of `count` blocks of 16, the first of them being block `first`. */
  void (*leaves[3])(uint64_t *data, const uint64_t *twiddles, size_t first, size_t count);
  /* out[i] = XOR over r < rows of x[r][i] * s[r][i], rows `stride` elements apart. */
  void (*multiply)(uint64_t *out, const uint64_t *x, const uint64_t *s, size_t rows,
                   size_t stride);
  /* Change of basis of 2^log elements, monomials -> Lin-Chung-Han: additions only. */
  void (*basis_32)(enum pl_fft_mode mode, uint32_t *data, int log);
  void (*basis_64)(enum pl_fft_mode mode, uint64_t *data, int log);
  int leaf_log;
} pl_fft_kernel;

extern const pl_fft_kernel pl_fft_portable;
#if defined(__x86_64__)
extern const pl_fft_kernel pl_fft_sse, pl_fft_vpclmul, pl_fft_avx512;
#elif defined(__aarch64__)
extern const pl_fft_kernel pl_fft_neon;
#endif
const pl_fft_kernel *pl_fft_kernels(int level);

/* Fills 2^(log - 1) twiddles: entry j is the sum over the bits i of j of v_(i+1). */
void pl_fft_twiddles(uint64_t *twiddles, int log);

/* The transform of 2^log elements in place. */
void pl_fft(const pl_fft_kernel *kernel, enum pl_fft_mode mode, uint64_t *data, int log,
            const uint64_t *twiddles);
#endif
