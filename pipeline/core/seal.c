/* Sealing of records on locked buffers: keys and plain text never leave them. XChaCha20-Poly1305 by
 * libsodium, whose kernels use the CPU's vectors; BLAKE2b and Argon2id by Monocypher, which works in
 * memory that it is given. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "secret.h"
#include "vendor/libsodium/include/sodium/core.h"
#include "vendor/libsodium/include/sodium/crypto_aead_xchacha20poly1305.h"
#include "vendor/libsodium/include/sodium/crypto_core_hchacha20.h"
#include "vendor/libsodium/include/sodium/crypto_onetimeauth_poly1305.h"
#include "vendor/libsodium/include/sodium/crypto_stream_chacha20.h"
#include "vendor/monocypher/monocypher.h"

/* Of libsodium's sodium_init, what concerns the parts of it that are built here. */
int _sodium_runtime_get_cpu_features(void);
int _crypto_onetimeauth_poly1305_pick_best_implementation(void);
int _crypto_stream_chacha20_pick_best_implementation(void);

static pthread_once_t kernels_chosen = PTHREAD_ONCE_INIT;

static void choose_kernels(void) {
  _sodium_runtime_get_cpu_features();
  _crypto_onetimeauth_poly1305_pick_best_implementation();
  _crypto_stream_chacha20_pick_best_implementation();
}

/* Of libsodium's core.c: it was called with what it cannot do, which is a fault of ours. */
void sodium_misuse(void) { abort(); }

enum { PIECE = 1 << 16 }; /* sealed and written at a time: it stays in the cache */

static size_t bytes_of(const pl_secret *secret) {
  int64_t n_bits = pl_secret_bits(secret);
  return n_bits > 0 ? (size_t)((n_bits + 7) / 8) : 0;
}

/* The bytes of a sealing key, or NULL: of another length, or of another process. */
static const uint8_t *sealing_key(const pl_secret *key) {
  (void)pthread_once(&kernels_chosen, choose_kernels);
  return pl_secret_bits(key) == PL_SEAL_KEY_BITS ? pl_secret_bytes(key) : NULL;
}

static int fill_random(uint8_t *out, size_t n) {
  for (size_t done = 0; done < n;) {
    ssize_t got = getrandom(out + done, n - done, 0);
    if (got < 0 && errno != EINTR) return PL_E_STATE;
    if (got > 0) done += (size_t)got;
  }
  return PL_OK;
}

int pl_seal_public(const pl_secret *key, const uint8_t *context, size_t n_context,
                   const uint8_t *plain, size_t n_plain, uint8_t *out, size_t n_out) {
  const uint8_t *k = sealing_key(key);
  if (!k) return PL_E_STATE;
  if (n_out < PL_SEAL_OVERHEAD || n_out - PL_SEAL_OVERHEAD != n_plain) return PL_E_CAPACITY;
  int status = fill_random(out, PL_SEAL_NONCE);
  if (status) return status;
  uint8_t *text = out + PL_SEAL_NONCE;
  crypto_aead_xchacha20poly1305_ietf_encrypt_detached(text, text + n_plain, NULL, plain, n_plain,
                                                      context, n_context, NULL, out, k);
  return PL_OK;
}

int pl_unseal_public(const pl_secret *key, const uint8_t *context, size_t n_context,
                     const uint8_t *sealed, size_t n_sealed, uint8_t *out, size_t n_out) {
  const uint8_t *k = sealing_key(key);
  if (!k) return PL_E_STATE;
  if (n_sealed < PL_SEAL_OVERHEAD || n_sealed - PL_SEAL_OVERHEAD != n_out) return PL_E_DATA;
  const uint8_t *text = sealed + PL_SEAL_NONCE;
  int wrong = crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
    out, NULL, text, n_out, text + n_out, context, n_context, sealed, k);
  return wrong ? PL_E_DATA : PL_OK; /* `out` is zero when it is wrong */
}

int pl_seal(const pl_secret *key, const uint8_t *context, size_t n_context, const pl_secret *plain,
            uint8_t *out, size_t n_out) {
  const uint8_t *bytes = pl_secret_bytes(plain);
  if (!bytes) return PL_E_STATE;
  return pl_seal_public(key, context, n_context, bytes, bytes_of(plain), out, n_out);
}

int pl_unseal(const pl_secret *key, const uint8_t *context, size_t n_context,
              const uint8_t *sealed, size_t n_sealed, pl_secret *plain) {
  uint8_t *bytes = pl_secret_bytes(plain);
  if (!bytes) return PL_E_STATE;
  int64_t n_bits = pl_secret_bits(plain);
  explicit_bzero(bytes, bytes_of(plain));
  int status = pl_unseal_public(key, context, n_context, sealed, n_sealed, bytes, bytes_of(plain));
  /* Bits behind the last one are zero in every secret: nothing else was ever sealed. */
  if (status == PL_OK && n_bits % 8 && bytes[n_bits / 8] & (0xff >> n_bits % 8)) status = PL_E_DATA;
  if (status) explicit_bzero(bytes, bytes_of(plain));
  return status;
}

static void pad_to_16(crypto_onetimeauth_poly1305_state *mac, size_t n) {
  static const uint8_t zeros[16];
  crypto_onetimeauth_poly1305_update(mac, zeros, -n & 15);
}

/* What the sealing of public bytes computes, in pieces: the key of this nonce, and the
 * authenticator's start. */
static void seal_start(crypto_onetimeauth_poly1305_state *mac, uint8_t sub[32], const uint8_t *key,
                       const uint8_t *nonce, const uint8_t *context, size_t n_context) {
  uint8_t first[64];
  crypto_core_hchacha20(sub, nonce, key, NULL);
  crypto_stream_chacha20(first, sizeof first, nonce + 16, sub);
  crypto_onetimeauth_poly1305_init(mac, first);
  explicit_bzero(first, sizeof first);
  crypto_onetimeauth_poly1305_update(mac, context, n_context);
  pad_to_16(mac, n_context);
}

static void seal_end(crypto_onetimeauth_poly1305_state *mac, size_t n_context, size_t n_text,
                     uint8_t *tag) {
  uint64_t sizes[2] = {n_context, n_text}; /* little endian: secret.h */
  pad_to_16(mac, n_text);
  crypto_onetimeauth_poly1305_update(mac, (const uint8_t *)sizes, sizeof sizes);
  crypto_onetimeauth_poly1305_final(mac, tag);
  explicit_bzero(mac, sizeof *mac);
}

static int write_whole(int fd, const uint8_t *data, size_t n) {
  while (n) {
    ssize_t done = write(fd, data, n);
    if (done < 0 && errno == EINTR) continue;
    if (done == 0) errno = EIO;
    if (done <= 0) return PL_E_STATE;
    data += done, n -= (size_t)done;
  }
  return PL_OK;
}

int pl_seal_fd(const pl_secret *key, const uint8_t *context, size_t n_context,
               const pl_secret *plain, int fd, uint8_t *tag) {
  const uint8_t *k = sealing_key(key), *bytes = pl_secret_bytes(plain);
  uint8_t nonce[PL_SEAL_NONCE], sub[32], text[PIECE];
  errno = 0;
  if (!k || !bytes) return PL_E_STATE;
  int status = fill_random(nonce, sizeof nonce);
  if (!status) status = write_whole(fd, nonce, sizeof nonce);
  if (status) return status;
  crypto_onetimeauth_poly1305_state mac;
  seal_start(&mac, sub, k, nonce, context, n_context);
  const size_t n = bytes_of(plain);
  for (size_t at = 0; at < n && !status; at += PIECE) {
    size_t size = n - at < PIECE ? n - at : PIECE;
    crypto_stream_chacha20_xor_ic(text, bytes + at, size, nonce + 16, 1 + at / 64, sub);
    crypto_onetimeauth_poly1305_update(&mac, text, size);
    status = write_whole(fd, text, size);
  }
  seal_end(&mac, n_context, n, tag);
  explicit_bzero(sub, sizeof sub);
  return status ? status : write_whole(fd, tag, PL_SEAL_TAG);
}

int pl_derive_key(pl_secret *out, const pl_secret *key, const uint8_t *purpose, size_t n) {
  uint8_t *target = pl_secret_bytes(out);
  const uint8_t *source = pl_secret_bytes(key);
  if (!target || !source) return PL_E_STATE;
  if (pl_secret_bits(out) != PL_SEAL_KEY_BITS || bytes_of(key) < 32 || bytes_of(key) > 64)
    return PL_E_ARGUMENT;
  crypto_blake2b_keyed(target, PL_SEAL_KEY_BITS / 8, source, bytes_of(key), purpose, n);
  return PL_OK;
}

int pl_keyed_digest(const pl_secret *key, const uint8_t *data, size_t n, uint8_t *out) {
  const uint8_t *source = pl_secret_bytes(key);
  if (!source) return PL_E_STATE;
  if (bytes_of(key) < 32 || bytes_of(key) > 64) return PL_E_ARGUMENT;
  crypto_blake2b_keyed(out, 32, source, bytes_of(key), data, n);
  return PL_OK;
}

/* The working memory is more than most systems let a user lock: it is kept out of core files and
 * wiped, and may reach the swap while this runs. */
int pl_stretch_passphrase(pl_secret *out, const pl_secret *passphrase, const uint8_t *salt,
                          uint32_t kibibytes, uint32_t passes) {
  uint8_t *target = pl_secret_bytes(out);
  const uint8_t *pass = pl_secret_bytes(passphrase);
  if (!target || !pass) return PL_E_STATE;
  if (pl_secret_bits(out) != PL_SEAL_KEY_BITS || kibibytes < 8 || kibibytes > 1u << 21 || !passes)
    return PL_E_ARGUMENT;
  size_t size = (size_t)kibibytes * 1024;
  void *work = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (work == MAP_FAILED) return PL_E_MEMORY;
  (void)madvise(work, size, MADV_DONTDUMP);
  crypto_argon2_config config = {CRYPTO_ARGON2_ID, kibibytes, passes, 1};
  crypto_argon2_inputs inputs = {pass, salt, (uint32_t)bytes_of(passphrase), 16};
  crypto_argon2(target, PL_SEAL_KEY_BITS / 8, work, config, inputs, crypto_argon2_no_extras);
  explicit_bzero(work, size);
  munmap(work, size);
  return PL_OK;
}

int pl_protect_process(void) {
  struct rlimit none = {0, 0};
  if (setrlimit(RLIMIT_CORE, &none)) return PL_E_STATE;
  return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) ? PL_E_STATE : PL_OK;
}
