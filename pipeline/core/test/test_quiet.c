#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "require.h"

enum { QUIET = 50000, MAX = 1 << 16 };
static const pl_quiet_rule PLAIN = {.quiet_ps = QUIET};
static const uint8_t SEED[PL_NOISE_SEED_BYTES] = {1, 2, 3};

static pl_quiet *fresh(const pl_quiet_rule *rule) {
  uint8_t map[256];
  memset(map, 255, sizeof map);
  for (uint8_t d = 0; d < 4; d++) map[1 + d] = d;
  pl_quiet *q;
  REQUIRE(pl_quiet_new(&q, map, rule, SEED, MAX) == PL_OK);
  return q;
}

static pl_quiet_counts counts(const pl_quiet *q) {
  pl_quiet_counts c;
  REQUIRE(pl_quiet_get_counts(q, &c) == PL_OK);
  return c;
}

/* The kept times; their number. */
static size_t times(const pl_quiet *q, int64_t *out) {
  const int64_t first = pl_quiet_first(q);
  const size_t n = (size_t)(pl_quiet_find(q, INT64_MAX) - first);
  REQUIRE(pl_quiet_times(q, first, n, out) == PL_OK);
  return n;
}

static void test_later_clicks_prolong_nothing(void) {
  pl_quiet *q = fresh(&PLAIN);
  const int64_t t[] = {100000, 105000, 149999, 150000, 250000, 300001};
  const uint8_t c[] = {1, 2, 3, 4, 1, 9};
  REQUIRE(pl_quiet_add(q, t, c, 6, 400000) == PL_OK);
  int64_t got[6];
  REQUIRE(times(q, got) == 3 && got[0] == 100000 && got[1] == 150000 && got[2] == 250000);
  const pl_quiet_counts n = counts(q);
  REQUIRE(n.events == 3 && n.followed == 1 && n.multi_cross == 1 && n.ignored == 1);
  const int64_t all[3] = {0, 1, 2};
  uint8_t basis[3];
  REQUIRE(pl_quiet_bases(q, all, 3, basis) == PL_OK && basis[1] == 1 && basis[2] == 0);
  uint8_t marks[3];
  REQUIRE(n.shadowed == 1 && pl_quiet_marks(q, all, 3, marks) == PL_OK);
  REQUIRE((marks[0] >> 1) + (marks[1] >> 1) + (marks[2] >> 1) == 1 && marks[2] >> 1 == 0);
  REQUIRE(pl_quiet_followed(q, all, 3) == 1 && pl_quiet_followed(q, all + 1, 2) == 0);
  uint8_t detector[3];
  REQUIRE(pl_quiet_disclose(q, all + 1, 2, detector) == PL_OK);
  REQUIRE(detector[0] == 3 && detector[1] == 0);
  REQUIRE(pl_quiet_disclose(q, all, 3, detector) == PL_E_STATE);
  pl_quiet_free(q);
}

static void test_what_a_loss_touches_is_no_event(void) {
  pl_quiet *q = fresh(&PLAIN);
  /* kept; its window meets the loss; unsettled twice; after quiet */
  const int64_t t[] = {100000, 960000, 1030000, 1075000, 1125001};
  const uint8_t c[] = {1, 1, 1, 1, 1};
  REQUIRE(pl_quiet_lose(q, 1000000, 1010000) == PL_OK);
  REQUIRE(pl_quiet_add(q, t, c, 5, 2000000) == PL_OK);
  int64_t got[5];
  REQUIRE(times(q, got) == 2 && got[0] == 100000 && got[1] == 1125001);
  REQUIRE(counts(q).unsettled == 3);
  pl_quiet_lost lost[2];
  REQUIRE(pl_quiet_get_lost(q, 0, 2000000, lost, 2) == 1);
  REQUIRE(lost[0].start_ps == 1000000 - QUIET + 1 && lost[0].end_ps == 1010001 + QUIET);
  REQUIRE(pl_quiet_get_lost(q, 1060001, 2000000, lost, 2) == 0);
  pl_quiet_free(q);
}

/* However the clicks are cut into blocks, the events are the same. */
static void test_state_is_carried(size_t piece) {
  enum { N = 20000 };
  static int64_t t[N], whole[N], pieces[N];
  static uint8_t c[N];
  uint64_t x = 9;
  for (int64_t k = 0, at = 0; k < N; k++) {
    x = x * 6364136223846793005u + 1442695040888963407u;
    at += (int64_t)(x >> 40) % 60000;
    t[k] = at;
    c[k] = (uint8_t)(1 + (x >> 62));
  }
  const pl_quiet_rule rule = {{300, -500, 9000, 0}, 400, 16000, QUIET};
  pl_quiet *one = fresh(&rule), *many = fresh(&rule);
  REQUIRE(pl_quiet_add(one, t, c, N, t[N - 1] + 1) == PL_OK);
  for (size_t at = 0; at < N; at += piece) {
    const size_t n = N - at < piece ? N - at : piece;
    const int64_t through = at + n < N ? t[at + n] : t[N - 1] + 1;
    REQUIRE(pl_quiet_add(many, t + at, c + at, n, through) == PL_OK);
  }
  REQUIRE(pl_quiet_horizon(one) == pl_quiet_horizon(many));
  const size_t n = times(one, whole);
  REQUIRE(n > N / 4 && times(many, pieces) == n);
  REQUIRE(memcmp(whole, pieces, n * sizeof *whole) == 0);
  for (size_t k = 1; k < n; k++) REQUIRE(whole[k] - whole[k - 1] >= QUIET);
  const pl_quiet_counts a = counts(one), b = counts(many);
  REQUIRE(memcmp(&a, &b, sizeof a) == 0 && a.late == 0 && a.overflow == 0);
  pl_secret *bits[2];
  static int64_t all[N];
  for (size_t k = 0; k < n; k++) all[k] = (int64_t)k;
  for (int k = 0; k < 2; k++) REQUIRE(pl_secret_new(&bits[k], (int64_t)n) == PL_OK);
  REQUIRE(pl_quiet_take_bits(one, all, n, bits[0]) == PL_OK);
  REQUIRE(pl_quiet_take_bits(many, all, n, bits[1]) == PL_OK);
  REQUIRE(pl_secret_equal(bits[0], bits[1]) == 1);
  for (int k = 0; k < 2; k++) pl_secret_free(bits[k]);
  pl_quiet_free(one);
  pl_quiet_free(many);
}

static void test_a_full_store_and_a_flood_are_losses(void) {
  enum { N = 70000 };
  static int64_t t[N], got[N];
  static uint8_t c[N];
  memset(c, 1, sizeof c);
  for (int64_t k = 0; k < N; k++) t[k] = (k + 1) * 2 * QUIET;
  pl_quiet *q = fresh(&PLAIN);
  REQUIRE(pl_quiet_add(q, t, c, N, t[N - 1] + 2 * QUIET) == PL_OK);
  REQUIRE(counts(q).overflow == N - MAX && times(q, got) == MAX);
  pl_quiet_lost lost;
  REQUIRE(pl_quiet_get_lost(q, t[MAX], t[MAX] + 1, &lost, 1) == 1);
  pl_quiet_free(q);
  q = fresh(&PLAIN);
  for (int64_t k = 0; k < N; k++) t[k] = 1000000 + k / 20000;
  REQUIRE(pl_quiet_add(q, t, c, N, 2000000) == PL_OK);
  REQUIRE(times(q, got) == 0 && counts(q).unsettled == N);
  REQUIRE(pl_quiet_get_lost(q, 1000000, 1000001, &lost, 1) == 1);
  pl_quiet_free(q);
}

static void test_arguments(void) {
  pl_quiet *q;
  uint8_t map[256] = {0};
  const pl_quiet_rule wrong[] = {
      {.quiet_ps = 0},
      {.quiet_ps = PL_QUIET_MAX_PS + 1},
      {.quiet_ps = 1, .delay_ps = {0, 0, 0, PL_QUIET_DELAY_LIMIT_PS + 1}},
      {.quiet_ps = 1, .scale_ps = 5},
  };
  for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++)
    REQUIRE(pl_quiet_new(&q, map, &wrong[k], SEED, MAX) == PL_E_ARGUMENT && q == NULL);
  q = fresh(&PLAIN);
  const int64_t t[] = {INT64_MIN, INT64_MAX, 5}, outside[] = {0};
  const uint8_t c[] = {1, 1, 1};
  REQUIRE(pl_quiet_add(q, t, c, 3, INT64_MAX) == PL_OK);
  REQUIRE(counts(q).late == 3 || counts(q).late == 2);
  REQUIRE(pl_quiet_lose(q, 5, 4) == PL_E_ARGUMENT);
  uint8_t basis;
  REQUIRE(pl_quiet_bases(q, outside, 1, &basis) == PL_E_RANGE || counts(q).events == 1);
  const pl_slot slot = {0, 100, QUIET + 1, 3};
  uint8_t code[20];
  REQUIRE(pl_quiet_announce(q, &slot, code, 20) == PL_E_ARGUMENT);
  pl_quiet_free(q);
  pl_quiet_free(NULL);
}

int main(void) {
  test_later_clicks_prolong_nothing();
  test_what_a_loss_touches_is_no_event();
  const size_t pieces[] = {1, 7, 100, 5000};
  for (size_t k = 0; k < 4; k++) test_state_is_carried(pieces[k]);
  test_a_full_store_and_a_flood_are_losses();
  test_arguments();
  return 0;
}
