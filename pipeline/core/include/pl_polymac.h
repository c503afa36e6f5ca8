/* Authentication and verification hashes (polymac.c). */
#ifndef PHOTONLINK_PL_POLYMAC_H
#define PHOTONLINK_PL_POLYMAC_H
#include "pl_secret.h"

/* Of a tag, of the pad that masks it, and of a verification hash. */
enum { PL_TAG_BYTES = 16, PL_PAD_BYTES = PL_TAG_BYTES, PL_POINT_BYTES = PL_TAG_BYTES };
/* Wegman-Carter hash: Horner over GF(2^128), x^128+x^7+x^2+x+1, blocks of 16 bytes big endian,
 * the last padded with zeros, then a block with the length in bits. */
typedef struct pl_polymac pl_polymac;
PL_MUST_CHECK int pl_polymac_new(pl_polymac **out, const pl_secret *key);
void pl_polymac_free(pl_polymac *mac);
PL_MUST_CHECK int pl_polymac_reset(pl_polymac *mac);
PL_MUST_CHECK int pl_polymac_update(pl_polymac *mac, const uint8_t *data, int64_t n_bytes);
/* tag[PL_TAG_BYTES] = hash xor the 128 pad bits at pad_offset; starts anew. */
PL_MUST_CHECK int pl_polymac_tag(pl_polymac *mac, const pl_secret *pad, int64_t pad_offset,
                                 uint8_t *tag);
/* 1 or 0, constant time; starts anew. */
PL_MUST_CHECK int pl_polymac_verify(pl_polymac *mac, const pl_secret *pad, int64_t pad_offset,
                                    const uint8_t *tag);
/* The same polynomial over all bits of `bits` at a public point[PL_POINT_BYTES]; the first
 * tag_bits <= 8 * PL_TAG_BYTES. */
PL_MUST_CHECK int pl_verification_hash(const pl_secret *bits, const uint8_t *point, int tag_bits,
                                       uint8_t *out);
#endif
