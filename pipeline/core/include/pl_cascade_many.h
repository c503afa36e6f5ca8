/* Cascade for many keys at once (cascade_many.c). */
#ifndef PHOTONLINK_PL_CASCADE_MANY_H
#define PHOTONLINK_PL_CASCADE_MANY_H
#include <stddef.h>

#include "pl_seed.h"
#include "pl_secret.h"

/* One call handles a batch of records:
 * slot and kind (2 bytes each), size (4), little-endian, body. A step takes up to `most` whole
 * records of kind 0 and ends before any other; `used` is the number of bytes consumed. Slots count
 * from 0. */
enum { PL_CASCADE_MAX_SLOTS = 65535, PL_CASCADE_RECORD_HEAD = 8 };
typedef struct pl_cascade_alices pl_cascade_alices;
PL_MUST_CHECK int pl_cascade_alices_new(pl_cascade_alices **out, int slots);
void pl_cascade_alices_free(pl_cascade_alices *all);
/* Begins bits [start, start + bits) of the key in a slot, whatever was there. Whole bytes. */
PL_MUST_CHECK int pl_cascade_alices_start(pl_cascade_alices *all, int slot, const pl_secret *key,
                                          int64_t start, int64_t bits, const uint8_t *seed,
                                          int64_t leak_cap);
/* Bytes of the answers. Errors as of pl_cascade_alice_answer, for the record at in + *used; what
 * was written in this step is lost. PL_E_CAPACITY: not even one answer fits. */
PL_MUST_CHECK int64_t pl_cascade_alices_step(pl_cascade_alices *all, const uint8_t *in, size_t size,
                                             size_t *used, uint8_t *out, size_t capacity, int most);
PL_MUST_CHECK int64_t pl_cascade_alices_leak(pl_cascade_alices *all, int slot);

typedef struct pl_cascade_bobs pl_cascade_bobs;
/* fewer_rounds, for a link with delay: 1 asks in a quarter of the rounds and leaks 5 % more. */
PL_MUST_CHECK int pl_cascade_bobs_new(pl_cascade_bobs **out, int slots, int fewer_rounds);
void pl_cascade_bobs_free(pl_cascade_bobs *all);
/* The first request comes with the next step. PL_E_STATE: the present key of the slot needs a step
 * or pl_cascade_bobs_finished first. */
PL_MUST_CHECK int pl_cascade_bobs_start(pl_cascade_bobs *all, int slot, const pl_secret *key,
                                        int64_t start, int64_t bits, const uint8_t *seed,
                                        double qber);
/* Bytes of the requests. Steps without input write what did not fit before. */
PL_MUST_CHECK int64_t pl_cascade_bobs_step(pl_cascade_bobs *all, const uint8_t *in, size_t size,
                                           size_t *used, uint8_t *out, size_t capacity, int most);
/* A slot that is finished, plus 1, each once; 0: none. */
PL_MUST_CHECK int pl_cascade_bobs_finished(pl_cascade_bobs *all);
/* The corrected bits, to [start, start + bits) of `key`. */
PL_MUST_CHECK int pl_cascade_bobs_store(pl_cascade_bobs *all, int slot, pl_secret *key,
                                        int64_t start, int64_t bits);
PL_MUST_CHECK int64_t pl_cascade_bobs_errors(pl_cascade_bobs *all, int slot);
#endif
