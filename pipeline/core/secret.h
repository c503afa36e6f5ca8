/* Locked memory, for C only: Python's part is in include/. */
#ifndef PHOTONLINK_SECRET_H
#define PHOTONLINK_SECRET_H
#include "core.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "bits are loaded with byte swaps");

/* Locked, non-dumpable, zeroed memory between two guard pages; NULL when the lock limit or the
 * memory is exhausted. `n_bytes` is what pl_locked_free wipes and returns. Page granularity. A
 * forked child finds zeros in it (Linux 4.14). */
void *pl_locked_alloc(size_t n_bytes);
void pl_locked_free(void *memory, size_t n_bytes);
/* For public working memory, released by free(): like malloc, in huge pages when it is large. */
void *pl_large_alloc(size_t n_bytes);

/* The bits: bit i is byte i/8, mask 0x80 >> i%8. Bits beyond the length in the last byte are
 * zero, as are the 64 bytes after it, which may be read and must stay zero. NULL when the handle
 * is NULL or was made by another process (a fork does not carry secrets along). */
uint8_t *pl_secret_bytes(const pl_secret *secret);

/* Copies n bits between two bit positions; the ranges must not overlap. */
void pl_bits_copy(uint8_t *to, int64_t to_bit, const uint8_t *from, int64_t from_bit, int64_t n);
#endif
