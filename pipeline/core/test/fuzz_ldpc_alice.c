/* libFuzzer on Alice's end of LDPC: parameters of any kind, then requests from a peer who may be
 * anyone. Whatever is asked, the answer is an error that writes and counts nothing, or exactly the bits
 * asked for, counted; the cap holds. */
#include "../ldpc.h"
#include "fuzz.h"

enum { LENGTHS = 3, CAP = 60000 };
static const int64_t lengths[LENGTHS] = {PL_LDPC_MIN_BITS, 10001, 65536};

typedef struct {
  pl_ldpc_alice *alice;
  pl_secret *key;
} end;

static end *end_of(unsigned choice) {
  static end made[LENGTHS];
  end *e = &made[choice %= LENGTHS];
  const uint8_t seed[32] = {(uint8_t)choice, 7};
  if (!e->key) {
    e->key = key_of(lengths[choice], choice);
    REQUIRE(pl_ldpc_alice_new(&e->alice, e->key, 0.02, seed, CAP) == PL_OK);
  }
  return e;
}

static void check_bits(const end *e, const uint8_t *request, size_t n, const uint8_t *answer) {
  int64_t last = -1;
  for (size_t i = 0; i < n; i++) {
    int64_t index = ldpc_get32(request + 4 * i);
    REQUIRE(index > last && index < pl_secret_bits(e->key));
    last = index;
    int bit = pl_secret_bytes(e->key)[index / 8] >> (7 - index % 8) & 1;
    REQUIRE((answer[i / 8] >> (i % 8) & 1) == bit);
  }
  if (n % 8) REQUIRE(answer[n / 8] >> (n % 8) == 0); /* no bit of the key beyond the count */
}

static void disclose(const end *e, const uint8_t *request, size_t size) {
  size_t room = (size / 4 + 7) / 8;
  int64_t leak = pl_ldpc_alice_leak(e->alice);
  uint8_t *answer = exactly(room);
  memset(answer, 0x55, room);
  if (room) REQUIRE(pl_ldpc_alice_disclose(e->alice, request, size, answer, room - 1) < 0);
  int64_t got = pl_ldpc_alice_disclose(e->alice, request, size, answer, room);
  if (got < 0) {
    REQUIRE(got == PL_E_DATA || (got == PL_E_LIMIT && leak + (int64_t)(size / 4) > CAP));
    for (size_t i = 0; i < room; i++) REQUIRE(answer[i] == 0x55);
    REQUIRE(pl_ldpc_alice_leak(e->alice) == leak);
  } else {
    REQUIRE(got == (int64_t)room && size % 4 == 0 && size);
    check_bits(e, request, size / 4, answer);
    REQUIRE(pl_ldpc_alice_leak(e->alice) == leak + (int64_t)(size / 4) && leak <= CAP);
  }
  free(answer);
}

/* Any estimate, seed and cap: refused, or a syndrome that is counted to the bit. */
static void begin_anew(end *e, source *in) {
  uint8_t seed[32];
  uint64_t number = take(in, 8);
  double qber;
  memcpy(&qber, &number, sizeof qber);
  if (number >> 61 == 0) qber = (double)(number >> 32 & 0xffff) / 0x60000;
  int64_t cap = (int64_t)take(in, 8) >> (take(in, 1) % 64), leak = pl_ldpc_alice_leak(e->alice);
  for (int i = 0; i < 32; i++) seed[i] = (uint8_t)take(in, 1);
  int status = pl_ldpc_alice_restart(e->alice, e->key, qber, seed, cap);
  REQUIRE(status == (qber >= 0 && qber <= 0.125 && cap >= 0 ? PL_OK : PL_E_ARGUMENT));
  REQUIRE(pl_ldpc_alice_leak(e->alice) == (status == PL_OK ? 0 : leak));
  size_t bytes = (size_t)pl_ldpc_alice_message_bytes(e->alice);
  uint8_t *message = exactly(bytes);
  REQUIRE(pl_ldpc_alice_syndrome(e->alice, message, bytes - 1) == PL_E_CAPACITY);
  int64_t got = pl_ldpc_alice_syndrome(e->alice, message, bytes), all = 8 * (int64_t)(bytes - 8);
  if (status == PL_OK) {
    REQUIRE(got == (all <= cap ? (int64_t)bytes : PL_E_LIMIT));
    REQUIRE(pl_ldpc_alice_leak(e->alice) == (all <= cap ? all : 0));
  }
  const uint8_t usual[32] = {7};
  REQUIRE(pl_ldpc_alice_restart(e->alice, e->key, 0.02, usual, CAP) == PL_OK);
  free(message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1) return 0;
  end *e = end_of(data[0]);
  if (data[0] >= 192) {
    source in = {data + 1, size - 1, 0};
    begin_anew(e, &in);
    return 0;
  }
  uint8_t *request = exact_copy(data + 1, size - 1);
  disclose(e, request, size - 1);
  free(request);
  const uint8_t seed[32] = {7};
  if (pl_ldpc_alice_leak(e->alice) > CAP - 200)
    REQUIRE(pl_ldpc_alice_restart(e->alice, e->key, 0.02, seed, CAP) == PL_OK);
  return 0;
}

/* Indices as Bob would write them: ascending, mostly in range. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
  uint32_t state = seed;
  if (next(&state) % 3 || max_size < 9) return LLVMFuzzerMutate(data, size, max_size);
  size_t at = 1, n = 1 + next(&state) % 200;
  uint32_t index = 0, step = 1 + next(&state) % 500;
  data[0] = (uint8_t)(next(&state) % 192);
  for (; n && at + 4 <= max_size; n--, at += 4) ldpc_put32(data + at, index += 1 + next(&state) % step);
  return at;
}
