/* SHA-256 (FIPS 180-4) and HMAC (RFC 2104) of a secret buffer. */
#include "sha256.h"

#include <string.h>

#include "secret.h"

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

static uint32_t load_be32(const uint8_t *from) {
  uint32_t word;
  memcpy(&word, from, 4);
  return __builtin_bswap32(word);
}

static void compress(uint32_t state[8], const uint8_t block[64]) {
  uint32_t w[64], v[8];
  for (int t = 0; t < 16; t++) w[t] = load_be32(block + 4 * t);
  for (int t = 16; t < 64; t++) {
    uint32_t s0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ w[t - 15] >> 3;
    uint32_t s1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ w[t - 2] >> 10;
    w[t] = w[t - 16] + s0 + w[t - 7] + s1;
  }
  memcpy(v, state, sizeof v);
  for (int t = 0; t < 64; t++) {
    uint32_t s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25);
    uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
    uint32_t t1 = v[7] + s1 + choice + K[t] + w[t];
    uint32_t s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22);
    uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
    memmove(v + 1, v, 7 * sizeof v[0]);
    v[4] += t1;
    v[0] = t1 + s0 + majority;
  }
  for (int i = 0; i < 8; i++) state[i] += v[i];
  explicit_bzero(w, sizeof w);
  explicit_bzero(v, sizeof v);
}

void pl_sha256_start(pl_sha256 *hash) {
  static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  memcpy(hash->state, start, sizeof start);
  hash->total_bytes = 0;
}

void pl_sha256_update(pl_sha256 *hash, const uint8_t *data, size_t n_bytes) {
  while (n_bytes > 0) {
    size_t held = hash->total_bytes % 64, take = n_bytes < 64 - held ? n_bytes : 64 - held;
    memcpy(hash->partial + held, data, take);
    if (held + take == 64) compress(hash->state, hash->partial);
    hash->total_bytes += take;
    data += take;
    n_bytes -= take;
  }
}

void pl_sha256_finish(pl_sha256 *hash, uint8_t digest[PL_DIGEST_BYTES]) {
  static const uint8_t padding[64] = {0x80};
  uint64_t bits = __builtin_bswap64(8 * hash->total_bytes);
  uint8_t length[8];
  memcpy(length, &bits, 8);
  pl_sha256_update(hash, padding, 1 + (119 - hash->total_bytes % 64) % 64);
  pl_sha256_update(hash, length, 8);
  for (int i = 0; i < 8; i++) {
    uint32_t word = __builtin_bswap32(hash->state[i]);
    memcpy(digest + 4 * i, &word, 4);
  }
  explicit_bzero(hash, sizeof *hash);
}

int pl_hmac_sha256(const pl_secret *key, const uint8_t *nonce, int64_t n_bytes, uint8_t *out) {
  const uint8_t *bytes = pl_secret_bytes(key);
  if (!bytes) return PL_E_STATE;
  if (n_bytes < 0) return PL_E_ARGUMENT;
  size_t key_bytes = (size_t)(pl_secret_bits(key) + 7) / 8;
  uint64_t bits = __builtin_bswap64((uint64_t)pl_secret_bits(key));
  uint8_t block[64] = {0}, length[8];
  pl_sha256 hash;
  memcpy(length, &bits, 8);
  pl_sha256_start(&hash);
  if (key_bytes > 64) {
    pl_sha256_update(&hash, bytes, key_bytes);
    pl_sha256_finish(&hash, block);
    pl_sha256_start(&hash);
  } else {
    memcpy(block, bytes, key_bytes);
  }
  for (int i = 0; i < 64; i++) block[i] ^= 0x36;
  pl_sha256_update(&hash, block, 64);
  pl_sha256_update(&hash, length, 8);
  pl_sha256_update(&hash, nonce, (size_t)n_bytes);
  pl_sha256_finish(&hash, out);
  pl_sha256_start(&hash);
  for (int i = 0; i < 64; i++) block[i] ^= 0x36 ^ 0x5c;
  pl_sha256_update(&hash, block, 64);
  pl_sha256_update(&hash, out, 32);
  pl_sha256_finish(&hash, out);
  explicit_bzero(block, sizeof block);
  return PL_OK;
}
