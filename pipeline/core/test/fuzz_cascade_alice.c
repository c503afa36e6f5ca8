/* libFuzzer on Alice's end of Cascade: requests from a peer who may be anyone. Whatever is asked,
 * the answer is an error or one bit per question, counted; both builds of the inner loops agree;
 * nothing is written when something is refused, and the cap holds. */
#include "cascade_bob.h"
#include "cpu.h"
#include "fuzz.h"

enum { LENGTHS = 6, CAP = 100000 };
static const int64_t lengths[LENGTHS] = {1, 4096, 5000, 65536, 70000, 140000};

typedef struct {
  pl_cascade_alice *plain, *fast;
} pair;

/* Made once for each length: what a request does to Alice is to count. */
static pair alice_of(unsigned choice) {
  static pair made[LENGTHS];
  static pl_secret *keys[LENGTHS];
  pair *p = &made[choice %= LENGTHS];
  const uint8_t seed[32] = {(uint8_t)choice, 7};
  if (!p->plain) {
    keys[choice] = key_of(lengths[choice], choice);
    REQUIRE(pl_cascade_alice_new(&p->plain, keys[choice], seed, CAP) == PL_OK);
    REQUIRE(pl_cascade_alice_new(&p->fast, keys[choice], seed, CAP) == PL_OK);
  }
  /* cc_public is the first member of both ends; its kernels are what the CPU decided */
  ((cc_public *)p->plain)->kernels = &cc_portable_kernels;
  return *p;
}

static void refused(pl_cascade_alice *alice, const uint8_t *request, size_t size, int64_t bits) {
  size_t room = bits > 0 ? (size_t)(bits + 7) / 8 : 4;
  uint8_t *out = exactly(room);
  memset(out, 0x55, room);
  int64_t status = pl_cascade_alice_answer(alice, request, size, out, room);
  REQUIRE(status == PL_E_DATA || status == PL_E_LIMIT);
  for (size_t i = 1; i < room; i++) REQUIRE(out[i] == out[0] && (out[i] == 0 || out[i] == 0x55));
  free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1) return 0;
  pair both = alice_of(data[0]);
  const size_t bytes = size - 1;
  uint8_t *request = exact_copy(data + 1, bytes);
  int64_t bits = pl_cascade_alice_measure(both.plain, request, bytes);
  int64_t leak = pl_cascade_alice_leak(both.plain), rounds = pl_cascade_alice_rounds(both.plain);
  REQUIRE(bits == PL_E_DATA || (bits > 0 && bits <= 65535 * (int64_t)(bytes / CC_HEADER)));
  size_t room = bits > 0 ? (size_t)(bits + 7) / 8 : 0;
  uint8_t *a = exactly(room), *b = exactly(room);
  if (room) REQUIRE(pl_cascade_alice_answer(both.plain, request, bytes, a, room - 1) < 0);
  int64_t got = pl_cascade_alice_answer(both.plain, request, bytes, a, room);
  REQUIRE(got == pl_cascade_alice_answer(both.fast, request, bytes, b, room));
  if (got < 0) {
    REQUIRE(got == PL_E_DATA || (got == PL_E_LIMIT && leak + bits > CAP));
    REQUIRE(pl_cascade_alice_leak(both.plain) == leak);
    REQUIRE(pl_cascade_alice_rounds(both.plain) == rounds);
    refused(both.plain, request, bytes, bits);
  } else {
    REQUIRE(got == (int64_t)room && memcmp(a, b, room) == 0);
    REQUIRE(pl_cascade_alice_leak(both.plain) == leak + bits && leak + bits <= CAP);
    REQUIRE(pl_cascade_alice_rounds(both.plain) == rounds + 1);
    if (bits % 8) REQUIRE(a[room - 1] >> (bits % 8) == 0); /* no bit of the key beyond the count */
  }
  if (pl_cascade_alice_leak(both.plain) > CAP / 2) { /* begin again */
    const uint8_t seed[32] = {(uint8_t)(data[0] % LENGTHS), 7};
    pl_secret *key = key_of(lengths[data[0] % LENGTHS], data[0] % LENGTHS);
    REQUIRE(pl_cascade_alice_restart(both.plain, key, seed, CAP) == PL_OK);
    REQUIRE(pl_cascade_alice_restart(both.fast, key, seed, CAP) == PL_OK);
    pl_secret_free(key);
  }
  free(request);
  free(a);
  free(b);
  return 0;
}

static size_t put_group(uint8_t *out, unsigned frame, unsigned what, unsigned op, unsigned level,
                        unsigned count) {
  cc_put16(out, frame);
  out[2] = (uint8_t)what;
  out[3] = (uint8_t)(op << 5 | level);
  cc_put16(out + 4, count);
  return CC_HEADER;
}

/* Groups as Bob would write them, for a frame that mostly exists. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
  uint32_t state = seed;
  if ((size > 7 && next(&state) % 4) || max_size < 200)
    return LLVMFuzzerMutate(data, size, max_size);
  size_t at = size > 7 && next(&state) % 2 ? size : 1;
  if (at == 1) data[0] = (uint8_t)next(&state);
  unsigned choice = data[0] % LENGTHS, frames = (unsigned)cc_frames(lengths[choice]);
  unsigned units = (unsigned)((lengths[choice] + CC_UNIT_BITS - 1) / CC_UNIT_BITS);
  unsigned frame = next(&state) % frames;
  unsigned positions = (units / frames + (frame < units % frames)) * CC_UNIT_BITS;
  for (unsigned groups = 1 + next(&state) % 4; groups > 0 && at + 100 < max_size; groups--) {
    unsigned op = next(&state) % 5, level = CC_MIN_LEVEL + next(&state) % 11, count;
    unsigned what = next(&state) % 3;
    if (op == CC_OP_BLOCKS || op == CC_OP_LOWER) {
      at += put_group(data + at, frame, what, op, level, positions >> level);
    } else if (op == CC_OP_SUBSETS) {
      at += put_group(data + at, frame, CC_SUBSET_BASE, op, 0, CC_SUBSETS);
    } else {
      if (op == CC_OP_HALVES && next(&state) % 3 == 0) what = CC_SUBSET_BASE + next(&state) % 16;
      count = 1 + next(&state) % 40;
      at += put_group(data + at, frame, what, op, op == CC_OP_HALVES ? 0 : level, count);
      for (; count > 0; count--, at += 2)
        cc_put16(data + at, next(&state) % (op == CC_OP_HALVES ? positions : positions >> level));
    }
  }
  return at;
}
