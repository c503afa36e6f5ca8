#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "secret.h"

enum { WINDOW = 100, MAX = 1 << 16 };

static pl_events *fresh(void) {
  uint8_t map[256];
  memset(map, 255, sizeof map);
  for (uint8_t d = 0; d < 4; d++) map[1 + d] = d;
  pl_events *ev;
  assert(pl_events_new(&ev, map, WINDOW, MAX) == PL_OK);
  return ev;
}

static void add(pl_events *ev, const int64_t *t, const uint8_t *c, size_t n, int64_t through,
                const uint8_t *random, size_t expected_random) {
  assert(pl_events_add(ev, t, c, n, through, 0, NULL) == PL_OK);
  assert(pl_events_multi_pending(ev) == (int64_t)expected_random);
  assert(pl_events_emit(ev, random, expected_random) == (int64_t)expected_random);
}

static void merging(void) {
  pl_events *ev = fresh();
  int64_t t[] = {1000, 1100, 1101, 3000, 3050, 5000, 5001, 7000, 7100};
  uint8_t c[] = {1, 1, 2, 1, 2, 1, 4, 3, 9};
  uint8_t random[] = {1, 2}; /* event at 3000: bit 1; at 5000: basis 1, bit 0 */
  add(ev, t, c, 9, 7101, random, 2); /* V at 1101 is out of H's window */
  assert(pl_events_horizon(ev) == 7001 && pl_events_find(ev, 1000) == 0);
  assert(pl_events_find(ev, 7001) == 5); /* 1000 1101 3000 5000 7000: complete at 7100 */
  int64_t out[8];
  uint8_t basis[8], det[8];
  assert(pl_events_read(ev, 0, 5, out, basis) == 2);
  assert(out[1] == 1101 && out[2] == 3000 && out[4] == 7000);
  assert(basis[2] == 0 && basis[3] == 1 && basis[4] == 1);
  assert(pl_events_label(ev, 0, 2, det) == PL_OK && det[0] == 0 && det[1] == 1);
  assert(pl_events_label(ev, 1, 2, det) == PL_E_STATE);
  assert(pl_events_read(ev, 0, 6, out, basis) == PL_E_RANGE);
  pl_events_counts counts;
  assert(pl_events_get_counts(ev, &counts) == PL_OK);
  assert(counts.events == 5 && counts.multi_same == 1 && counts.multi_cross == 1);
  assert(counts.ignored == 1 && counts.clicks[0] == 4);
  pl_secret *bits;
  int64_t index[] = {2, 3, 4}, twice[] = {2, 2, 3}, spent[] = {1, 2, 3};
  assert(pl_secret_new(&bits, 3) == PL_OK);
  assert(pl_events_take_bits(ev, spent, 3, bits) == PL_E_STATE);
  assert(pl_events_take_bits(ev, twice, 3, bits) == PL_E_ARGUMENT);
  assert(pl_events_take_bits(ev, index, 2, bits) == PL_E_RANGE);
  assert(pl_events_take_bits(ev, index, 3, bits) == PL_OK && pl_secret_bytes(bits)[0] == 0x80);
  assert(pl_events_take_bits(ev, index, 3, bits) == PL_E_STATE);
  pl_secret_free(bits);
  pl_events_free(ev);
}

static void delays_and_order(void) {
  pl_events *ev = fresh();
  int64_t delay[4] = {0, 500, 0, 0}, wrong[4] = {1 + PL_EVENTS_DELAY_LIMIT_PS, 0, 0, 0};
  int64_t t[] = {1000, 1399, 1900}, out[3];
  uint8_t c[] = {1, 2, 2}, basis[3], det[3];
  assert(pl_events_set_delays(ev, wrong) == PL_E_ARGUMENT);
  assert(pl_events_set_delays(ev, delay) == PL_OK);
  add(ev, t, c, 3, 10000, NULL, 0);
  assert(pl_events_horizon(ev) == 10000 - 500 - WINDOW);
  assert(pl_events_read(ev, 0, 3, out, basis) == 0 && pl_events_label(ev, 0, 3, det) == PL_OK);
  assert(out[0] == 899 && out[1] == 1000 && out[2] == 1400 && det[0] == 1 && det[1] == 0);
  int64_t late[] = {9399, 9400, INT64_MAX, INT64_MIN};
  uint8_t channels[] = {1, 1, 1, 2};
  add(ev, late, channels, 4, 20000, NULL, 0);
  pl_events_counts counts;
  assert(pl_events_get_counts(ev, &counts) == PL_OK && counts.late == 3 && counts.events == 4);
  pl_events_free(ev);
}

static void dithered(void) {
  pl_events *ev = fresh();
  int64_t t[] = {2000, 4000, 4000}, out[3];
  uint8_t c[] = {1, 1, 2}, dither[] = {0, 255, 128}, basis[3];
  assert(pl_events_add(ev, t, c, 3, 10000, -1, dither) == PL_E_ARGUMENT);
  assert(pl_events_add(ev, t, c, 3, 10000, 2000, dither) == PL_OK);
  assert(pl_events_multi_pending(ev) == 0 && pl_events_emit(ev, NULL, 0) == 0);
  assert(pl_events_read(ev, 0, 3, out, basis) == 0);
  assert(out[0] == 2000 && out[1] == 5000 && out[2] == 4000 + 2000 * 255 / 256);
  pl_events_free(ev);
}

static void full_and_discard(void) {
  enum { HALF = MAX / 2 };
  pl_events *ev = fresh();
  int64_t *t = malloc(HALF * sizeof *t), out[1];
  uint8_t *c = malloc(HALF), basis[1];
  assert(t && c);
  for (int64_t round = 0; round < 9; round++) {
    for (int64_t k = 0; k < HALF; k++) {
      t[k] = (round * HALF + k) * 1000;
      c[k] = (uint8_t)(1 + k % 4);
    }
    add(ev, t, c, HALF, (round + 1) * HALF * 1000, NULL, 0);
    if (round > 6) continue; /* then nothing is discarded, and it fills up */
    int64_t kept_from = ((round + 1) * HALF - 100) * 1000;
    assert(pl_events_discard_before(ev, kept_from) == PL_OK);
    int64_t first = pl_events_first(ev);
    assert(pl_events_find(ev, 0) == first);
    assert(pl_events_read(ev, first, 1, out, basis) == 0 && out[0] == kept_from);
    assert(pl_events_read(ev, first - 1, 1, out, basis) == PL_E_RANGE);
  }
  pl_events_counts counts;
  assert(pl_events_get_counts(ev, &counts) == PL_OK);
  assert(counts.events + counts.overflow == 9 * HALF && counts.overflow > 0);
  assert(pl_events_read(ev, counts.events - 1, 1, out, basis) == 0);
  assert(counts.overflow_from_ps == out[0] + 1000);
  free(t), free(c);
  pl_events_free(ev);
}

static void burst(void) { /* more clicks at one moment than may wait */
  pl_events *ev = fresh();
  static int64_t t[100000];
  static uint8_t c[100000];
  memset(c, 1, sizeof c);
  assert(pl_events_add(ev, t, c, 100000, 1, 0, NULL) == PL_OK);
  assert(pl_events_emit(ev, NULL, 0) == 0);
  assert(pl_events_add(ev, t, c, 100000, 1, 0, NULL) == PL_E_CAPACITY);
  assert(pl_events_drop_pending(ev) == PL_OK);
  assert(pl_events_add(ev, t, c, 100000, 1, 0, NULL) == PL_OK);
  pl_events_free(ev);
}

int main(void) {
  merging();
  delays_and_order();
  dithered();
  full_and_discard();
  burst();
  return 0;
}
