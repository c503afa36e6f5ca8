/* Between the two halves of Toeplitz hashing: toeplitz.c and toeplitz_fast.c. */
#ifndef PHOTONLINK_TOEPLITZ_H
#define PHOTONLINK_TOEPLITZ_H
#include <stdbool.h>

#include "gf128.h"
#include "toeplitz_fft.h"

struct pl_toeplitz {
  uint64_t *secret, *open, *twiddles; /* working memory: locked, and for public values */
  size_t secret_words, open_words;
  int twiddle_log;
  const pl_gf128_kernel *products;
  const pl_fft_kernel *kernel;
  int max_log; /* transforms have at most 2^max_log chunks */
};

/* Grows the working memory; contents are lost. */
int pl_toeplitz_reserve(pl_toeplitz *context, size_t secret_words, size_t open_words);

/* XORs y_i = XOR_j seed[i-j+n-1] x[x_start+j] into y; n, n_out > 0. Any length, n log n. */
int pl_toeplitz_fast(pl_toeplitz *context, uint8_t *y, int64_t n_out, const uint8_t *x,
                     int64_t x_start, int64_t n, const uint8_t *seed);
#endif
