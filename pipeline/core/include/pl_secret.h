/* Secret bits in locked memory (secret.c). */
#ifndef PHOTONLINK_PL_SECRET_H
#define PHOTONLINK_PL_SECRET_H
#include <stdint.h>

#include "pl_status.h"

/* Bits in locked memory: bit i is byte i/8, mask 0x80 >> i%8. Every function returns PL_E_STATE for
 * a NULL handle and for one inherited through a fork. */
typedef struct pl_secret pl_secret;
/* 1: secrets are locked into memory. 0: PHOTONLINK_SECRET_MEMORY=unlocked was set at start. */
PL_MUST_CHECK int pl_secret_memory_locked(void);
/* Zeroed. PL_E_MEMORY when the lock limit is reached: there is no fallback to plain memory. */
PL_MUST_CHECK int pl_secret_new(pl_secret **out, int64_t n_bits);
void pl_secret_free(pl_secret *secret);
PL_MUST_CHECK int64_t pl_secret_bits(const pl_secret *secret);
/* From the operating system (getrandom). */
PL_MUST_CHECK int pl_secret_randomize(pl_secret *secret);
/* Copies the leading bits of `data`, then wipes all n_bytes of it. */
PL_MUST_CHECK int pl_secret_import(pl_secret *secret, uint8_t *data, int64_t n_bytes);
PL_MUST_CHECK int pl_secret_export(const pl_secret *secret, uint8_t *out, int64_t n_bytes);
/* count bits of `from` at `start` to `to` at `at`; two different buffers. */
PL_MUST_CHECK int pl_secret_copy(pl_secret *to, int64_t at, const pl_secret *from, int64_t start,
                                 int64_t count);
PL_MUST_CHECK int pl_secret_xor(pl_secret *to, const pl_secret *from);
/* 1 or 0, in constant time for equal lengths. */
PL_MUST_CHECK int pl_secret_equal(const pl_secret *a, const pl_secret *b);
PL_MUST_CHECK int64_t pl_secret_ones(const pl_secret *secret);
/* to[i] = from[indices[i]]; the indices are public. */
PL_MUST_CHECK int pl_secret_select(pl_secret *to, const pl_secret *from, const int64_t *indices,
                                   int64_t n);
PL_MUST_CHECK int pl_secret_wipe(pl_secret *secret, int64_t start, int64_t stop);
/* Whole bytes between buffer and file; PL_E_DATA: the file ended early, PL_E_STATE: see errno. */
PL_MUST_CHECK int pl_secret_read_fd(pl_secret *secret, int fd, int64_t offset);
PL_MUST_CHECK int pl_secret_write_fd(const pl_secret *secret, int fd);
#endif
