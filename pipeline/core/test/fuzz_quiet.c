/* libFuzzer on the quiet rule: any clicks and losses, in any pieces, give events that are apart, in
 * order, outside of what is told lost, and the same as in one piece. */
#include "fuzz.h"

enum { MAX = 1 << 16, CLICKS = 600 };

typedef struct {
  int64_t time[CLICKS];
  uint8_t channel[CLICKS];
  size_t n;
  int64_t lost[2];
} input;

static pl_quiet *run(const input *in, const pl_quiet_rule *rule, size_t piece, int64_t end) {
  uint8_t map[256], seed[PL_NOISE_SEED_BYTES] = {1};
  for (int c = 0; c < 256; c++) map[c] = c % 8 < 4 ? (uint8_t)(c % 8) : 255;
  pl_quiet *q;
  int status = pl_quiet_new(&q, map, rule, seed, MAX);
  REQUIRE(status == PL_OK || (status == PL_E_ARGUMENT && q == NULL));
  if (q == NULL) return NULL;
  REQUIRE(pl_quiet_lose(q, in->lost[0], in->lost[1]) == PL_OK);
  for (size_t at = 0; at < in->n; at += piece) {
    size_t n = in->n - at < piece ? in->n - at : piece;
    int64_t *t = exactly(n * sizeof *t);
    memcpy(t, in->time + at, n * sizeof *t);
    uint8_t *c = exact_copy(in->channel + at, n);
    REQUIRE(pl_quiet_add(q, t, c, n, at + n < in->n ? in->time[at + n] : end) == PL_OK);
    free(t);
    free(c);
  }
  return q;
}

static size_t events(const pl_quiet *q, int64_t *time) {
  int64_t first = pl_quiet_first(q), n = pl_quiet_find(q, INT64_MAX) - first;
  REQUIRE(n >= 0 && n <= CLICKS && pl_quiet_times(q, first, (size_t)n, time) == PL_OK);
  return (size_t)n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  source s = {data, size, 0};
  static input in;
  pl_quiet_rule rule = {.quiet_ps = (int64_t)take(&s, 2)};
  for (int d = 0; d < 4; d++) rule.delay_ps[d] = (int64_t)take(&s, 2) - (1 << 15);
  rule.scale_ps = (int64_t)take(&s, 1);
  rule.bound_ps = rule.scale_ps * (1 + (int64_t)(take(&s, 1) & 63));
  in.lost[0] = (int64_t)take(&s, 3);
  in.lost[1] = in.lost[0] + (int64_t)take(&s, 2);
  size_t piece = 1 + take(&s, 1);
  int64_t at = 0;
  for (in.n = 0; in.n < CLICKS && s.at < s.size; in.n++) {
    in.time[in.n] = at += (int64_t)take(&s, 2);
    in.channel[in.n] = (uint8_t)take(&s, 1);
  }
  const int64_t end = at + 1;
  pl_quiet *one = run(&in, &rule, CLICKS, end), *many = run(&in, &rule, piece, end);
  if (one == NULL) return 0;
  static int64_t a[CLICKS], b[CLICKS];
  const size_t n = events(one, a);
  REQUIRE(events(many, b) == n && memcmp(a, b, n * sizeof *a) == 0);
  for (size_t k = 0; k < n; k++) {
    pl_quiet_lost lost;
    REQUIRE(k == 0 || a[k] - a[k - 1] >= rule.quiet_ps);
    REQUIRE(a[k] < pl_quiet_horizon(one) && pl_quiet_get_lost(one, a[k], a[k] + 1, &lost, 1) == 0);
  }
  pl_quiet_counts c;
  REQUIRE(pl_quiet_get_counts(one, &c) == PL_OK);
  REQUIRE(c.events == (int64_t)n && c.followed <= c.events && c.late == 0);
  pl_quiet_free(one);
  pl_quiet_free(many);
  return 0;
}
