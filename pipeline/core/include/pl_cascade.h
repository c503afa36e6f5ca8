/* Error correction in rounds (cascade_*.c, docs/cascade.md). Alice answers questions; Bob asks and
 * corrects. Keys are copied, not modified. seed: PL_SEED_BYTES public bytes, the same at both
 * ends. */
#ifndef PHOTONLINK_PL_CASCADE_H
#define PHOTONLINK_PL_CASCADE_H
#include <stddef.h>

#include "pl_seed.h"
#include "pl_secret.h"

enum { PL_CASCADE_MAX_BITS = 16777216 };
typedef struct pl_cascade_alice pl_cascade_alice;
PL_MUST_CHECK int pl_cascade_alice_new(pl_cascade_alice **out, const pl_secret *key,
                                       const uint8_t *seed, int64_t leak_cap);
/* A new block in the same object: memory is kept and only grows. */
PL_MUST_CHECK int pl_cascade_alice_restart(pl_cascade_alice *alice, const pl_secret *key,
                                           const uint8_t *seed, int64_t leak_cap);
void pl_cascade_alice_free(pl_cascade_alice *alice);
/* Number of parities in a request, by its headers; PL_E_DATA when it is malformed. */
PL_MUST_CHECK int64_t pl_cascade_alice_measure(pl_cascade_alice *alice, const uint8_t *request,
                                               size_t size);
/* Bytes of the answer. PL_E_DATA: malformed. PL_E_LIMIT: beyond the cap. Then nothing counts. */
PL_MUST_CHECK int64_t pl_cascade_alice_answer(pl_cascade_alice *alice, const uint8_t *request,
                                              size_t size, uint8_t *out, size_t capacity);
PL_MUST_CHECK int64_t pl_cascade_alice_leak(pl_cascade_alice *alice);
PL_MUST_CHECK int64_t pl_cascade_alice_rounds(pl_cascade_alice *alice);

typedef struct pl_cascade_bob pl_cascade_bob;
PL_MUST_CHECK int pl_cascade_bob_new(pl_cascade_bob **out, const pl_secret *key,
                                     const uint8_t *seed, double qber);
PL_MUST_CHECK int pl_cascade_bob_restart(pl_cascade_bob *bob, const pl_secret *key,
                                         const uint8_t *seed, double qber);
void pl_cascade_bob_free(pl_cascade_bob *bob);
/* Size of the next request, which is written when it fits; the same again until it is answered.
 * 0: finished. */
PL_MUST_CHECK int64_t pl_cascade_bob_request(pl_cascade_bob *bob, uint8_t *out, size_t capacity);
/* PL_E_DATA: wrong length, or parities that contradict earlier ones. */
PL_MUST_CHECK int pl_cascade_bob_receive(pl_cascade_bob *bob, const uint8_t *parities, size_t size);
/* Number of parities in the open request; 0: there is none. */
PL_MUST_CHECK int64_t pl_cascade_bob_asked(pl_cascade_bob *bob);
PL_MUST_CHECK int64_t pl_cascade_bob_errors(pl_cascade_bob *bob);
/* Lower bound on the errors by Alice's parities: those flipped, and one for each odd block. */
PL_MUST_CHECK int64_t pl_cascade_bob_errors_seen(pl_cascade_bob *bob);
/* Key indices that were flipped, ascending; returns their number. */
PL_MUST_CHECK int64_t pl_cascade_bob_error_positions(pl_cascade_bob *bob, int64_t *out,
                                                     int64_t capacity);
/* out: as long as the key. */
PL_MUST_CHECK int pl_cascade_bob_key(pl_cascade_bob *bob, pl_secret *out);
#endif
