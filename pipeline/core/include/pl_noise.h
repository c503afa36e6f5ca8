/* Discrete Laplace noise for event times (noise.c): P(n) ~ exp(-|n| / scale), integers. */
#ifndef PHOTONLINK_PL_NOISE_H
#define PHOTONLINK_PL_NOISE_H
#include <stddef.h>
#include <stdint.h>

#include "pl_status.h"

enum { PL_NOISE_SEED_BYTES = 32, PL_NOISE_MAX_SCALE_PS = 4096, PL_NOISE_MAX_TAILS = 64 };
typedef struct pl_noise pl_noise;
/* seed: PL_NOISE_SEED_BYTES secret bytes; `stream` distinguishes several objects with one seed.
 * scale_ps: 0 (no noise) to PL_NOISE_MAX_SCALE_PS. bound_ps: the law is cut to -bound <= n < bound
 * (rounded up, see pl_noise_bound) and scaled up to a whole; 1 to PL_NOISE_MAX_TAILS scales.
 * PL_E_STATE of the others: inherited through a fork. */
PL_MUST_CHECK int pl_noise_new(pl_noise **out, const uint8_t *seed, uint64_t stream,
                               int64_t scale_ps, int64_t bound_ps);
void pl_noise_free(pl_noise *noise);
/* The bound in force, ps. */
PL_MUST_CHECK int64_t pl_noise_bound(const pl_noise *noise);
/* Adds one draw to each of the n times, in their order. */
PL_MUST_CHECK int pl_noise_add(pl_noise *noise, int64_t *time_ps, size_t n);
/* The next n words of the stream as they come, for tests: word w of the 8 blocks of ChaCha20 that
 * are made at once stands beside word w of the others. */
PL_MUST_CHECK int pl_noise_words(pl_noise *noise, uint32_t *out, size_t n);
#endif
