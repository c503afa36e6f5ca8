/* State of one Toeplitz hash (toeplitz.c), for its test. */
#ifndef PHOTONLINK_TOEPLITZ_H
#define PHOTONLINK_TOEPLITZ_H
#include <sys/types.h>

#include "toeplitz_fft.h"

/* How a correlation of chunks is cut (toeplitz_plan.c). */
typedef struct {
  int log;              /* transforms of 2^log chunks */
  size_t rows, columns; /* pieces of the result and of the input; none: nothing to multiply */
  size_t row, column;   /* chunks per piece: row + column <= 2^log */
} pl_toeplitz_plan;

pl_toeplitz_plan pl_toeplitz_best_plan(size_t chunks_out, size_t chunks_in, int max_log);

/* Lengths and positions are public; they are in bits. */
typedef struct {
  pid_t owner; /* 0: no block is under way. A forked child finds zeros instead of the secrets */
  int64_t n, n_out, taken;
  int64_t head; /* what the identity of the modified form takes */
  pl_toeplitz_plan plan;
} pl_toeplitz_block;

struct pl_toeplitz {
  uint64_t *secret, *open, *twiddles; /* working memory: locked, and for public values */
  size_t secret_words, open_words;
  int twiddle_log;
  const pl_fft_kernel *kernel;
  int max_log; /* transforms have at most 2^max_log chunks */
  pl_toeplitz_block block;
};
#endif
