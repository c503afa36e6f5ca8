/* libFuzzer on many keys at once (cascade_many.c): the input is a list of actions on two ends:
 * honest steps with any room and number of records, and between them the actions of a hostile peer
 * or a broken stream: bytes changed, cut off, records of any slot, kind and size. The only effect
 * may be a named error; whole records are used or none; a count of leaked bits never falls within a
 * block nor passes its cap; and honest ends never complain. */
#include "fuzz.h"

enum { SLOTS = 3, BITS = 20000, STREAM = 1 << 17, THINGS = 120 };

typedef struct {
  uint8_t *bytes;
  size_t size;
} stream;

typedef struct {
  source in;
  pl_cascade_alices *alices;
  pl_cascade_bobs *bobs;
  pl_secret *key, *noisy, *corrected;
  stream to_alice, to_bob;
  int64_t start[SLOTS], bits[SLOTS], cap[SLOTS], leak[SLOTS]; /* of Alice's; bits 0: none */
  int lied;
} bench;

static void cut_front(stream *s, size_t n) {
  REQUIRE(n <= s->size);
  memmove(s->bytes, s->bytes + n, s->size -= n);
}

static void append(stream *s, const uint8_t *bytes, size_t n) {
  if (n > STREAM - s->size) n = STREAM - s->size; /* cut off, which is a lie too */
  if (n) memcpy(s->bytes + s->size, bytes, n);
  s->size += n;
}

/* Bytes that whole records make up, and how many there are; stops at another kind. */
static size_t whole_records(const stream *s, size_t limit, int *count) {
  size_t at = 0;
  for (*count = 0; limit - at >= PL_CASCADE_RECORD_HEAD; ++*count) {
    const uint8_t *p = s->bytes + at;
    size_t size = p[4] | (size_t)p[5] << 8 | (size_t)p[6] << 16 | (size_t)p[7] << 24;
    if (p[2] || p[3] || size > limit - at - PL_CASCADE_RECORD_HEAD) break;
    at += PL_CASCADE_RECORD_HEAD + size;
  }
  return at;
}

/* One step of either end, with buffers of exactly the sizes given. */
static void step(bench *b, int of_alice) {
  stream *from = of_alice ? &b->to_alice : &b->to_bob, *to = of_alice ? &b->to_bob : &b->to_alice;
  size_t room = take(&b->in, 1) % 8 ? STREAM / 2 : (size_t)take(&b->in, 2), used = 99;
  int most = take(&b->in, 1) % 8 ? 1000 : (int)(int8_t)take(&b->in, 1), count;
  uint8_t *in = exact_copy(from->bytes, from->size), *out = exactly(room);
  int64_t n = of_alice
                  ? pl_cascade_alices_step(b->alices, in, from->size, &used, out, room, most)
                  : pl_cascade_bobs_step(b->bobs, in, from->size, &used, out, room, most);
  REQUIRE(n <= (int64_t)room && used <= from->size);
  REQUIRE(whole_records(from, used, &count) == used && count <= (most < 0 ? 0 : most));
  if (n < 0) {
    REQUIRE(n == PL_E_CAPACITY || n == PL_E_DATA || n == PL_E_STATE || n == PL_E_LIMIT);
    REQUIRE(n == PL_E_CAPACITY || b->lied);
    if (n != PL_E_CAPACITY) from->size = 0; /* a link that broke its word begins anew */
    b->lied |= n == PL_E_CAPACITY && used; /* answers of this step are lost */
    if (n == PL_E_CAPACITY) cut_front(from, used);
  } else {
    cut_front(from, used);
    if ((size_t)n > STREAM - to->size) b->lied = 1;
    append(to, out, (size_t)n);
  }
  free(in);
  free(out);
  for (int s = 0; s < SLOTS; s++) {
    int64_t leak = pl_cascade_alices_leak(b->alices, s);
    REQUIRE(b->bits[s] ? leak >= b->leak[s] && leak <= b->cap[s] : leak == PL_E_ARGUMENT);
    b->leak[s] = leak;
  }
}

/* The same piece of the keys in a slot at both ends; sometimes no piece at all. */
static void begin(bench *b) {
  int slot = (int)take(&b->in, 1) % (SLOTS + 1) - (take(&b->in, 1) == 255);
  int64_t start = (int64_t)take(&b->in, 2) % BITS & ~7, bits = 1 + (int64_t)take(&b->in, 2) % BITS;
  uint64_t odd = take(&b->in, 1);
  if (odd < 8) start += (int64_t)odd - 4;
  if (odd >= 8 && start + bits > BITS) bits = BITS - start;
  if (odd >= 16) bits = bits < 8 || start + bits == BITS ? bits : bits & ~7;
  int fits = slot >= 0 && slot < SLOTS && start >= 0 && start % 8 == 0 && bits > 0 &&
             start + bits <= BITS && (bits % 8 == 0 || start + bits == BITS);
  int64_t cap = odd < 32 ? (int64_t)odd * 16 : INT64_MAX / 2;
  uint8_t seed[32] = {(uint8_t)odd};
  int bob = pl_cascade_bobs_start(b->bobs, slot, b->noisy, start, bits, seed,
                                  (double)take(&b->in, 1) / 510);
  REQUIRE(fits ? bob == PL_OK || bob == PL_E_STATE : bob == PL_E_ARGUMENT);
  if (bob == PL_E_STATE) return; /* his last question waits to be written */
  int alice = pl_cascade_alices_start(b->alices, slot, b->key, start, bits, seed, cap);
  REQUIRE(alice == bob);
  if (!fits) return;
  b->lied |= b->bits[slot] != 0 || cap < INT64_MAX / 2; /* old messages may still be under way */
  b->start[slot] = start;
  b->bits[slot] = bits;
  b->cap[slot] = cap;
  b->leak[slot] = 0;
}

static void take_finished(bench *b) {
  for (int slot; (slot = pl_cascade_bobs_finished(b->bobs)) > 0;) {
    int64_t start = b->start[slot - 1], bits = b->bits[slot - 1];
    REQUIRE(slot <= SLOTS && bits);
    REQUIRE(pl_cascade_bobs_store(b->bobs, slot - 1, b->corrected, start, bits) == PL_OK);
    REQUIRE(pl_cascade_bobs_errors(b->bobs, slot - 1) >= 0);
    if (bits > 8) /* another length than the block's */
      REQUIRE(pl_cascade_bobs_store(b->bobs, slot - 1, b->corrected, start, 8) < 0);
  }
}

/* A possible stream of a hostile peer. */
static void lie(bench *b, unsigned how) {
  stream *s = take(&b->in, 1) % 2 ? &b->to_alice : &b->to_bob;
  size_t at = s->size ? (size_t)take(&b->in, 2) % s->size : 0;
  b->lied = 1;
  if (how == 0 && s->size) s->bytes[at] ^= (uint8_t)(1 + take(&b->in, 1) % 255);
  if (how == 1) s->size = at;
  if (how == 2) { /* a record of its own */
    uint8_t record[PL_CASCADE_RECORD_HEAD + 64] = {0};
    size_t size = (size_t)take(&b->in, 1) % 64;
    record[0] = (uint8_t)take(&b->in, 1) % (SLOTS + 1);
    record[2] = take(&b->in, 1) == 255;
    record[4] = (uint8_t)size;
    record[5 + take(&b->in, 1) % 3] = (uint8_t)(take(&b->in, 1) < 16 ? 0x80 : 0);
    for (size_t i = 0; i < size; i++)
      record[PL_CASCADE_RECORD_HEAD + i] = (uint8_t)take(&b->in, 1);
    append(s, record, PL_CASCADE_RECORD_HEAD + size);
  }
  if (how == 3 && s->size) append(s, s->bytes, s->size); /* everything twice */
}

static void make_keys(bench *b) {
  uint32_t state = (uint32_t)take(&b->in, 1), errors = (uint32_t)take(&b->in, 1);
  b->key = key_of(BITS, state);
  b->noisy = key_of(BITS, state);
  b->corrected = key_of(BITS, 0);
  for (int i = 0; i < BITS; i++)
    if (next(&state) % 2048 < errors) pl_secret_bytes(b->noisy)[i / 8] ^= (uint8_t)(0x80 >> i % 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  bench b = {.in = {data, size, 0}};
  make_keys(&b);
  b.to_alice.bytes = exactly(STREAM);
  b.to_bob.bytes = exactly(STREAM);
  REQUIRE(pl_cascade_alices_new(&b.alices, 0) == PL_E_ARGUMENT && !b.alices);
  REQUIRE(pl_cascade_bobs_new(&b.bobs, PL_CASCADE_MAX_SLOTS + 1, 0) == PL_E_ARGUMENT && !b.bobs);
  REQUIRE(pl_cascade_alices_new(&b.alices, SLOTS) == PL_OK);
  REQUIRE(pl_cascade_bobs_new(&b.bobs, SLOTS, 1) == PL_OK);
  for (int i = 0; i < THINGS && b.in.at < size; i++) {
    unsigned what = (unsigned)take(&b.in, 1);
    if (what < 64)
      begin(&b);
    else if (what < 192)
      for (unsigned turns = what & 31; turns; turns--) {
        step(&b, 0);
        step(&b, 1);
      }
    else if (what < 224)
      step(&b, (int)what & 1);
    else if (what < 240)
      take_finished(&b);
    else
      lie(&b, what & 3);
  }
  take_finished(&b);
  pl_cascade_alices_free(b.alices);
  pl_cascade_bobs_free(b.bobs);
  pl_secret_free(b.key);
  pl_secret_free(b.noisy);
  pl_secret_free(b.corrected);
  free(b.to_alice.bytes);
  free(b.to_bob.bytes);
  return 0;
}

static size_t put_beginning(uint8_t *out, unsigned slot, uint32_t *state) {
  const uint8_t thing[] = {(uint8_t)(next(state) % 64), (uint8_t)slot, 0, (uint8_t)next(state),
                           (uint8_t)next(state), (uint8_t)next(state),
                           (uint8_t)(next(state) % 128), (uint8_t)(32 + next(state) % 8 * 28),
                           (uint8_t)next(state) % 64};
  memcpy(out, thing, sizeof thing);
  return sizeof thing;
}

/* Conversations as they might go: keys, slots begun, steps, some lies, more steps. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
  uint32_t state = seed;
  enum { BEGINNING = 9, MOST = 4 * BEGINNING + 80 };
  if ((size > 2 && next(&state) % 4) || max_size < 2 + MOST)
    return LLVMFuzzerMutate(data, size, max_size);
  size_t at = 2;
  if (size > 2 && size + MOST < max_size && next(&state) % 2)
    at = size;
  else
    memset(data, (int)(next(&state) % 100), 2);
  for (unsigned slot = 0; slot < SLOTS; slot++)
    if (next(&state) % 2) at += put_beginning(data + at, slot, &state);
  for (unsigned things = 1 + next(&state) % 6; things; things--) {
    data[at++] = (uint8_t)(64 + (next(&state) % 20)); /* turns of both */
    for (unsigned i = next(&state) % 4 ? 4 : 0; i; i--) data[at++] = (uint8_t)(1 + next(&state));
    if (next(&state) % 3 == 0) data[at++] = (uint8_t)(192 + next(&state) % 64);
  }
  return at;
}
