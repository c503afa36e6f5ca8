#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "require.h"

enum { N = 5000 };

static uint64_t next(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return *state >> 33;
}

static const pl_slot SLOT = {-700000000001, 299999999999, 50000, 8};

static size_t make(uint64_t seed, int64_t *time, uint64_t most) {
  int64_t t = SLOT.start_ps + (int64_t)(next(&seed) % 1000);
  size_t n = 0;
  for (; n < N && t < SLOT.end_ps; n++) {
    time[n] = t;
    t += SLOT.quiet_ps + (int64_t)(next(&seed) % most);
  }
  return n;
}

static void test_there_and_back(uint64_t seed, uint64_t most) {
  static int64_t time[N], back[N];
  static uint8_t code[4 + 14 * N];
  const size_t n = make(seed, time, most);
  const int64_t bytes = pl_announce(time, n, &SLOT, code, sizeof code);
  REQUIRE(bytes >= 4 && pl_announced_events(code, (size_t)bytes, &SLOT) == (int64_t)n);
  uint8_t *exact = malloc((size_t)bytes); /* the sanitizer sees a read beyond it */
  memcpy(exact, code, (size_t)bytes);
  REQUIRE(pl_announced_times(exact, (size_t)bytes, &SLOT, back, n) == (int64_t)n);
  for (size_t k = 0; k < n; k++) REQUIRE(back[k] == (time[k] >> 8) * 256 + 128);
  for (int64_t cut = 0; cut < bytes; cut += 1 + bytes / 300)
    REQUIRE(pl_announced_times(exact, (size_t)cut, &SLOT, back, N) == PL_E_DATA);
  for (int64_t room = 0; room < bytes; room += 1 + bytes / 100)
    REQUIRE(pl_announce(time, n, &SLOT, code, (size_t)room) == PL_E_CAPACITY);
  free(exact);
}

/* Whatever is accepted is what the encoder would have written. */
static void test_noise_is_refused_or_canonical(uint64_t seed) {
  static int64_t back[N];
  static uint8_t again[4 + 14 * N];
  const pl_slot slot = {0, 1 << 20, 16, 2};
  uint8_t data[40] = {0};
  const size_t bytes = 4 + next(&seed) % 36;
  for (size_t k = 3; k < bytes; k++) data[k] = (uint8_t)next(&seed);
  data[3] &= 31;
  const int64_t n = pl_announced_times(data, bytes, &slot, back, N);
  REQUIRE(n >= 0 || n == PL_E_DATA);
  if (n < 0) return;
  for (int64_t k = 1; k < n; k++)
    if (back[k] - back[k - 1] < slot.quiet_ps) return; /* the shortest gap is rounded down */
  REQUIRE(pl_announce(back, (size_t)n, &slot, again, sizeof again) == (int64_t)bytes);
  REQUIRE(memcmp(again, data, bytes) == 0);
}

static void test_pairs(void) {
  static int64_t time[N], own[N], a[N], b[N], r[N];
  static uint8_t code[4 + 14 * N];
  static uint32_t hist[2 * 4096 + 1];
  const size_t n = make(3, time, 1 << 20);
  const double rate = 7e-6;
  for (size_t k = 0; k < n; k++) { /* every other one has a partner, 100 to 900 ps off */
    const double run = rate * (double)(time[k] - SLOT.start_ps);
    own[k] = time[k] - 123456789 - (int64_t)run + (k % 2 ? 3000 : 100 + (int64_t)(k % 9) * 100);
  }
  const int64_t bytes = pl_announce(time, n, &SLOT, code, sizeof code);
  const pl_slot_clock clock = {123456789, rate};
  const int64_t pairs = pl_announced_pairs(code, (size_t)bytes, &SLOT, &clock, own, n, 1200, 4096,
                                           a, b, r, N, hist, 0);
  REQUIRE(pairs == (int64_t)(n + 1) / 2);
  int64_t all = 0;
  for (int64_t k = 0; k < pairs; k++)
    REQUIRE(a[k] == 2 * k && b[k] == 2 * k && r[k] <= 30 && r[k] >= -1030);
  for (int k = 0; k <= 8192; k++) all += hist[k];
  REQUIRE(all == (int64_t)n);
  /* two candidates for one event: the quiet rule was broken */
  int64_t near[2] = {own[0], own[0] + 500};
  REQUIRE(pl_announced_pairs(code, (size_t)bytes, &SLOT, &clock, near, 2, 1200, 4096, a, b, r, N,
                             hist, 0) == PL_E_ARGUMENT);
  REQUIRE(pl_announced_pairs(code, (size_t)bytes, &SLOT, &clock, own, n, 25000, 30000, a, b, r, N,
                             hist, 3) == PL_E_ARGUMENT);
  REQUIRE(pl_announced_pairs(code, (size_t)bytes, &SLOT, &clock, own, n, 1200, 4096, a, b, r, n - 1,
                             hist, 0) == PL_E_CAPACITY);
}

static void test_arguments(void) {
  int64_t time[3] = {0, 50000, 99999}, none = 0;
  uint8_t code[100];
  REQUIRE(pl_announce(time, 3, &SLOT, code, 100) == PL_E_ARGUMENT); /* too near */
  REQUIRE(pl_announce(time, 2, &SLOT, code, 100) > 4);
  REQUIRE(pl_announce(NULL, 0, &SLOT, code, 100) == 4);
  REQUIRE(pl_announced_times(code, 4, &SLOT, &none, 0) == 0);
  code[4] = 0;
  REQUIRE(pl_announced_times(code, 5, &SLOT, &none, 0) == PL_E_DATA); /* rubbish at the end */
  const pl_slot wrong[] = {{0, 0, 1, 1}, {0, 9, -1, 1}, {0, 9, 1, 21}, {INT64_MIN, 9, 1, 1}};
  for (int k = 0; k < 4; k++) REQUIRE(pl_announce(NULL, 0, &wrong[k], code, 100) == PL_E_ARGUMENT);
  const int64_t outside = SLOT.end_ps;
  REQUIRE(pl_announce(&outside, 1, &SLOT, code, 100) == PL_E_ARGUMENT);
}

int main(void) {
  const uint64_t most[] = {1, 2, 1000, 1 << 20, 1u << 31};
  for (uint64_t seed = 0; seed < 40; seed++) test_there_and_back(seed, most[seed % 5]);
  for (uint64_t seed = 0; seed < 200000; seed++) test_noise_is_refused_or_canonical(seed);
  test_pairs();
  test_arguments();
  return 0;
}
