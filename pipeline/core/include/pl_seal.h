/* Sealing: authenticated encryption of records on disk, from and to locked memory.
 *
 * A sealed record is nonce (24 bytes, random), ciphertext, tag (16 bytes): XChaCha20-Poly1305
 * (draft-irtf-cfrg-xchacha-03) of the vendored Monocypher. The context is authenticated and not
 * stored: a record decrypts only in the place it was sealed for. */
#ifndef PHOTONLINK_PL_SEAL_H
#define PHOTONLINK_PL_SEAL_H
#include <stddef.h>
#include <stdint.h>

#include "pl_secret.h"

enum { PL_SEAL_KEY_BITS = 256, PL_SEAL_NONCE = 24, PL_SEAL_TAG = 16, PL_SEAL_OVERHEAD = 40 };
enum { PL_SALT_BYTES = 16, PL_KEYED_DIGEST_BYTES = 32 };
/* `out`: exactly the bytes of `plain` and PL_SEAL_OVERHEAD, else PL_E_CAPACITY. */
PL_MUST_CHECK int pl_seal(const pl_secret *key, const uint8_t *context, size_t n_context, const pl_secret *plain,
            uint8_t *out, size_t n_out);
/* The same record into a file, at its present place, without a copy of it in memory. `tag`: 16 bytes,
 * the record's last. PL_E_STATE with errno: it cannot be written. */
PL_MUST_CHECK int pl_seal_fd(const pl_secret *key, const uint8_t *context, size_t n_context,
               const pl_secret *plain, int fd, uint8_t *tag);
/* PL_E_DATA: not sealed with this key in this context, or changed since; `plain` is then zero. */
PL_MUST_CHECK int pl_unseal(const pl_secret *key, const uint8_t *context, size_t n_context,
              const uint8_t *sealed, size_t n_sealed, pl_secret *plain);
/* The same for bytes that are no secret. */
PL_MUST_CHECK int pl_seal_public(const pl_secret *key, const uint8_t *context, size_t n_context,
                   const uint8_t *plain, size_t n_plain, uint8_t *out, size_t n_out);
PL_MUST_CHECK int pl_unseal_public(const pl_secret *key, const uint8_t *context, size_t n_context,
                     const uint8_t *sealed, size_t n_sealed, uint8_t *out, size_t n_out);
/* BLAKE2b (RFC 7693) with a key of 32 to 64 bytes. `out`: a key for one purpose, 256 bits. */
PL_MUST_CHECK int pl_derive_key(pl_secret *out, const pl_secret *key, const uint8_t *purpose, size_t n);
/* out: PL_KEYED_DIGEST_BYTES, over public data. */
PL_MUST_CHECK int pl_keyed_digest(const pl_secret *key, const uint8_t *data, size_t n, uint8_t *out);
/* Argon2id (RFC 9106), one lane. out: 256 bits; salt: PL_SALT_BYTES; kibibytes: 8 to 2^21. */
PL_MUST_CHECK int pl_stretch_passphrase(pl_secret *out, const pl_secret *passphrase, const uint8_t *salt,
                          uint32_t kibibytes, uint32_t passes);
/* No core file and no debugger of the same user from now on (PR_SET_DUMPABLE, RLIMIT_CORE). */
PL_MUST_CHECK int pl_protect_process(void);
#endif
