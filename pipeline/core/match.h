/* Between match.c and its build for wider registers. */
#ifndef PHOTONLINK_MATCH_H
#define PHOTONLINK_MATCH_H
#include "core.h"

enum {
  MATCH_STRETCH = 4096, /* events: four stretches and their results fit in the cache */
  MATCH_LONGEST = MATCH_STRETCH + MATCH_STRETCH / 8, /* the longest that buffers are made for */
  MATCH_NEAR = 2 * MATCH_STRETCH
};

/* Events a[0..na) and b[0..nb), na and nb below 2^16; no event pairs with one outside. */
typedef struct {
  const int64_t *a, *b;
  size_t na, nb;
  size_t i, j;         /* progress of the search */
  int32_t *pair, *end; /* room for MATCH_NEAR: position in a << 16 | position in b */
} match_stretch;

/* The greedy walk over two stretches, `shift` added to b. Returns 0, without a valid result, when
 * more events lie within the window than the buffers hold. */
int pl_match_avx512(match_stretch s[2], int64_t shift, int64_t window);
#endif
