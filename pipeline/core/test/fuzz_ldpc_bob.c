/* libFuzzer on Bob's end of LDPC: the input is laid over what an honest Alice says, her syndrome and
 * the bits she discloses, so that lies come early, late or never. Bob must end after a bounded number of
 * rounds, with a key or with a named error that is final; both kernels must ask and find the same; and
 * when nobody lied he must have Alice's key or at least one with her syndrome. */
#include "../ldpc_bob.c" /* to give him the plain kernel, which the CPU would not choose */
#include "fuzz.h"

enum { ROUNDS_MAX = 20 };

typedef struct {
  pl_ldpc_bob *bob;
  pl_ldpc_alice *alice;
  source lies;
  int lied, status, rounds;
  uint64_t said; /* checksum of everything asked */
} talk;

static void lay_over(talk *t, uint8_t *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) {
    uint8_t lie = (uint8_t)take(&t->lies, 1);
    t->lied |= lie;
    bytes[i] ^= lie;
  }
}

static void hear_syndrome(talk *t) {
  size_t bytes = (size_t)pl_ldpc_alice_message_bytes(t->alice);
  uint8_t *message = exactly(bytes);
  REQUIRE(pl_ldpc_alice_syndrome(t->alice, message, bytes) == (int64_t)bytes);
  REQUIRE(pl_ldpc_bob_decode(t->bob, message, bytes - 1) == PL_E_DATA);
  REQUIRE(pl_ldpc_bob_request(t->bob, NULL, 0) == PL_E_STATE);
  if (take(&t->lies, 1) % 4 == 0) lay_over(t, message, bytes);
  t->status = pl_ldpc_bob_decode(t->bob, message, bytes);
  if (t->status == PL_E_DATA) { /* the head: nothing was done, the true message may follow */
    REQUIRE(t->lied && pl_ldpc_alice_syndrome(t->alice, message, bytes) == (int64_t)bytes);
    t->status = pl_ldpc_bob_decode(t->bob, message, bytes);
  }
  REQUIRE(t->status >= 0 && t->status <= pl_ldpc_bob_frames(t->bob));
  REQUIRE(pl_ldpc_bob_decode(t->bob, message, bytes) == PL_E_STATE);
  free(message);
}

static void ask(talk *t) {
  int64_t size = pl_ldpc_bob_request(t->bob, NULL, 0);
  REQUIRE(size > 0 && size % 4 == 0);
  size_t room = (size_t)(size / 4 + 7) / 8;
  uint8_t *request = exactly((size_t)size), *answer = exactly(room);
  REQUIRE(pl_ldpc_bob_receive(t->bob, answer, room) == PL_E_STATE); /* not asked yet */
  REQUIRE(pl_ldpc_bob_request(t->bob, request, (size_t)size) == size);
  for (int64_t i = 0; i < size; i++) t->said = (t->said ^ request[i]) * 0x100000001b3u;
  /* Bob asks nothing that Alice must refuse */
  int64_t got = pl_ldpc_alice_disclose(t->alice, request, (size_t)size, answer, room);
  REQUIRE(got == (int64_t)room);
  REQUIRE(pl_ldpc_bob_receive(t->bob, answer, room - 1) == PL_E_DATA);
  lay_over(t, answer, room);
  t->status = pl_ldpc_bob_receive(t->bob, answer, room);
  if (t->status == PL_E_DATA && size / 4 % 8 && answer[room - 1] >> (size / 4 % 8)) {
    answer[room - 1] &= (uint8_t)((1 << size / 4 % 8) - 1); /* bits that nobody asked for */
    t->status = pl_ldpc_bob_receive(t->bob, answer, room);
  }
  REQUIRE(t->status >= 0 || (t->status == PL_E_DATA && t->lied));
  free(request);
  free(answer);
}

static void converse(talk *t) {
  hear_syndrome(t);
  for (; t->status > 0; t->rounds++) {
    REQUIRE(t->rounds < ROUNDS_MAX);
    ask(t);
  }
  REQUIRE(pl_ldpc_bob_request(t->bob, NULL, 0) == (t->status < 0 ? PL_E_STATE : 0));
  REQUIRE(pl_ldpc_bob_receive(t->bob, (const uint8_t *)"", 1) == PL_E_STATE);
}

/* What Bob counts is the difference between his keys before and after, unless lies made him turn a
 * bit twice. */
static void check_result(const talk *t, const pl_secret *a, const pl_secret *before) {
  pl_secret *after = key_of(pl_secret_bits(before), 0);
  REQUIRE(pl_ldpc_bob_key(t->bob, after) == PL_OK);
  int same = pl_secret_equal(after, a);
  REQUIRE(pl_secret_xor(after, before) == PL_OK);
  int64_t ones = pl_secret_ones(after), errors = pl_ldpc_bob_errors(t->bob);
  REQUIRE(t->lied ? errors >= ones : errors == ones);
  REQUIRE(t->lied || t->rounds < 12 || same == 1); /* when every bit was disclosed */
  pl_secret_free(after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static pl_ldpc_bob *bob[2]; /* kept: restarting is what a node does too */
  static pl_ldpc_alice *alice;
  source in = {data, size, 0};
  int64_t n = PL_LDPC_MIN_BITS + (int64_t)(take(&in, 1) % 8 ? 0 : take(&in, 2) % 20000);
  uint32_t state = (uint32_t)take(&in, 1), errors = (uint32_t)take(&in, 1);
  double qber = (double)take(&in, 1) / 2040;
  int first = take(&in, 1) % 8 ? 1 : 0; /* the plain kernel is slow: not always */
  uint8_t seed[32] = {(uint8_t)state, (uint8_t)n};
  pl_secret *a = key_of(n, state), *b = key_of(n, state);
  for (int64_t i = 0; i + 8 < n; i++)
    if (next(&state) % 2048 < errors) pl_secret_bytes(b)[i / 8] ^= (uint8_t)(0x80 >> i % 8);
  talk t[2] = {{.lies = in}, {.lies = in}};
  for (int build = first; build < 2; build++) {
    if (!bob[build]) {
      REQUIRE(pl_ldpc_bob_new(&bob[build], b, qber, seed) == PL_OK);
      if (build == 0) {
        ldpc_decoder_free(bob[0]->decoder);
        REQUIRE((bob[0]->decoder = ldpc_decoder_new(ldpc_row_portable)));
      }
    }
    REQUIRE(pl_ldpc_bob_restart(bob[build], b, qber, seed) == PL_OK);
    REQUIRE(alice ? pl_ldpc_alice_restart(alice, a, qber, seed, INT64_MAX / 2) == PL_OK
                  : pl_ldpc_alice_new(&alice, a, qber, seed, INT64_MAX / 2) == PL_OK);
    t[build].bob = bob[build];
    t[build].alice = alice;
    converse(&t[build]);
    check_result(&t[build], a, b);
  }
  if (first == 0) {
    size_t bytes = (size_t)(n + 7) / 8; /* the objects hold room for longer keys */
    REQUIRE(t[0].said == t[1].said && t[0].status == t[1].status);
    REQUIRE(bob[0]->iterations == bob[1]->iterations && bob[0]->errors == bob[1]->errors);
    REQUIRE(!memcmp(pl_secret_bytes(bob[0]->key), pl_secret_bytes(bob[1]->key), bytes));
  }
  pl_secret_free(a);
  pl_secret_free(b);
  return 0;
}

/* Keys, a rate near the estimate, and lies here and there. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
  uint32_t state = seed;
  if ((size > 8 && next(&state) % 4) || max_size < 200) return LLVMFuzzerMutate(data, size, max_size);
  uint8_t errors = (uint8_t)(next(&state) % (next(&state) % 2 ? 40 : 256));
  int long_key = next(&state) % 4 == 0;
  size_t at = 0, lies = next(&state) % 3 ? 0 : next(&state) % 150;
  data[at++] = !long_key;
  for (int i = 0; long_key && i < 2; i++) data[at++] = (uint8_t)next(&state);
  data[at++] = (uint8_t)next(&state);
  data[at++] = errors;
  data[at++] = (uint8_t)(errors + next(&state) % 8);
  data[at++] = (uint8_t)next(&state);     /* the plain kernel too? */
  data[at++] = (uint8_t)(next(&state) % 6); /* 0: the syndrome lies */
  for (; lies; lies--) data[at++] = (uint8_t)(next(&state) % 4 ? 0 : next(&state));
  return at;
}
