/* libFuzzer on the merge at every level: any streams, sorted or not, against one by insertion. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge.h"
#include "merge_input.h"
#include "require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Two bytes a tag: its stream, its step in time. The shape says how large a step is and how often
 * all of them come again, which makes several blocks. */
static input streams_of(const uint8_t *data, size_t size, size_t streams, unsigned shape,
                        int *sorted) {
  static const int shifts[] = {0, 8, 30, 44};
  input in = {.streams = streams};
  *sorted = 1;
  int64_t now[ROOM] = {0};
  const size_t turns = 1 + (shape >> 3) % 8;
  for (size_t k = 0; k < streams; k++) {
    in.time[k] = malloc((size * turns + 1) * sizeof(int64_t)); /* cut to its size below */
    in.channel[k] = malloc(size * turns + 1);
    REQUIRE(in.time[k] && in.channel[k]);
    if (shape & 4) now[k] = INT64_MIN;
  }
  for (size_t i = 0; streams && i + 1 < size * turns; i += 2) {
    size_t k = data[i % size] % streams, n = in.length[k]++;
    uint64_t step = (uint64_t)data[(i + 1) % size] << shifts[shape & 3];
    int64_t to = (int64_t)((uint64_t)now[k] + step);
    if (to < now[k] && n) *sorted = 0;
    in.time[k][n] = now[k] = to;
    in.channel[k][n] = (uint8_t)(i / 2);
    in.total++;
  }
  for (size_t k = 0; k < streams; k++) { /* nothing behind them may be looked at */
    in.time[k] = realloc(in.time[k], in.length[k] * sizeof(int64_t) + !in.length[k]);
    in.channel[k] = realloc(in.channel[k], in.length[k] + !in.length[k]);
    REQUIRE(in.time[k] && in.channel[k]);
  }
  return in;
}

static void merge_at(int level, const input *in, int sorted) {
  const pl_merge_kernels *kernels = pl_merge_kernels_of(level);
  int64_t *t = malloc(in->total * sizeof *t + !in->total);
  uint8_t *c = malloc(in->total + !in->total);
  REQUIRE(t && c);
  const int64_t *const *times = (const int64_t *const *)in->time;
  const uint8_t *const *channels = (const uint8_t *const *)in->channel;
  int64_t n =
      pl_merge_with(kernels, in->streams, times, channels, in->length, t, c, in->total);
  if (in->streams > 64)
    REQUIRE(n == PL_E_ARGUMENT);
  else if (sorted)
    REQUIRE(n == (int64_t)in->total);
  else
    REQUIRE(n == PL_E_DATA);
  if (n == (int64_t)in->total) REQUIRE(is_merged(in, t, c));
  if (in->streams <= 64 && in->total)
    REQUIRE(pl_merge_with(kernels, in->streams, times, channels, in->length, t, c,
                          in->total - 1) == PL_E_CAPACITY);
  free(t);
  free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2) return 0;
  int sorted;
  input in = streams_of(data + 2, size - 2, data[0] % ROOM, data[1], &sorted);
  for (int level = PL_DECODE_PORTABLE; level <= pl_decode_level_get(); level++)
    merge_at(level, &in, sorted);
  release(&in);
  return 0;
}
