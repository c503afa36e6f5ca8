/* Cascade end to end in C, meant for ASan and UBSan: agreement, equal bits from every build of
 * the inner loops, damaged requests, parities that lie. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cascade_bob.h"
#include "cpu.h"
#include "secret.h"

static uint64_t state = 1;

static uint64_t next(void) { /* SplitMix64 */
  uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

static void need(int condition, const char *what) {
  if (condition) return;
  fprintf(stderr, "test_cascade: %s (state %llu)\n", what, (unsigned long long)state);
  exit(1);
}

typedef struct {
  pl_secret *alice, *bob, *out;
  int64_t bits;
  uint8_t seed[32];
} keys;

static keys make_keys(int64_t bits, double rate) {
  keys k = {.bits = bits};
  need(pl_secret_new(&k.alice, bits) == PL_OK && pl_secret_new(&k.bob, bits) == PL_OK &&
           pl_secret_new(&k.out, bits) == PL_OK,
       "secrets");
  uint8_t *a = pl_secret_bytes(k.alice), *b = pl_secret_bytes(k.bob);
  uint64_t limit = (uint64_t)(rate * 4294967296.0);
  for (int64_t i = 0; i < bits; i++) {
    unsigned bit = next() & 1, error = next() >> 32 < limit;
    a[i >> 3] |= (uint8_t)(bit << (7 - (i & 7)));
    b[i >> 3] |= (uint8_t)((bit ^ error) << (7 - (i & 7)));
  }
  for (int i = 0; i < 32; i++) k.seed[i] = (uint8_t)next();
  return k;
}

static void drop_keys(keys *k) {
  pl_secret_free(k->alice);
  pl_secret_free(k->bob);
  pl_secret_free(k->out);
}

/* A whole conversation; returns a checksum of everything that was said. */
static uint64_t talk(pl_cascade_alice *alice, pl_cascade_bob *bob) {
  uint64_t sum = 0;
  for (;;) {
    int64_t size = pl_cascade_bob_request(bob, NULL, 0);
    need(size >= 0, "request");
    if (size == 0) return sum;
    uint8_t *request = malloc((size_t)size);
    need(pl_cascade_bob_request(bob, request, (size_t)size) == size, "request again");
    int64_t bits = pl_cascade_alice_measure(alice, request, (size_t)size);
    need(bits > 0, "measure");
    size_t bytes = (size_t)(bits + 7) / 8;
    uint8_t *answer = malloc(bytes); /* exact, so that one byte too many is seen */
    need(pl_cascade_alice_answer(alice, request, (size_t)size, answer, bytes) == (int64_t)bytes,
         "answer");
    need(pl_cascade_bob_receive(bob, answer, bytes) == PL_OK, "receive");
    for (int64_t i = 0; i < size; i++) sum = (sum ^ request[i]) * 0x100000001b3u;
    for (size_t i = 0; i < bytes; i++) sum = (sum ^ answer[i]) * 0x100000001b3u;
    free(request);
    free(answer);
  }
}

static void agreement(void) {
  static const int64_t lengths[] = {1, 2, 63, 64, 65, 1000, 4096, 5000, 65535, 65537, 140000};
  static const double rates[] = {0, 0.01, 0.05, 0.11};
  pl_cascade_alice *alice = NULL;
  pl_cascade_bob *bob = NULL;
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
    for (int r = 0; r < 4; r++) {
      keys k = make_keys(lengths[i], rates[r]);
      int ok = alice ? pl_cascade_alice_restart(alice, k.alice, k.seed, 1 << 30)
                     : pl_cascade_alice_new(&alice, k.alice, k.seed, 1 << 30);
      need(ok == PL_OK, "alice");
      uint64_t sums[2];
      const cc_kernels *all[2] = {&cc_portable_kernels, &cc_portable_kernels};
#if defined(__x86_64__)
      if (pl_simd_machine() >= PL_SIMD_AVX2) all[1] = &cc_bmi2_kernels;
#endif
      for (int build = 0; build < 2; build++) {
        ok = bob ? pl_cascade_bob_restart(bob, k.bob, k.seed, rates[r])
                 : pl_cascade_bob_new(&bob, k.bob, k.seed, rates[r]);
        need(ok == PL_OK, "bob");
        bob->pub.kernels = all[build];
        sums[build] = talk(alice, bob);
        need(pl_cascade_bob_key(bob, k.out) == PL_OK, "key");
        need(pl_secret_equal(k.alice, k.out) == 1, "keys differ");
      }
      need(sums[0] == sums[1], "builds differ");
      drop_keys(&k);
    }
  pl_cascade_alice_free(alice);
  pl_cascade_bob_free(bob);
}

/* Requests with damage; nothing but PL_E_DATA or a counted answer comes. */
static void damaged_requests(void) {
  keys k = make_keys(70000, 0.03);
  pl_cascade_alice *alice;
  need(pl_cascade_alice_new(&alice, k.alice, k.seed, 1 << 30) == PL_OK, "alice");
  int answered = 0;
  for (int n = 0; n < 20000; n++) {
    /* a good group of halves, or of lower halves, then up to two bytes changed or some cut off */
    size_t size = next() % 4 ? 26 : 6;
    uint64_t what = next() % 4 ? next() % 3 : 16 + next() % 16;
    uint8_t good[26] = {(uint8_t)(next() % 2), 0, (uint8_t)what, 0, 10};
    for (size_t i = 6; i < sizeof good; i++) good[i] = (uint8_t)(next() & 0x7f);
    if (size == 6) good[2] %= 3, good[3] = CC_OP_LOWER << 5 | 10, good[4] = 36;
    for (uint64_t i = next() % 3; i > 0; i--) good[next() % size] = (uint8_t)next();
    if (next() % 4 == 0) size = 1 + next() % size;
    uint8_t *request = malloc(size);
    memcpy(request, good, size);
    int64_t before = pl_cascade_alice_leak(alice);
    int64_t bits = pl_cascade_alice_measure(alice, request, size);
    need(bits == PL_E_DATA || (bits > 0 && bits <= 65535 * 5), "measure");
    size_t bytes = bits > 0 ? (size_t)(bits + 7) / 8 : 8;
    uint8_t *answer = malloc(bytes);
    int64_t got = pl_cascade_alice_answer(alice, request, size, answer, bytes);
    need(got == PL_E_DATA || (bits > 0 && got == (int64_t)bytes), "answer");
    need(pl_cascade_alice_leak(alice) == before + (got > 0 ? bits : 0), "count");
    for (size_t i = 0; got < 0 && bits > 0 && i < bytes; i++) need(!answer[i], "half an answer");
    if (bits > 8)
      need(pl_cascade_alice_answer(alice, request, size, answer, 1) == PL_E_CAPACITY, "room");
    answered += got > 0;
    free(request);
    free(answer);
  }
  need(answered > 200 && answered < 15000, "the damage should be neither nothing nor all");
  need(pl_cascade_alice_measure(alice, (const uint8_t *)"", 0) == PL_E_DATA, "empty");
  pl_cascade_alice_free(alice);
  drop_keys(&k);
}

/* Random parities: Bob ends, one way or the other, after a bounded number of rounds. */
static void lies(void) {
  for (int n = 0; n < 60; n++) {
    keys k = make_keys(1 + (int64_t)(next() % 9000), 0.05);
    pl_cascade_bob *bob;
    need(pl_cascade_bob_new(&bob, k.bob, k.seed, n % 3 * 0.2) == PL_OK, "bob");
    int rounds = 0, status = PL_OK;
    while (status == PL_OK && pl_cascade_bob_request(bob, NULL, 0) > 0) {
      size_t bytes = (size_t)(bob->request_bits + 7) / 8;
      uint8_t *answer = malloc(bytes);
      for (size_t i = 0; i < bytes; i++) answer[i] = (uint8_t)next();
      status = pl_cascade_bob_receive(bob, answer, bytes);
      need(status == PL_OK || status == PL_E_DATA, "receive");
      free(answer);
      need(++rounds < 20000, "kept busy");
    }
    pl_cascade_bob_free(bob);
    drop_keys(&k);
  }
}

int main(void) {
  pl_cascade_alice_free(NULL);
  pl_cascade_bob_free(NULL);
  agreement();
  damaged_requests();
  lies();
  return 0;
}
