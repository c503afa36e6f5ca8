/* libFuzzer on sifting from bitmaps: any lengths, any maps, any room for the result. Both builds of
 * the inner loop must find what one bit at a time finds, or a named error and an output of zeros;
 * nothing is read or written beyond a buffer. */
#include "../sift_bitmap.c" /* for the plain loops, which the CPU would not choose */
#include "fuzz.h"

typedef struct {
  const uint8_t *clicked, *mine, *theirs, *bits;
  int64_t gates;
} link;

static int bit_of(const uint8_t *map, int64_t i) { return map[i / 8] >> (7 - i % 8) & 1; }

/* One bit after the other; returns how many there are. */
static int64_t slowly(const link *in, uint8_t *out, int64_t room) {
  int64_t n = 0;
  for (int64_t i = 0; i < in->gates; i++) {
    if (!bit_of(in->clicked, i) || bit_of(in->mine, i) != bit_of(in->theirs, i)) continue;
    if (n < room && bit_of(in->bits, i)) out[n / 8] |= (uint8_t)(0x80 >> n % 8);
    n++;
  }
  return n;
}

/* A map of `gates` bits: sparse, dense, all of one kind or as the input says. */
static uint8_t *map_of(source *in, int64_t gates) {
  size_t bytes = (size_t)(gates + 7) / 8;
  uint8_t *map = exactly(bytes), kind = (uint8_t)take(in, 1);
  uint32_t state = (uint32_t)take(in, 1);
  for (size_t i = 0; i < bytes; i++) {
    uint32_t x = next(&state);
    map[i] = kind < 32   ? 0
             : kind < 64  ? 0xff
             : kind < 128 ? (uint8_t)take(in, 1)
             : kind < 192 ? (uint8_t)(x & x >> 8 & x >> 16)
                          : (uint8_t)x;
  }
  return map;
}

static void check_plain_loops(const link *in, int64_t n, const uint8_t *expected, pl_secret *out) {
  bitmaps m = {in->clicked, in->mine, in->theirs};
  size_t words = (size_t)in->gates / 64;
  int64_t head = count_portable(&m, words);
  REQUIRE(head <= n && n - head <= in->gates % 64);
  sink s = {.at = pl_secret_bytes(out), .left = head};
  REQUIRE(sift_portable(&s, in->bits, &m, words) == PL_OK && s.left == 0);
  uint64_t rest = __builtin_bswap64(s.word);
  memcpy(s.at, &rest, sizeof rest);
  for (int64_t i = 0; i < head; i++) REQUIRE(bit_of(pl_secret_bytes(out), i) == bit_of(expected, i));
  s = (sink){.at = pl_secret_bytes(out), .left = head - 1};
  REQUIRE(head == 0 || sift_portable(&s, in->bits, &m, words) == PL_E_CAPACITY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  source from = {data, size, 0};
  link in = {.gates = (int64_t)take(&from, 2) % 4200};
  if (take(&from, 1) % 2) in.gates = in.gates / 64 * 64 + in.gates % 3; /* around word borders */
  int64_t short_by = (int64_t)take(&from, 1) % 4 ? 0 : (int8_t)take(&from, 1);
  uint8_t *clicked = map_of(&from, in.gates), *mine = map_of(&from, in.gates);
  uint8_t *theirs = map_of(&from, in.gates);
  pl_secret *bits = key_of(in.gates, (uint32_t)take(&from, 1)), *out, *again;
  in.clicked = clicked;
  in.mine = mine;
  in.theirs = theirs;
  in.bits = pl_secret_bytes(bits);
  int64_t n = pl_sift_count(clicked, mine, theirs, in.gates);
  int64_t room = n < short_by ? 0 : n - short_by;
  size_t bytes = (size_t)(room + 7) / 8;
  uint8_t *expected = calloc(bytes + 1, 1);
  REQUIRE(expected && slowly(&in, expected, room) == n);
  REQUIRE(pl_secret_new(&out, room) == PL_OK && pl_secret_randomize(out) == PL_OK);
  int status = pl_sift_bits(out, bits, clicked, mine, theirs, in.gates);
  REQUIRE(status == (room == n ? PL_OK : PL_E_CAPACITY));
  if (status != PL_OK) memset(expected, 0, bytes); /* nothing half-written */
  REQUIRE(memcmp(pl_secret_bytes(out), expected, bytes) == 0);
  for (int i = 0; i < 64; i++) REQUIRE(pl_secret_bytes(out)[bytes + (size_t)i] == 0); /* the slack */
  REQUIRE(pl_sift_bits(out, bits, clicked, mine, theirs, in.gates + 1) == PL_E_ARGUMENT);
  REQUIRE(pl_secret_new(&again, n) == PL_OK);
  if (status == PL_OK) check_plain_loops(&in, n, expected, again);
  pl_secret_free(bits);
  pl_secret_free(out);
  pl_secret_free(again);
  free(expected);
  free(clicked);
  free(mine);
  free(theirs);
  return 0;
}
