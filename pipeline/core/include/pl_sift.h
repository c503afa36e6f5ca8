/* Sifting from bitmaps, one bit per gate as in pl_secret (sift_bitmap.c). */
#ifndef PHOTONLINK_PL_SIFT_H
#define PHOTONLINK_PL_SIFT_H
#include <stddef.h>

#include "pl_secret.h"

/* How many of the gates clicked with one basis at both ends. Buffers of (gates + 7) / 8 bytes. */
PL_MUST_CHECK int64_t pl_sift_count(const uint8_t *clicked, const uint8_t *mine,
                                    const uint8_t *theirs, int64_t gates);
/* The bits of those gates, in order. `bits` has one per gate and `out` as many as pl_sift_count
 * tells: else PL_E_ARGUMENT or PL_E_CAPACITY, and `out` is all zero. */
PL_MUST_CHECK int pl_sift_bits(pl_secret *out, const pl_secret *bits, const uint8_t *clicked,
                               const uint8_t *mine, const uint8_t *theirs, int64_t gates);
/* A block's pairs by the bases of both ends, in one pass. same: 1 where they agree, basis: one's own
 * (0 HV, 1 DA), marks: bits 0 and 1 (pl_quiet.h). hv, da, open: bitmaps of (n + 7) / 8 bytes, of the
 * pairs of each string and of those that are told; marked (2): bits of marks in each string.
 * open_basis, open_steps: of the told ones, in their order, room for n of each. Returns how many
 * they are; PL_E_ARGUMENT for other values of same, basis or marks. */
PL_MUST_CHECK int64_t pl_sift_pairs(const uint8_t *same, const uint8_t *basis,
                                    const uint8_t *marks, const int8_t *steps, size_t n,
                                    uint8_t *hv, uint8_t *da, uint8_t *open, uint8_t *open_basis,
                                    int8_t *open_steps, int64_t *marked);
/* Places of the ones among n bits, most significant first, counted from `from`. Room for n. Returns
 * how many; PL_E_DATA when a bit beyond the n is set. */
PL_MUST_CHECK int64_t pl_bitmap_places(const uint8_t *bitmap, size_t n, int64_t from,
                                       int64_t *places);
#endif
