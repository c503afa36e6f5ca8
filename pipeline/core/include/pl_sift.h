/* Sifting from bitmaps, one bit per gate as in pl_secret (sift_bitmap.c). */
#ifndef PHOTONLINK_PL_SIFT_H
#define PHOTONLINK_PL_SIFT_H
#include "pl_secret.h"

/* How many of the gates clicked with one basis at both ends. Buffers of (gates + 7) / 8 bytes. */
PL_MUST_CHECK int64_t pl_sift_count(const uint8_t *clicked, const uint8_t *mine,
                                    const uint8_t *theirs, int64_t gates);
/* The bits of those gates, in order. `bits` has one per gate and `out` as many as pl_sift_count
 * tells: else PL_E_ARGUMENT or PL_E_CAPACITY, and `out` is all zero. */
PL_MUST_CHECK int pl_sift_bits(pl_secret *out, const pl_secret *bits, const uint8_t *clicked,
                               const uint8_t *mine, const uint8_t *theirs, int64_t gates);
#endif
