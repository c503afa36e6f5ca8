/* libFuzzer on announcements: any bytes are refused or are exactly what the encoder writes. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  source in = {data, size, 0};
  int label_bits = 1 + (int)(take(&in, 1) & 1), rice = (int)(take(&in, 1) & 31);
  size_t n = take(&in, 2) & 0xfff;
  int64_t last = (int64_t)(take(&in, 8) >> 1);
  size_t bytes = size - in.at;
  uint8_t *code = exact_copy(data + in.at, bytes);
  int64_t *tick = exactly(n * sizeof *tick);
  uint8_t *label = exactly(n);
  int64_t got = pl_timecode_decode(code, bytes, n, label_bits, rice, last, tick, label);
  REQUIRE(got == PL_E_DATA || got == (int64_t)n);
  for (size_t i = 0; got >= 0 && i < n; i++)
    REQUIRE(tick[i] >= (i ? tick[i - 1] : 0) && tick[i] <= last && label[i] >> label_bits == 0);
  if (got >= 0) {
    uint8_t *again = exactly(bytes);
    REQUIRE(pl_timecode_encode(tick, label, n, label_bits, rice, again, bytes) == (int64_t)bytes);
    REQUIRE(memcmp(again, code, bytes) == 0);
    free(again);
  }
  free(code);
  free(tick);
  free(label);
  return 0;
}

/* What the encoder would write, now and then: sorted ticks, few or many to a Rice step. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
  enum { HEADER = 12, MOST = 200 };
  uint32_t state = seed;
  if ((size > HEADER && next(&state) % 16) || max_size < HEADER + 12 * MOST)
    return LLVMFuzzerMutate(data, size, max_size);
  int64_t tick[MOST], at = 0;
  uint8_t label[MOST];
  size_t n = 1 + next(&state) % MOST, mean = next(&state) % 40;
  data[0] = (uint8_t)next(&state);
  data[1] = (uint8_t)next(&state);
  data[2] = (uint8_t)n;
  data[3] = 0;
  memset(data + 4, 0xff, 8);
  for (size_t i = 0; i < n; i++) {
    tick[i] = at += (int64_t)(next(&state) & (((uint64_t)1 << mean) - 1));
    label[i] = (uint8_t)(next(&state) & 1);
  }
  int64_t bytes = pl_timecode_encode(tick, label, n, 1 + (data[0] & 1), data[1] & 31,
                                     data + HEADER, max_size - HEADER);
  return bytes < 0 ? LLVMFuzzerMutate(data, size, max_size) : HEADER + (size_t)bytes;
}
