/* SHA-256 (FIPS 180-4). Constant time by construction: no table index depends on data. */
#ifndef PHOTONLINK_SHA256_H
#define PHOTONLINK_SHA256_H
#include "core.h"

typedef struct {
  uint32_t state[8];
  uint64_t total_bytes;
  uint8_t partial[64];
} pl_sha256;

void pl_sha256_start(pl_sha256 *hash);
void pl_sha256_update(pl_sha256 *hash, const uint8_t *data, size_t n_bytes);
/* Writes the digest and wipes the state. */
void pl_sha256_finish(pl_sha256 *hash, uint8_t digest[PL_DIGEST_BYTES]);
#endif
