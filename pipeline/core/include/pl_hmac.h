/* Keyed digests (sha256.c). */
#ifndef PHOTONLINK_PL_HMAC_H
#define PHOTONLINK_PL_HMAC_H
#include "pl_secret.h"

enum { PL_DIGEST_BYTES = 32 };
/* HMAC-SHA256 (RFC 2104), key: the secret's bytes; message: its length in bits, 8 bytes big
 * endian, then the nonce. out: PL_DIGEST_BYTES. */
PL_MUST_CHECK int pl_hmac_sha256(const pl_secret *key, const uint8_t *nonce, int64_t n_bytes,
                                 uint8_t *out);
#endif
