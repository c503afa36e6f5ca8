/* The functions of docs/core_constant_time.md on secrets that valgrind takes for undefined memory:
 * a branch or an address that depends on one is an error of memcheck (Langley's ctgrind).
 *
 * On its own this only runs them. tests/pipeline/test_native_constant_time.py runs it under
 * valgrind, and once more with the argument "leak", which must be found. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "secret.h"
#include "require.h"

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define VALGRIND_MAKE_MEM_UNDEFINED(address, n) ((void)(address), (void)(n))
#define VALGRIND_MAKE_MEM_DEFINED(address, n) ((void)(address), (void)(n))
#endif

static pl_secret *secret_of(int64_t n_bits) {
  pl_secret *secret;
  REQUIRE(pl_secret_new(&secret, n_bits) == PL_OK && pl_secret_randomize(secret) == PL_OK);
  VALGRIND_MAKE_MEM_UNDEFINED(pl_secret_bytes(secret), (size_t)(n_bits + 7) / 8);
  return secret;
}

/* From here on the value is public. */
static int publish(int value) {
  VALGRIND_MAKE_MEM_DEFINED(&value, sizeof value);
  return value;
}

static void buffers(void) {
  pl_secret *a = secret_of(1003), *b = secret_of(1003), *c = secret_of(64);
  int64_t indices[64], ones;
  uint8_t digest[32], bytes[126];
  for (int i = 0; i < 64; i++) indices[i] = 997 - 13 * i;
  REQUIRE(pl_secret_copy(a, 5, b, 3, 900) == PL_OK && pl_secret_xor(a, b) == PL_OK);
  REQUIRE(pl_secret_select(c, a, indices, 64) == PL_OK && pl_secret_wipe(b, 3, 70) == PL_OK);
  REQUIRE(publish(pl_secret_equal(a, b)) == 0 && publish(pl_secret_equal(a, a)) == 1);
  ones = pl_secret_ones(a);
  REQUIRE(publish(ones >= 0));
  REQUIRE(pl_hmac_sha256(a, digest, 0, digest) == PL_OK);
  REQUIRE(pl_hmac_sha256(c, (const uint8_t *)"nonce", 5, digest) == PL_OK);
  REQUIRE(pl_secret_export(a, bytes, sizeof bytes) == PL_OK);
  REQUIRE(pl_secret_import(b, bytes, sizeof bytes) == PL_OK);
  pl_secret_free(a);
  pl_secret_free(b);
  pl_secret_free(c);
}

static void hashes(void) {
  pl_secret *key = secret_of(128), *pad = secret_of(300), *block = secret_of(5003);
  pl_polymac *mac;
  uint8_t message[1000] = {1, 2, 3}, tag[16];
  REQUIRE(pl_polymac_new(&mac, key) == PL_OK);
  REQUIRE(pl_polymac_update(mac, message, 1000) == PL_OK);
  REQUIRE(pl_polymac_tag(mac, pad, 77, tag) == PL_OK);
  REQUIRE(publish(pl_polymac_verify(mac, pad, 77, tag)) == 0);
  REQUIRE(pl_verification_hash(block, message, 64, tag) == PL_OK);
  pl_polymac_free(mac);
  pl_secret_free(key);
  pl_secret_free(pad);
  pl_secret_free(block);
}

static void amplification(int64_t n, int64_t n_out) {
  pl_secret *x = secret_of(n), *y = secret_of(n_out);
  pl_toeplitz *context;
  size_t plain = (size_t)(n + n_out + 6) / 8, modified = (size_t)(n + 6) / 8;
  uint8_t *seed = malloc(plain);
  for (size_t i = 0; i < plain; i++) seed[i] = (uint8_t)(i * 181 + 7);
  REQUIRE(pl_toeplitz_new(&context) == PL_OK);
  REQUIRE(pl_toeplitz_hash(context, y, x, seed, (int64_t)plain, 0) == PL_OK);
  REQUIRE(pl_toeplitz_hash(context, y, x, seed, (int64_t)modified, 1) == PL_OK);
  REQUIRE(pl_toeplitz_begin(context, n, n_out, 1) == PL_OK);
  for (int64_t at = 0; at < n; at += 1777) /* no border that another length has */
    REQUIRE(pl_toeplitz_add(context, x, at, n - at < 1777 ? n - at : 1777) == PL_OK);
  REQUIRE(pl_toeplitz_finish(context, y, seed, (int64_t)modified) == PL_OK);
  pl_toeplitz_free(context);
  pl_secret_free(x);
  pl_secret_free(y);
  free(seed);
}

/* Alice's end of Cascade: what is asked is public, her key is not. */
static void answers(void) {
  static const uint8_t seed[32] = {5}, request[] = {
      0, 0, 0, 1 << 5 | 6, 128, 0,        /* blocks of 64 of the first pass */
      0, 0, 1, 1 << 5 | 8, 32, 0,         /* of 256 of the second */
      0, 0, 2, 4 << 5 | 12, 2, 0,         /* lower halves of the third */
      0, 0, 2, 0, 2, 0, 32, 0, 192, 3,    /* two halves */
      0, 0, 17, 0, 1, 0, 0, 4,            /* a half of a random subset */
      0, 0, 16, 3 << 5, 16, 0};           /* all random subsets */
  uint8_t parities[64];
  pl_secret *key = secret_of(5000);
  pl_cascade_alice *alice;
  REQUIRE(pl_cascade_alice_new(&alice, key, seed, 1000) == PL_OK);
  REQUIRE(pl_cascade_alice_answer(alice, request, sizeof request, parities, sizeof parities) ==
          (128 + 32 + 2 + 2 + 1 + 16 + 7) / 8);
  pl_cascade_alice_free(alice);
  pl_secret_free(key);
}

/* Alice's end of LDPC: her syndrome, and bits that Bob asks for by their (public) indices. */
static void syndromes(void) {
  static const uint8_t seed[32] = {5}, request[] = {3, 0, 0, 0, 200, 0, 0, 0, 8, 31, 0, 0};
  pl_secret *key = secret_of(8193), *next = secret_of(10007);
  pl_ldpc_alice *alice;
  uint8_t message[8192], bits[1];
  REQUIRE(pl_ldpc_alice_new(&alice, key, 0.02, seed, 100000) == PL_OK);
  REQUIRE(pl_ldpc_alice_syndrome(alice, message, sizeof message) > 0);
  REQUIRE(pl_ldpc_alice_restart(alice, next, 0.05, seed, 100000) == PL_OK);
  REQUIRE(pl_ldpc_alice_syndrome(alice, message, sizeof message) > 0);
  REQUIRE(pl_ldpc_alice_disclose(alice, request, sizeof request, bits, 1) == 1);
  pl_ldpc_alice_free(alice);
  pl_secret_free(key);
  pl_secret_free(next);
}

/* Clicks and bases are public, the bits are not. */
static void sifting(void) {
  enum { GATES = 1003 };
  uint8_t maps[3][(GATES + 7) / 8];
  for (int m = 0; m < 3; m++)
    for (size_t i = 0; i < sizeof maps[m]; i++) maps[m][i] = (uint8_t)((m + 1) * 53 * (i + 3));
  int64_t kept = pl_sift_count(maps[0], maps[1], maps[2], GATES);
  REQUIRE(kept > 100);
  pl_secret *bits = secret_of(GATES), *out = secret_of(kept);
  REQUIRE(pl_sift_bits(out, bits, maps[0], maps[1], maps[2], GATES) == PL_OK);
  pl_secret_free(bits);
  pl_secret_free(out);
}

static void leak(void) {
  pl_secret *a = secret_of(8);
  if (pl_secret_bytes(a)[0] & 1) printf("a branch on a secret\n");
  pl_secret_free(a);
}

int main(int argc, char **argv) {
  buffers();
  hashes();
  answers();
  syndromes();
  sifting();
  amplification(1001, 333);
  amplification(40001, 20011);
  if (argc > 1 && strcmp(argv[1], "leak") == 0) leak();
  return 0;
}
