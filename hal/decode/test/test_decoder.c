/* Decoders under the sanitizers: hand-written words, then noise of every format in odd pieces. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "require.h"

static void words32(uint8_t *out, const uint32_t *w, size_t n) {
  for (size_t i = 0; i < 4 * n; i++) out[i] = (uint8_t)(w[i / 4] >> 8 * (i % 4));
}

static void test_t2(void) {
  const uint32_t words[] = {5, 1u << 25 | 9, 0x80000000u | 63u << 25 | 2, 0x80000000u | 3, 7};
  uint8_t data[sizeof words];
  int64_t t[16], n = 0;
  uint8_t c[16];
  size_t used;
  words32(data, words, 5);
  pl_decoder *d;
  REQUIRE(pl_decoder_new(&d, PL_FORMAT_T2, 80, 0, 1) == PL_OK);
  REQUIRE(d);
  for (size_t i = 0; i < sizeof data; i++) {
    int64_t k = pl_decoder_feed(d, data + i, 1, t + n, c + n, 16 - (size_t)n, &used);
    REQUIRE(k >= 0 && used == 1);
    n += k;
  }
  const int64_t base = 2 * (int64_t)33554432;
  REQUIRE(n == 4 && t[0] == 400 && t[1] == 720 && t[2] == (base + 3) * 80 && t[3] == (base + 7) * 80);
  REQUIRE(c[0] == 0 && c[1] == 1 && c[2] == 64 && c[3] == 0);
  pl_decoder_info info = *pl_decoder_info_of(d);
  REQUIRE(info.horizon_ps == t[3] && info.records == 5 && info.position == 20 && !info.pending);
  pl_decoder_free(d);
}

/* A full output stops the decoder; nothing is lost when it is called again. */
static void test_small_output(void) {
  enum { N = 5000 };
  uint8_t data[4 * N];
  for (uint32_t i = 0; i < N; i++) {
    uint32_t w = i << 5 | 15;
    words32(data + 4 * i, &w, 1);
  }
  pl_decoder *d;
  REQUIRE(pl_decoder_new(&d, PL_FORMAT_TDC1, 1, 0, 1) == PL_OK);
  REQUIRE(d);
  int64_t t[32], total = 0;
  uint8_t c[32];
  for (size_t at = 0, used; at < sizeof data; at += used) {
    int64_t n = pl_decoder_feed(d, data + at, sizeof data - at, t, c, 8 + at % 24, &used);
    REQUIRE(n >= 0 && (n > 0 || used > 0));
    for (int64_t i = 0; i < n; i++, total++)
      REQUIRE(t[i] == total / 4 * 2000 && c[i] == total % 4 + 1);
  }
  REQUIRE(total == 4 * N);
  size_t used;
  REQUIRE(pl_decoder_feed(d, data, 4, t, c, 7, &used) == PL_E_CAPACITY);
  pl_decoder_free(d);
}

static void test_arguments(void) {
  const int64_t wrong[][4] = {
      {0, 1, 0, 1},
      {99, 1, 0, 1},
      {PL_FORMAT_T2, 0, 0, 1},
      {PL_FORMAT_T2, 1, 0, 0},
      {PL_FORMAT_T2, INT64_MAX, 0, 1},
      {PL_FORMAT_T2, ((int64_t)1 << 62) - 1, 0, 1},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    const int64_t *w = wrong[i];
    pl_decoder *d;
    REQUIRE(pl_decoder_new(&d, (int)w[0], w[1], w[2], w[3]) == PL_E_ARGUMENT && d == NULL);
  }
  pl_decoder_free(NULL);
}

static uint64_t next(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return *state >> 33;
}

/* Noise, and noise whose upper time bytes stand still so that some of it looks in order. */
static void noise(int format, int level, uint64_t seed) {
  enum { SIZE = 6000 };
  static uint8_t data[SIZE];
  static int64_t t[3 * SIZE + 70000];
  static uint8_t c[3 * SIZE + 70000];
  pl_lost lost[7];
  pl_decoder *d;
  int64_t num = 1 + (int64_t)(next(&seed) % 100), den = 1 + (int64_t)(next(&seed) % 3);
  int64_t dnum = format >= PL_FORMAT_T3 && format <= PL_FORMAT_T3_PH300;
  REQUIRE(pl_decoder_new(&d, format, num, dnum, den) == PL_OK);
  REQUIRE(pl_decoder_set_level(d, level) == PL_OK);
  int record = pl_record_size(format), calm = next(&seed) % 2;
  for (int round = 0; round < 4; round++) {
    for (int i = 0; i < SIZE; i++) {
      int upper = i % record >= record / 2 && record >= 8;
      data[i] = calm && upper ? 0 : (uint8_t)next(&seed);
    }
    for (size_t at = 0, used; at < SIZE; at += used) {
      size_t take = next(&seed) % 500;
      if (take > SIZE - at) take = SIZE - at;
      int64_t n = pl_decoder_feed(d, data + at, take, t, c, sizeof c, &used);
      if (n < 0) {
        REQUIRE(n == PL_E_DATA);
        goto out;
      }
      for (int64_t i = 1; i < n; i++) REQUIRE(t[i] >= t[i - 1]);
      while (pl_decoder_lost(d, lost, 7) > 0) REQUIRE(lost[0].end_ps > lost[0].start_ps);
      pl_decoder_info info = *pl_decoder_info_of(d);
      REQUIRE(n == 0 || info.horizon_ps >= t[n - 1]);
      if (info.error) REQUIRE(used <= take);
      else REQUIRE(used == take);
      if (take == 0) used = 0;
    }
  }
  REQUIRE(pl_decoder_finish(d, t, c, sizeof c) >= 0);
out:
  pl_decoder_free(d);
}

static void test_merge(void) {
  const int64_t a[] = {1, 5, 5, 9}, b[] = {0, 5, 10};
  const uint8_t ca[] = {1, 1, 2, 1}, cb[] = {7, 7, 7};
  const int64_t *times[] = {a, b};
  const uint8_t *channels[] = {ca, cb};
  size_t lengths[] = {4, 3};
  int64_t t[7];
  uint8_t c[7];
  REQUIRE(pl_merge(2, times, channels, lengths, t, c, 7) == 7);
  const int64_t want[] = {0, 1, 5, 5, 5, 9, 10};
  const uint8_t want_c[] = {7, 1, 1, 2, 7, 1, 7};
  REQUIRE(!memcmp(t, want, sizeof want) && !memcmp(c, want_c, sizeof want_c));
  REQUIRE(pl_merge(2, times, channels, lengths, t, c, 6) == PL_E_CAPACITY);
  REQUIRE(pl_merge(0, NULL, NULL, NULL, t, c, 7) == 0);
}

int main(void) {
  test_t2();
  test_small_output();
  test_arguments();
  test_merge();
  for (int level = 0; level <= pl_decode_level_get(); level++)
    for (int format = PL_FORMAT_TDC1; format <= PL_FORMAT_TIMETAGGER4; format++)
      for (uint64_t seed = 0; seed < 20; seed++) noise(format, level, seed * 977 + 13);
  return 0;
}
