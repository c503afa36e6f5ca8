/* The stream of ChaCha20, by the fastest kernel there is; Monocypher's where there is no other. */
#ifndef PHOTONLINK_CHACHA20_H
#define PHOTONLINK_CHACHA20_H
#include "core.h"

/* out = in xor stream, `n` bytes, from block `counter` on (64 bytes each). The nonce has 8 bytes and
 * the counter 64 bits, as in Bernstein's cipher. `out` may be `in`. Constant time. */
void pl_chacha20(uint8_t *out, const uint8_t *in, size_t n, const uint8_t key[32],
                 const uint8_t nonce[8], uint64_t counter);
#endif
