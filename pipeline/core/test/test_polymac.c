/* The polynomial hash: vectors, every level against the portable one, forged tags, divisions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "gf128.h"
#include "secret.h"
#include "require.h"

static pl_secret *secret_of(const char *hex) {
  uint8_t bytes[16];
  pl_secret *secret;
  for (int i = 0; i < 16; i++) {
    unsigned byte;
    REQUIRE(sscanf(hex + 2 * i, "%2x", &byte) == 1);
    bytes[i] = (uint8_t)byte;
  }
  REQUIRE(pl_secret_new(&secret, 128) == PL_OK);
  REQUIRE(pl_secret_import(secret, bytes, 16) == PL_OK);
  for (int i = 0; i < 16; i++) REQUIRE(bytes[i] == 0);
  return secret;
}

/* Bit by bit, most significant first. */
static pl_u128 slow_multiply(pl_u128 a, pl_u128 b) {
  pl_u128 sum = {0, 0};
  for (int i = 127; i >= 0; i--) {
    uint64_t top = sum.hi >> 63;
    sum = (pl_u128){sum.lo << 1 ^ (top ? 0x87 : 0), sum.hi << 1 | sum.lo >> 63};
    uint64_t b_bit = (i >= 64 ? b.hi >> (i - 64) : b.lo >> i) & 1;
    if (b_bit) sum = (pl_u128){sum.lo ^ a.lo, sum.hi ^ a.hi};
  }
  return sum;
}

static void levels(void) {
  uint8_t data[16 * 100];
  uint64_t state = 1;
  for (size_t i = 0; i < sizeof data; i++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    data[i] = (uint8_t)(state >> 56);
  }
  pl_u128 powers[PL_GF128_POWERS], all = {~0ull, ~0ull}, edge = {1, 1ull << 63};
  powers[0] = pl_gf128_load(data + 100);
  for (int i = 1; i < PL_GF128_POWERS; i++) powers[i] = slow_multiply(powers[i - 1], powers[0]);
  for (int level = 0; level <= pl_simd_machine(); level++) {
    const pl_gf128_kernel *kernel = pl_gf128_kernels(level);
    pl_u128 some[] = {{0, 0}, {1, 0}, all, edge, powers[0], powers[3]};
    for (int i = 0; i < 36; i++) {
      pl_u128 got = kernel->multiply(some[i / 6], some[i % 6]);
      pl_u128 wanted = slow_multiply(some[i / 6], some[i % 6]);
      REQUIRE(got.lo == wanted.lo && got.hi == wanted.hi);
    }
    for (size_t blocks = 0; blocks <= 100; blocks++) {
      pl_u128 wanted = edge, got = kernel->absorb(edge, powers, data, blocks);
      for (size_t i = 0; i < blocks; i++) {
        pl_u128 block = pl_gf128_load(data + 16 * i);
        wanted = slow_multiply((pl_u128){wanted.lo ^ block.lo, wanted.hi ^ block.hi}, powers[0]);
      }
      REQUIRE(got.lo == wanted.lo && got.hi == wanted.hi);
    }
  }
  pl_u128 ones = pl_clmul64(~0ull, ~0ull); /* (sum x^i)^2 = sum x^2i */
  REQUIRE(ones.lo == 0x5555555555555555u && ones.hi == 0x5555555555555555u);
}

static void vectors(void) { /* poly_mac128-02 and -04 of tests/vectors */
  static const uint8_t long_message[] = {0xa1, 0x2e, 0xa9, 0x4e, 0x04, 0xb5, 0xf8, 0x4e, 0xa2,
                                         0x5d, 0x27, 0x18, 0xde, 0xd3, 0x17, 0xc9, 0xeb};
  static const struct {
    const char *key, *pad;
    uint8_t tag[16];
    size_t n;
  } cases[] = {{"fc165eda0ae456add5c629a8b522d45e",
                "256e88e677bfd1fe8f6fce2bc7376047",
                {0xef, 0xc4, 0x20, 0x51, 0xc6, 0x75, 0x95, 0xbc, 0x61, 0x01, 0xd6, 0x5a, 0x71, 0x19,
                 0x6f, 0xd8},
                1},
               {"5d5de7ac035fcf6dc62b6c5e904d6f37",
                "5c8a865216ea11be2a8c11604287752e",
                {0x41, 0xe0, 0x55, 0x04, 0x37, 0x3b, 0x34, 0x02, 0x0c, 0xbb, 0x6c, 0x7a, 0x3e, 0xb3,
                 0xd0, 0x01},
                17}};
  for (int c = 0; c < 2; c++) {
    const uint8_t short_message[] = {0x6b};
    const uint8_t *message = cases[c].n == 1 ? short_message : long_message;
    pl_secret *key = secret_of(cases[c].key), *pad = secret_of(cases[c].pad);
    pl_polymac *mac;
    uint8_t tag[16];
    REQUIRE(pl_polymac_new(&mac, key) == PL_OK);
    for (size_t cut = 0; cut <= cases[c].n; cut++) { /* any division; the state starts anew */
      REQUIRE(pl_polymac_update(mac, message, (int64_t)cut) == PL_OK);
      REQUIRE(pl_polymac_update(mac, message + cut, (int64_t)(cases[c].n - cut)) == PL_OK);
      REQUIRE(pl_polymac_tag(mac, pad, 0, tag) == PL_OK);
      REQUIRE(memcmp(tag, cases[c].tag, 16) == 0);
    }
    for (int i = -1; i < 128; i++) {
      if (i >= 0) tag[i / 8] ^= (uint8_t)(1 << i % 8);
      REQUIRE(pl_polymac_update(mac, message, (int64_t)cases[c].n) == PL_OK);
      REQUIRE(pl_polymac_verify(mac, pad, 0, tag) == (i < 0));
      if (i >= 0) tag[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    REQUIRE(pl_polymac_tag(mac, pad, 1, tag) == PL_E_RANGE);
    REQUIRE(pl_polymac_tag(mac, pad, -1, tag) == PL_E_RANGE);
    REQUIRE(pl_polymac_tag(mac, NULL, 0, tag) == PL_E_STATE);
    REQUIRE(pl_polymac_update(mac, tag, -1) == PL_E_ARGUMENT);
    pl_polymac_free(mac);
    pl_secret_free(key);
    pl_secret_free(pad);
  }
  REQUIRE(pl_polymac_update(NULL, long_message, 1) == PL_E_STATE);
  REQUIRE(pl_polymac_reset(NULL) == PL_E_STATE);
}

int main(void) {
  levels();
  vectors();
  return 0;
}
