/* Error correction with one message each way (ldpc_*.c, docs/ldpc.md). Both ends give the same qber
 * (0 to 0.125) and seed (PL_SEED_BYTES public bytes). Keys are copied. */
#ifndef PHOTONLINK_PL_LDPC_H
#define PHOTONLINK_PL_LDPC_H
#include <stddef.h>

#include "pl_seed.h"
#include "pl_secret.h"

enum { PL_LDPC_MIN_BITS = 8192, PL_LDPC_MAX_BITS = 16777216 };
typedef struct pl_ldpc_alice pl_ldpc_alice;
PL_MUST_CHECK int pl_ldpc_alice_new(pl_ldpc_alice **out, const pl_secret *key, double qber,
                                    const uint8_t *seed, int64_t leak_cap);
/* A new block in the same object: memory is kept and only grows. When refused, the old block
 * continues. */
PL_MUST_CHECK int pl_ldpc_alice_restart(pl_ldpc_alice *alice, const pl_secret *key, double qber,
                                        const uint8_t *seed, int64_t leak_cap);
void pl_ldpc_alice_free(pl_ldpc_alice *alice);
PL_MUST_CHECK int64_t pl_ldpc_alice_message_bytes(const pl_ldpc_alice *alice);
/* Bytes of the message. Counted when first given; later it is the same. PL_E_LIMIT: the cap. */
PL_MUST_CHECK int64_t pl_ldpc_alice_syndrome(pl_ldpc_alice *alice, uint8_t *out, size_t capacity);
/* The key bits asked for; bytes. PL_E_DATA: malformed, PL_E_LIMIT: the cap; then nothing is
 * counted. */
PL_MUST_CHECK int64_t pl_ldpc_alice_disclose(pl_ldpc_alice *alice, const uint8_t *request,
                                             size_t size, uint8_t *out, size_t capacity);
PL_MUST_CHECK int64_t pl_ldpc_alice_leak(const pl_ldpc_alice *alice);

typedef struct pl_ldpc_bob pl_ldpc_bob;
PL_MUST_CHECK int pl_ldpc_bob_new(pl_ldpc_bob **out, const pl_secret *key, double qber,
                                  const uint8_t *seed);
PL_MUST_CHECK int pl_ldpc_bob_restart(pl_ldpc_bob *bob, const pl_secret *key, double qber,
                                      const uint8_t *seed);
void pl_ldpc_bob_free(pl_ldpc_bob *bob);
/* How many frames stay open. PL_E_DATA: not a message for this key length and qber. */
PL_MUST_CHECK int pl_ldpc_bob_decode(pl_ldpc_bob *bob, const uint8_t *syndrome, size_t size);
/* Size of the request for the open frames, written when it fits. 0: all are corrected. */
PL_MUST_CHECK int64_t pl_ldpc_bob_request(pl_ldpc_bob *bob, uint8_t *out, size_t capacity);
/* How many frames stay open. PL_E_DATA: wrong length (the request stays open), or contradictory. */
PL_MUST_CHECK int pl_ldpc_bob_receive(pl_ldpc_bob *bob, const uint8_t *bits, size_t size);
PL_MUST_CHECK int64_t pl_ldpc_bob_errors(const pl_ldpc_bob *bob);
PL_MUST_CHECK int64_t pl_ldpc_bob_frames(const pl_ldpc_bob *bob);
PL_MUST_CHECK int64_t pl_ldpc_bob_iterations(const pl_ldpc_bob *bob);
PL_MUST_CHECK int pl_ldpc_bob_key(const pl_ldpc_bob *bob, pl_secret *out);
#endif
