#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

static uint64_t state = 2463534242u;

static uint64_t next(void) {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

enum { N = 300 };

static void round_trip(int rice, int label_bits, uint64_t gap) {
  int64_t tick[N], back[N], at = 0;
  uint8_t label[N], label_back[N], data[N * 12 + 16];
  for (int k = 0; k < N; k++) {
    tick[k] = at += (int64_t)(next() % gap);
    label[k] = (uint8_t)(next() % (1u << label_bits));
  }
  int64_t bytes = pl_timecode_encode(tick, label, N, label_bits, rice, data, sizeof data);
  assert(bytes > 0);
  uint8_t *exact = malloc((size_t)bytes); /* ASan sees a read beyond it */
  assert(exact);
  memcpy(exact, data, (size_t)bytes);
  assert(pl_timecode_decode(exact, (size_t)bytes, N, label_bits, rice, at, back, label_back) == N);
  assert(memcmp(tick, back, sizeof tick) == 0 && memcmp(label, label_back, sizeof label) == 0);
  assert(pl_timecode_decode(exact, (size_t)bytes, N, label_bits, rice, at - 1, back, label_back) ==
         (tick[N - 1] == tick[0] && at == 0 ? N : PL_E_DATA));
  assert(pl_timecode_decode(exact, (size_t)bytes - 1, N, label_bits, rice, at, back, label_back) < 0);
  assert(pl_timecode_encode(tick, label, N, label_bits, rice, data, (size_t)bytes - 1) ==
         PL_E_CAPACITY);
  free(exact);
}

static void rubbish(void) {
  for (int k = 0; k < 20000; k++) {
    int64_t tick[40];
    uint8_t label[40], data[64];
    size_t bytes = next() % sizeof data;
    for (size_t i = 0; i < bytes; i++) data[i] = (uint8_t)(k % 3 ? next() : 0xff);
    int64_t n = pl_timecode_decode(data, bytes, 40, 1 + k % 2, (int)(next() % 32), 1 << 20, tick, label);
    assert(n == 40 || n == PL_E_DATA);
    if (n == 40) assert(tick[39] <= 1 << 20);
  }
}

/* A gap of 5 written in full: no encoder does that, and one message has one code. */
static void long_form_of_a_short_gap(void) {
  uint8_t data[12] = {0xff, 0xff, 0xff, [10] = 5}, label, again[12];
  int64_t tick;
  assert(pl_timecode_decode(data, 12, 1, 1, 0, 99, &tick, &label) == PL_E_DATA);
  data[10] = 24;
  assert(pl_timecode_decode(data, 12, 1, 1, 0, 99, &tick, &label) == 1 && tick == 24);
  assert(pl_timecode_encode(&tick, &label, 1, 1, 0, again, 12) == 12 && !memcmp(data, again, 12));
}

int main(void) {
  long_form_of_a_short_gap();
  for (int rice = 0; rice < 32; rice++)
    for (int label_bits = 1; label_bits <= 2; label_bits++) {
      round_trip(rice, label_bits, 4);
      round_trip(rice, label_bits, 1u << 20);
      round_trip(rice, label_bits, (uint64_t)1 << 50);
    }
  rubbish();
  int64_t down[2] = {5, 4};
  uint8_t label[2] = {0, 0}, big[1] = {2}, out[64];
  assert(pl_timecode_encode(down, label, 2, 1, 3, out, sizeof out) == PL_E_ARGUMENT);
  assert(pl_timecode_encode(down, big, 1, 1, 3, out, sizeof out) == PL_E_ARGUMENT);
  assert(pl_timecode_encode(down, label, 1, 1, 32, out, sizeof out) == PL_E_ARGUMENT);
  assert(pl_timecode_decode(out, 0, 0, 1, 0, 0, down, label) == 0);
  assert(pl_timecode_decode(out, 1, 0, 1, 0, 0, down, label) == PL_E_DATA); /* trailing */
  return 0;
}
