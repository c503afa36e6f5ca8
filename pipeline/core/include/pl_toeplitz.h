/* Privacy amplification (toeplitz.c). */
#ifndef PHOTONLINK_PL_TOEPLITZ_H
#define PHOTONLINK_PL_TOEPLITZ_H
#include "pl_secret.h"

/* y_i = XOR_j seed[i-j+n-1] x_j, l = length of y <= n. Plain: seed of n+l-1 bits. Modified:
 * y = x[:l] xor T x[l:], seed of n-1 bits. The seed has exactly the bytes its bits need. */
typedef struct pl_toeplitz pl_toeplitz;
/* Holds working memory between blocks (locked, wiped after each); grows as needed. */
PL_MUST_CHECK int pl_toeplitz_new(pl_toeplitz **out);
void pl_toeplitz_free(pl_toeplitz *context);
/* A block in pieces: begin, add until n bits are there, finish. The seed comes last: it is drawn
 * when all of x is fixed. Begin drops a block under way. */
PL_MUST_CHECK int pl_toeplitz_begin(pl_toeplitz *context, int64_t n, int64_t n_out, int modified);
/* The next `count` bits, those of x from `start` on; x is not needed afterwards. PL_E_LIMIT: more
 * than the block has left (none was taken). PL_E_STATE: no block was begun. */
PL_MUST_CHECK int pl_toeplitz_add(pl_toeplitz *context, const pl_secret *x, int64_t start,
                                  int64_t count);
/* PL_E_STATE: bits are missing. When refused, the block remains unfinished; else it is finished,
 * and wiped. */
PL_MUST_CHECK int pl_toeplitz_finish(pl_toeplitz *context, pl_secret *y, const uint8_t *seed,
                                     int64_t seed_bytes);
/* All three with x as the only piece. */
PL_MUST_CHECK int pl_toeplitz_hash(pl_toeplitz *context, pl_secret *y, const pl_secret *x,
                                   const uint8_t *seed, int64_t seed_bytes, int modified);
#endif
