/* The polynomial hash over GF(2^128): message authentication and verification of a key block. */
#include <stdbool.h>
#include <string.h>

#include "cpu.h"
#include "gf128.h"
#include "secret.h"

/* The whole struct is locked memory, which is zero in a forked child: it holds no pointers. */
struct pl_polymac {
  pl_u128 powers[PL_GF128_POWERS]; /* k, k^2, ... */
  pl_u128 hash;
  uint64_t total_bytes;
  uint8_t partial[16];
  bool usable; /* not in a forked child: with a key of zeros every tag would be its pad */
};

static void set_point(pl_polymac *mac, pl_u128 point) {
  const pl_gf128_kernel *kernel = pl_gf128_kernels(pl_simd());
  mac->powers[0] = point;
  for (int i = 1; i < PL_GF128_POWERS; i++)
    mac->powers[i] = kernel->multiply(mac->powers[i - 1], point);
}

static void absorb(pl_polymac *mac, const uint8_t *data, size_t blocks) {
  mac->hash = pl_gf128_kernels(pl_simd())->absorb(mac->hash, mac->powers, data, blocks);
}

static void forget(pl_polymac *mac) {
  mac->hash = (pl_u128){0, 0};
  mac->total_bytes = 0;
  explicit_bzero(mac->partial, sizeof mac->partial);
}

int pl_polymac_reset(pl_polymac *mac) {
  if (!mac || !mac->usable) return PL_E_STATE;
  forget(mac);
  return PL_OK;
}

int pl_polymac_new(pl_polymac **out, const pl_secret *key) {
  *out = NULL;
  const uint8_t *bytes = pl_secret_bytes(key);
  if (!bytes) return PL_E_STATE;
  if (pl_secret_bits(key) != 128) return PL_E_ARGUMENT;
  pl_polymac *mac = pl_locked_alloc(sizeof *mac);
  if (!mac) return PL_E_MEMORY;
  set_point(mac, pl_gf128_load(bytes));
  mac->usable = true;
  *out = mac;
  return PL_OK;
}

void pl_polymac_free(pl_polymac *mac) { pl_locked_free(mac, sizeof *mac); }

int pl_polymac_update(pl_polymac *mac, const uint8_t *data, int64_t n_bytes) {
  if (!mac || !mac->usable) return PL_E_STATE;
  if (n_bytes < 0) return PL_E_ARGUMENT;
  if (mac->total_bytes + (uint64_t)n_bytes >= (uint64_t)1 << 60) return PL_E_LIMIT;
  size_t left = (size_t)n_bytes, held = mac->total_bytes % 16;
  mac->total_bytes += left;
  if (held) {
    size_t take = left < 16 - held ? left : 16 - held;
    memcpy(mac->partial + held, data, take);
    data += take;
    left -= take;
    if (held + take < 16) return PL_OK;
    absorb(mac, mac->partial, 1);
  }
  absorb(mac, data, left / 16);
  memcpy(mac->partial, data + left / 16 * 16, left % 16);
  return PL_OK;
}

static void finish(pl_polymac *mac, uint64_t total_bits, uint8_t digest[PL_TAG_BYTES]) {
  size_t held = mac->total_bytes % 16;
  if (held) {
    memset(mac->partial + held, 0, 16 - held);
    absorb(mac, mac->partial, 1);
  }
  uint8_t length[16];
  pl_gf128_store(length, (pl_u128){total_bits, 0});
  absorb(mac, length, 1);
  pl_gf128_store(digest, mac->hash);
}

int pl_polymac_tag(pl_polymac *mac, const pl_secret *pad, int64_t pad_offset, uint8_t *tag) {
  const uint8_t *bytes = pl_secret_bytes(pad);
  if (!mac || !mac->usable || !bytes) return PL_E_STATE;
  if (pad_offset < 0 || pad_offset > pl_secret_bits(pad) - 128) return PL_E_RANGE;
  uint8_t digest[PL_TAG_BYTES], mask[PL_PAD_BYTES];
  finish(mac, 8 * mac->total_bytes, digest);
  forget(mac);
  pl_bits_copy(mask, 0, bytes, pad_offset, 128);
  for (int i = 0; i < 16; i++) tag[i] = digest[i] ^ mask[i];
  explicit_bzero(digest, sizeof digest);
  explicit_bzero(mask, sizeof mask);
  return PL_OK;
}

int pl_polymac_verify(pl_polymac *mac, const pl_secret *pad, int64_t pad_offset,
                      const uint8_t *tag) {
  uint8_t expected[PL_TAG_BYTES], difference = 0;
  int status = pl_polymac_tag(mac, pad, pad_offset, expected);
  if (status != PL_OK) return status;
  for (int i = 0; i < 16; i++) difference |= expected[i] ^ tag[i];
  explicit_bzero(expected, sizeof expected); /* a valid tag of what was received */
  return (int)((uint32_t)(difference - 1) >> 31);
}

int pl_verification_hash(const pl_secret *bits, const uint8_t *point, int tag_bits, uint8_t *out) {
  const uint8_t *bytes = pl_secret_bytes(bits);
  if (!bytes) return PL_E_STATE;
  if (tag_bits < 1 || tag_bits > 128) return PL_E_ARGUMENT;
  pl_polymac mac = {.usable = true}; /* the point is public, and the state lives for this call only */
  int64_t n_bits = pl_secret_bits(bits);
  uint8_t digest[PL_TAG_BYTES];
  set_point(&mac, pl_gf128_load(point));
  int status = pl_polymac_update(&mac, bytes, (n_bits + 7) / 8);
  finish(&mac, (uint64_t)n_bits, digest);
  memset(out, 0, 16);
  pl_bits_copy(out, 0, digest, 0, tag_bits);
  explicit_bzero(&mac, sizeof mac);
  explicit_bzero(digest, sizeof digest);
  return status;
}
