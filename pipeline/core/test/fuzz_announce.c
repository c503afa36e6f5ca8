/* libFuzzer on announced times: any bytes are refused or are what the encoder writes for times that
 * the quiet rule allows; and the pairs are those of a plain search. */
#include "fuzz.h"

static int64_t by_hand(const int64_t *theirs, size_t n, const int64_t *own, size_t n_own,
                       int64_t window, const int64_t *a, const int64_t *b) {
  int64_t pairs = 0;
  for (size_t k = 0; k < n; k++)
    for (size_t i = 0; i < n_own; i++)
      if (llabs(theirs[k] - own[i]) <= window) {
        REQUIRE(a[pairs] == (int64_t)i && b[pairs] == (int64_t)k);
        pairs++;
      }
  return pairs;
}

static void pairs(const pl_slot *slot, const uint8_t *code, size_t bytes, const int64_t *theirs,
                  size_t n, source *in) {
  enum { OWN = 64 };
  int64_t own[OWN], window = (int64_t)(slot->quiet_ps >> slot->grid_bits << slot->grid_bits) / 3;
  size_t n_own = take(in, 1) % OWN;
  for (size_t i = 0; i < n_own; i++)
    own[i] = (i ? own[i - 1] + 2 * window + 1 : slot->start_ps) + (int64_t)take(in, 2);
  int64_t *a = exactly(n * 8), *b = exactly(n * 8), *r = exactly(n * 8);
  uint32_t *hist = calloc((size_t)(2 * window >> 3) + 1, sizeof *hist);
  REQUIRE(hist);
  const pl_slot_clock clock = {0, 0};
  int64_t found = pl_announced_pairs(code, bytes, slot, &clock, own, n_own, window, window, a, b, r,
                                     n, hist, 3);
  if (found != PL_E_ARGUMENT) REQUIRE(found == by_hand(theirs, n, own, n_own, window, a, b));
  for (int64_t p = 0; p < found; p++) REQUIRE(r[p] == theirs[b[p]] - own[a[p]]);
  free(a);
  free(b);
  free(r);
  free(hist);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  source in = {data, size, 0};
  pl_slot slot = {.start_ps = (int64_t)take(&in, 4) - (1 << 30), .quiet_ps = (int64_t)take(&in, 2),
                  .grid_bits = (int64_t)take(&in, 1) % 22};
  slot.end_ps = slot.start_ps + (int64_t)take(&in, 4);
  const size_t bytes = in.at < size ? (size - in.at) * 3 / 4 : 0;
  uint8_t *code = exact_copy(data + (bytes ? in.at : 0), bytes);
  in.at += bytes;
  int64_t n = pl_announced_events(code, bytes, &slot);
  REQUIRE(n >= 0 || n == PL_E_DATA || n == PL_E_ARGUMENT);
  if (n > 0 && n < 1 << 16) {
    int64_t *time = exactly((size_t)n * 8);
    int64_t got = pl_announced_times(code, bytes, &slot, time, (size_t)n);
    REQUIRE(got == n || got == PL_E_DATA);
    if (got == n) {
      int apart = time[0] >= slot.start_ps && time[n - 1] < slot.end_ps;
      for (int64_t k = 1; k < n; k++) apart &= time[k] - time[k - 1] >= slot.quiet_ps;
      uint8_t *again = exactly(4 + 14 * (size_t)n);
      int64_t made = pl_announce(time, (size_t)n, &slot, again, 4 + 14 * (size_t)n);
      REQUIRE(apart ? made == (int64_t)bytes && !memcmp(again, code, bytes)
                    : made == PL_E_ARGUMENT);
      pairs(&slot, code, bytes, time, (size_t)n, &in);
      free(again);
      free(time);
      free(code);
      return 0;
    }
    free(time);
  }
  free(code);
  return 0;
}
