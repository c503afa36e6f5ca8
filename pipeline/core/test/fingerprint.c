/* Results of the core for fixed inputs, one line and checksum per kind of result, for comparison
 * between machines: two ends of a link must agree on any machine. Used by .ci/aarch64; printed, not
 * compared with stored values, since an improved error correction sends other messages. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "secret.h"
#include "require.h"

static uint64_t state, sum;

static uint64_t next(void) { /* SplitMix64 */
  uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

static void fill(void *to, size_t n) {
  for (size_t i = 0; i < n; i++) ((uint8_t *)to)[i] = (uint8_t)(next() >> 56);
}

static void add(const void *data, size_t n) { /* FNV-1a */
  for (size_t i = 0; i < n; i++) sum = (sum ^ ((const uint8_t *)data)[i]) * 0x100000001b3u;
}

static void add_number(int64_t number) { add(&number, sizeof number); }

static pl_secret *some_bits(int64_t n) {
  pl_secret *secret;
  uint8_t *bytes = malloc((size_t)n / 8 + 1);
  REQUIRE(bytes && pl_secret_new(&secret, n) == PL_OK);
  fill(bytes, (size_t)n / 8 + 1);
  REQUIRE(pl_secret_import(secret, bytes, n / 8 + 1) == PL_OK);
  free(bytes);
  return secret;
}

static void add_secret(const pl_secret *secret) {
  add(pl_secret_bytes(secret), (size_t)(pl_secret_bits(secret) + 7) / 8);
}

/* A copy with every bit flipped at this rate (in 2^-16). */
static pl_secret *noisy(const pl_secret *from, unsigned rate) {
  int64_t n = pl_secret_bits(from);
  pl_secret *secret;
  REQUIRE(pl_secret_new(&secret, n) == PL_OK && pl_secret_copy(secret, 0, from, 0, n) == PL_OK);
  for (int64_t i = 0; i < n; i++)
    if ((next() & 0xffff) < rate) pl_secret_bytes(secret)[i >> 3] ^= (uint8_t)(0x80 >> (i & 7));
  return secret;
}

static void hashes(void) {
  pl_secret *key = some_bits(128), *pad = some_bits(200);
  pl_polymac *mac;
  uint8_t message[3000], out[32];
  fill(message, sizeof message);
  REQUIRE(pl_polymac_new(&mac, key) == PL_OK);
  for (int64_t n = 0; n <= (int64_t)sizeof message; n += n < 600 ? 1 : 97) {
    REQUIRE(pl_polymac_update(mac, message, n) == PL_OK);
    REQUIRE(pl_polymac_tag(mac, pad, n % 73, out) == PL_OK);
    add(out, 16);
    pl_secret *block = some_bits(8 * n + n % 8);
    REQUIRE(pl_verification_hash(block, message, 1 + (int)(n % 128), out) == PL_OK);
    add(out, (size_t)(n % 128 / 8 + 1));
    REQUIRE(pl_hmac_sha256(block, message, n, out) == PL_OK);
    add(out, 32);
    pl_secret_free(block);
  }
  pl_polymac_free(mac);
  pl_secret_free(key);
  pl_secret_free(pad);
}

static void amplification(void) {
  static const int64_t sizes[] = {1, 64, 65, 1000, 4097, 20000, 33333, 65536, 200000, 1000003};
  pl_toeplitz *context;
  REQUIRE(pl_toeplitz_new(&context) == PL_OK);
  for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
    int modified = i % 2;
    int64_t n = sizes[i / 2], n_out = 1 + n * (int64_t)(i % 3) / 3;
    if (n_out > n) n_out = n;
    size_t bytes = (size_t)((modified ? n - 1 : n + n_out - 1) + 7) / 8;
    pl_secret *x = some_bits(n), *y = some_bits(n_out);
    uint8_t *seed = malloc(bytes + 1);
    REQUIRE(seed);
    fill(seed, bytes);
    REQUIRE(pl_toeplitz_hash(context, y, x, seed, (int64_t)bytes, modified) == PL_OK);
    add_secret(y);
    pl_secret_free(x);
    pl_secret_free(y);
    free(seed);
  }
  pl_toeplitz_free(context);
}

static uint8_t question[1 << 20], answer[1 << 20];

static void cascade(void) {
  static const unsigned rates[] = {0, 66, 655, 3277, 7209}; /* 0 to 11 % */
  for (int64_t bits = 1; bits < 300000; bits = 9 * bits + 7)
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
      pl_secret *a = some_bits(bits), *b = noisy(a, rates[r]);
      pl_cascade_alice *alice;
      pl_cascade_bob *bob;
      uint8_t seed[32];
      fill(seed, sizeof seed);
      REQUIRE(pl_cascade_alice_new(&alice, a, seed, 1 << 30) == PL_OK);
      REQUIRE(pl_cascade_bob_new(&bob, b, seed, rates[r] / 65536.0) == PL_OK);
      for (int64_t n; (n = pl_cascade_bob_request(bob, question, sizeof question)) != 0;) {
        REQUIRE(n > 0 && n <= (int64_t)sizeof question);
        add(question, (size_t)n);
        n = pl_cascade_alice_answer(alice, question, (size_t)n, answer, sizeof answer);
        REQUIRE(n > 0 && pl_cascade_bob_receive(bob, answer, (size_t)n) == PL_OK);
        add(answer, (size_t)n);
      }
      REQUIRE(pl_cascade_bob_key(bob, b) == PL_OK);
      add_secret(b);
      pl_cascade_alice_free(alice);
      pl_cascade_bob_free(bob);
      pl_secret_free(a);
      pl_secret_free(b);
    }
}

/* Both ends choose the code by the estimate alone. */
static void ldpc_messages(void) {
  for (int64_t bits = PL_LDPC_MIN_BITS; bits < 400000; bits = bits * 3 / 2 + 5) {
    pl_secret *key = some_bits(bits);
    for (int step = 0; step <= 50; step++) {
      const uint8_t seed[32] = {(uint8_t)step};
      pl_ldpc_alice *alice;
      REQUIRE(pl_ldpc_alice_new(&alice, key, 0.0025 * step, seed, 1 << 30) == PL_OK);
      int64_t n = pl_ldpc_alice_syndrome(alice, answer, sizeof answer);
      REQUIRE(n > 0 && n <= (int64_t)sizeof answer);
      add_number(n);
      add(answer, (size_t)n);
      pl_ldpc_alice_free(alice);
    }
    pl_secret_free(key);
  }
}

static void ldpc_decoding(void) {
  static const unsigned rates[] = {655, 1311, 3277}, estimates[] = {8, 17, 55}; /* in 1/1000 */
  for (int i = 0; i < 3; i++) {
    pl_secret *a = some_bits(40000 + i), *b = noisy(a, rates[i]);
    const uint8_t seed[32] = {(uint8_t)i};
    pl_ldpc_alice *alice;
    pl_ldpc_bob *bob;
    REQUIRE(pl_ldpc_alice_new(&alice, a, estimates[i] / 1000.0, seed, 1 << 30) == PL_OK);
    REQUIRE(pl_ldpc_bob_new(&bob, b, estimates[i] / 1000.0, seed) == PL_OK);
    int64_t n = pl_ldpc_alice_syndrome(alice, answer, sizeof answer);
    REQUIRE(pl_ldpc_bob_decode(bob, answer, (size_t)n) >= 0);
    while ((n = pl_ldpc_bob_request(bob, question, sizeof question)) != 0) {
      REQUIRE(n > 0);
      add(question, (size_t)n);
      n = pl_ldpc_alice_disclose(alice, question, (size_t)n, answer, sizeof answer);
      REQUIRE(n > 0 && pl_ldpc_bob_receive(bob, answer, (size_t)n) >= 0);
    }
    REQUIRE(pl_ldpc_bob_key(bob, b) == PL_OK);
    add_secret(b);
    add_number(pl_ldpc_bob_iterations(bob));
    pl_ldpc_alice_free(alice);
    pl_ldpc_bob_free(bob);
    pl_secret_free(a);
    pl_secret_free(b);
  }
}

enum { CLICKS = 4000 };

static void announcements(void) {
  static int64_t a[CLICKS], b[CLICKS], i[CLICKS], j[CLICKS];
  static uint8_t label[CLICKS];
  uint64_t histogram[200] = {0};
  for (int k = 0; k < CLICKS; k++) {
    a[k] = (k ? a[k - 1] : 0) + (int64_t)(next() % 2000);
    b[k] = (k ? b[k - 1] : 0) + (int64_t)(next() % 2000);
    label[k] = (uint8_t)(next() % 4);
  }
  int64_t n = pl_timecode_encode(a, label, CLICKS, 2, 9, answer, sizeof answer);
  REQUIRE(n > 0);
  add(answer, (size_t)n);
  n = pl_match(a, CLICKS, b, CLICKS, 400, i, j, CLICKS);
  REQUIRE(n > 0);
  add(i, (size_t)n * sizeof *i);
  add(j, (size_t)n * sizeof *j);
  add_number(pl_correlate(a, CLICKS, b, CLICKS, -5000, 50, 200, histogram));
  add(histogram, sizeof histogram);
}

static void sifting(void) {
  for (int64_t gates = 0; gates < 3000; gates = gates * 3 / 2 + 1) {
    uint8_t maps[3][400];
    fill(maps, sizeof maps);
    pl_secret *bits = some_bits(gates), *kept;
    int64_t n = pl_sift_count(maps[0], maps[1], maps[2], gates);
    REQUIRE(n >= 0 && pl_secret_new(&kept, n) == PL_OK);
    REQUIRE(pl_sift_bits(kept, bits, maps[0], maps[1], maps[2], gates) == PL_OK);
    add_secret(kept);
    pl_secret_free(bits);
    pl_secret_free(kept);
  }
}

int main(void) {
  static const struct {
    const char *name;
    void (*run)(void);
  } parts[] = {{"hashes", hashes},
               {"amplification", amplification},
               {"cascade", cascade},
               {"ldpc-messages", ldpc_messages},
               {"ldpc-decoding", ldpc_decoding},
               {"announcements", announcements},
               {"sifting", sifting}};
  int level = pl_simd_level();
  REQUIRE(level >= 0); /* PHOTONLINK_SIMD names a level of this machine */
  printf("level %s\n", pl_simd_name(level));
  for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
    state = k;
    sum = 0xcbf29ce484222325u;
    parts[k].run();
    printf("%s %016llx\n", parts[k].name, (unsigned long long)sum);
  }
  return 0;
}
