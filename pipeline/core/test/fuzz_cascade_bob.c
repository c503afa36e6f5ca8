/* libFuzzer on Bob's end of Cascade: the input is laid over the answers of an honest Alice, byte
 * by byte, so that lies come early, late or never, and every stage is reached. Bob must end after a
 * bounded number of rounds, with keys of his own or with a named error; both builds of the inner
 * loops must ask and find the same; and when nobody lied, he must not complain. */
#include "cascade_bob.h"
#include "fuzz.h"

enum { ROUNDS_MAX = 20000 };

typedef struct {
  pl_cascade_bob *bob;
  pl_cascade_alice *alice;
  source lies;
  int lied, status;
  uint64_t said; /* checksum of everything asked */
} talk;

static void answer(talk *t, const uint8_t *request, size_t size) {
  int64_t bits = pl_cascade_alice_measure(t->alice, request, size);
  REQUIRE(bits > 0 && bits == t->bob->request_bits);
  size_t bytes = (size_t)(bits + 7) / 8;
  uint8_t *parities = exactly(bytes);
  int64_t got = pl_cascade_alice_answer(t->alice, request, size, parities, bytes);
  REQUIRE(got == (int64_t)bytes); /* Bob asks nothing that Alice must refuse */
  REQUIRE(pl_cascade_bob_receive(t->bob, parities, bytes - 1) == PL_E_DATA);
  for (size_t i = 0; i < bytes; i++) {
    uint8_t lie = (uint8_t)take(&t->lies, 1);
    t->lied |= lie;
    parities[i] ^= lie;
  }
  t->status = pl_cascade_bob_receive(t->bob, parities, bytes);
  REQUIRE(t->status == PL_OK || t->status == PL_E_DATA);
  free(parities);
}

static void converse(talk *t) {
  for (int rounds = 0; t->status == PL_OK; rounds++) {
    REQUIRE(rounds < ROUNDS_MAX);
    int64_t size = pl_cascade_bob_request(t->bob, NULL, 0);
    if (size == 0) return;
    if (size < 0) { /* where padding answers the question, a contradiction shows here */
      REQUIRE(size == PL_E_DATA && t->lied);
      t->status = PL_E_DATA;
      break;
    }
    uint8_t *request = exactly((size_t)size);
    REQUIRE(pl_cascade_bob_request(t->bob, request, (size_t)size) == size);
    for (int64_t i = 0; i < size; i++) t->said = (t->said ^ request[i]) * 0x100000001b3u;
    answer(t, request, (size_t)size);
    free(request);
  }
  REQUIRE(pl_cascade_bob_request(t->bob, NULL, 0) == PL_E_STATE); /* broken for good */
}

/* The flips that Bob reports are the difference between his keys before and after. */
static void check_result(pl_cascade_bob *bob, const pl_secret *before, pl_secret *after) {
  int64_t errors = pl_cascade_bob_error_positions(bob, NULL, 0);
  REQUIRE(pl_cascade_bob_key(bob, after) == PL_OK);
  REQUIRE(pl_secret_xor(after, before) == PL_OK);
  int64_t ones = pl_secret_ones(after);
  REQUIRE(errors == (ones ? PL_E_CAPACITY : 0));
  int64_t *at = exactly((size_t)ones * sizeof *at);
  REQUIRE(pl_cascade_bob_error_positions(bob, at, ones) == ones);
  for (int64_t i = 0; i < ones; i++)
    REQUIRE(at[i] > (i ? at[i - 1] : -1) && at[i] < pl_secret_bits(before));
  free(at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static pl_cascade_bob *bob; /* kept: restarting is what a node does too */
  static pl_cascade_alice *alice;
  source in = {data, size, 0};
  int64_t n = 1 + (int64_t)(take(&in, 2) % 6000);
  if (take(&in, 1) % 32 == 31) n += 65536; /* two frames */
  uint32_t state = (uint32_t)take(&in, 1), errors = (uint32_t)take(&in, 1);
  double estimate = (double)take(&in, 1) / 510;
  uint8_t seed[32] = {(uint8_t)state, (uint8_t)n};
  pl_secret *a = key_of(n, state), *b = key_of(n, state), *out = key_of(n, 0);
  for (int64_t i = 0; i + 8 < n; i++)
    if (next(&state) % 4096 < errors) pl_secret_bytes(b)[i / 8] ^= (uint8_t)(0x80 >> i % 8);
  uint64_t said[2];
  int status[2];
  for (int build = 0; build < 2; build++) {
    int made = bob ? pl_cascade_bob_restart(bob, b, seed, estimate)
                   : pl_cascade_bob_new(&bob, b, seed, estimate);
    REQUIRE(made == PL_OK);
    made = alice ? pl_cascade_alice_restart(alice, a, seed, INT64_MAX)
                 : pl_cascade_alice_new(&alice, a, seed, INT64_MAX);
    REQUIRE(made == PL_OK);
    if (build == 0) bob->pub.kernels = &cc_portable_kernels;
    talk t = {.bob = bob, .alice = alice, .lies = in};
    converse(&t);
    REQUIRE(t.lied || t.status == PL_OK);
    if (t.status == PL_OK) check_result(bob, b, out);
    said[build] = t.said;
    status[build] = t.status;
  }
  REQUIRE(said[0] == said[1] && status[0] == status[1]);
  pl_secret_free(a);
  pl_secret_free(b);
  pl_secret_free(out);
  return 0;
}
