/* The merge at every level against one by insertion: lengths around the vectors' borders, ties
 * everywhere, blocks too long for their keys, streams out of order at any place. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge.h"
#include "merge_input.h"
#include "require.h"

enum { STREAMS = 64 };

static uint64_t state = 88172645463325252u;

static uint64_t noise(void) { /* xorshift */
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

/* Arrays of their exact lengths, so that a sanitizer sees what is read behind them. */
static input streams_of(size_t streams, const size_t *lengths, int64_t from, uint64_t step) {
  input in = {.streams = streams};
  for (size_t k = 0; k < streams; k++) {
    const size_t n = in.length[k] = lengths[k];
    in.time[k] = malloc(n * sizeof(int64_t) + !n);
    in.channel[k] = malloc(n + !n);
    REQUIRE(in.time[k] && in.channel[k]);
    int64_t now = from;
    for (size_t i = 0; i < n; i++) {
      in.time[k][i] = now = (int64_t)((uint64_t)now + noise() % step);
      in.channel[k][i] = (uint8_t)noise();
    }
    in.total += n;
  }
  return in;
}

static int64_t merge_at(int level, const input *in, int64_t *t, uint8_t *c) {
  return pl_merge_with(pl_merge_kernels_of(level), in->streams, (const int64_t *const *)in->time,
                       (const uint8_t *const *)in->channel, in->length, t, c, in->total);
}

static void check(int level, const input *in, int64_t want) {
  int64_t *t = malloc(in->total * sizeof *t + !in->total);
  uint8_t *c = malloc(in->total + !in->total);
  REQUIRE(t && c);
  REQUIRE(merge_at(level, in, t, c) == want);
  if (want >= 0) REQUIRE(is_merged(in, t, c));
  free(t);
  free(c);
}

static void every_short_length(int level) {
  for (size_t a = 0; a <= 40; a++)
    for (size_t b = 0; b <= 40; b++) {
      input in = streams_of(2, (size_t[]){a, b}, -5, 1 + (a + b) % 4);
      check(level, &in, (int64_t)in.total);
      release(&in);
    }
}

static void several_blocks(int level) {
  static const size_t lengths[][4] = {
      {9000, 9000, 9000, 9000}, {30000, 1, 0, 500}, {8192, 8192, 0, 0}, {0, 0, 20000, 0}};
  static const uint64_t steps[] = {1, 2, 1000, 1 << 30, (uint64_t)1 << 44};
  for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++)
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
      input in = streams_of(4, lengths[k], INT64_MIN, steps[s]);
      check(level, &in, (int64_t)in.total);
      release(&in);
    }
}

static void any_number_of_streams(int level) {
  for (size_t streams = 0; streams <= STREAMS; streams++) {
    size_t lengths[STREAMS];
    for (size_t k = 0; k < STREAMS; k++) lengths[k] = noise() % 400;
    input in = streams_of(streams, lengths, 0, 3);
    check(level, &in, (int64_t)in.total);
    release(&in);
  }
}

/* The longest that has room in a key, and one longer. */
static void around_the_span(int level) {
  for (uint64_t span = PL_MERGE_SPAN - 2; span <= PL_MERGE_SPAN + 1; span++)
    for (int64_t from = INT64_MIN; from < 0; from += INT64_MAX) {
      input in = streams_of(3, (size_t[]){20, 30, 40}, from, 5);
      in.time[0][19] = in.time[1][29] = in.time[2][39] = (int64_t)((uint64_t)from + span);
      check(level, &in, 90);
      release(&in);
    }
}

static void out_of_order(int level) {
  const size_t border = PL_MERGE_BLOCK / 2; /* of the first block, as both streams are long */
  for (size_t k = 1; k < 9000; k += k % border < 40 || k % border > border - 40 ? 1 : 20) {
    input in = streams_of(2, (size_t[]){9000, 9000}, 0, 7);
    in.time[0][k] = in.time[0][k - 1] - 1;
    check(level, &in, PL_E_DATA);
    release(&in);
  }
}

int main(void) {
  for (int level = PL_DECODE_PORTABLE; level <= pl_decode_level_get(); level++) {
    every_short_length(level);
    several_blocks(level);
    any_number_of_streams(level);
    around_the_span(level);
    out_of_order(level);
  }
  return 0;
}
