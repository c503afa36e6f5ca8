/* Toeplitz hashing at every level of this machine against the sum it is defined by. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "secret.h"
#include "toeplitz.h"

#define REQUIRE(condition)                                                    \
  do {                                                                        \
    if (!(condition)) {                                                       \
      fprintf(stderr, "%s:%d: %s failed\n", __FILE__, __LINE__, #condition);  \
      exit(1);                                                                \
    }                                                                         \
  } while (0)

static uint32_t random_state = 1;

static uint8_t random_byte(void) {
  random_state = random_state * 1664525 + 1013904223;
  return (uint8_t)(random_state >> 24);
}

static int bit(const uint8_t *bytes, int64_t i) { return bytes[i >> 3] >> (7 - (i & 7)) & 1; }

static int expected_bit(const uint8_t *x, const uint8_t *seed, int64_t n, int64_t n_out, int modified,
                        int64_t i) {
  int64_t start = modified ? n_out : 0, m = n - start;
  int y = modified ? bit(x, i) : 0;
  for (int64_t j = 0; j < m; j++) y ^= bit(seed, i - j + m - 1) & bit(x, start + j);
  return y;
}

enum fill { RANDOM, ZEROS, ONES };

static void one_case(int level, int max_log, int64_t n, int64_t n_out, int modified, enum fill fill) {
  int64_t bits = modified ? n - 1 : n + n_out - 1;
  size_t bytes = bits > 0 ? (size_t)(bits + 7) / 8 : 0;
  uint8_t *seed = malloc(bytes ? bytes : 1); /* exactly the bytes it needs: ASan sees a read beyond */
  uint8_t *data = malloc((size_t)n / 8 + 1);
  for (size_t i = 0; i < bytes; i++) seed[i] = random_byte();
  for (int64_t i = 0; i <= n / 8; i++)
    data[i] = fill == RANDOM ? random_byte() : fill == ONES ? 0xff : 0;
  pl_secret *x, *y;
  pl_toeplitz *context;
  REQUIRE(pl_secret_new(&x, n) == PL_OK && pl_secret_new(&y, n_out) == PL_OK);
  REQUIRE(pl_secret_import(x, data, n / 8 + 1) == PL_OK);
  REQUIRE(pl_toeplitz_new(&context) == PL_OK);
  context->products = pl_gf128_kernels(level);
  context->kernel = pl_fft_kernels(level);
  context->max_log = max_log;
  REQUIRE(pl_toeplitz_hash(context, y, x, seed, (int64_t)bytes, modified) == PL_OK);
  const uint8_t *in = pl_secret_bytes(x), *out = pl_secret_bytes(y);
  int64_t step = n_out > 300 ? n_out / 97 : 1;
  for (int64_t i = 0; i < n_out; i += step)
    REQUIRE(bit(out, i) == expected_bit(in, seed, n, n_out, modified, i));
  if (n_out) REQUIRE(bit(out, n_out - 1) == expected_bit(in, seed, n, n_out, modified, n_out - 1));
  for (int64_t i = n_out; i < 8 * ((n_out + 7) / 8) + 512; i++) REQUIRE(bit(out, i) == 0);
  for (size_t i = 0; i < context->secret_words; i++) REQUIRE(context->secret[i] == 0);
  pl_toeplitz_free(context);
  pl_secret_free(x);
  pl_secret_free(y);
  free(seed);
  free(data);
}

static void refusals(void) {
  pl_secret *x, *y, *wide;
  pl_toeplitz *context;
  uint8_t seed[32] = {0};
  REQUIRE(pl_secret_new(&x, 100) == PL_OK && pl_secret_new(&y, 50) == PL_OK);
  REQUIRE(pl_secret_new(&wide, 101) == PL_OK && pl_toeplitz_new(&context) == PL_OK);
  REQUIRE(pl_toeplitz_hash(context, y, x, seed, 19, 0) == PL_OK); /* 149 bits */
  REQUIRE(pl_toeplitz_hash(context, y, x, seed, 18, 0) == PL_E_ARGUMENT);
  REQUIRE(pl_toeplitz_hash(context, y, x, seed, 20, 0) == PL_E_ARGUMENT);
  REQUIRE(pl_toeplitz_hash(context, y, x, seed, 12, 1) == PL_E_ARGUMENT);
  REQUIRE(pl_toeplitz_hash(context, wide, x, seed, 25, 0) == PL_E_ARGUMENT);
  REQUIRE(pl_toeplitz_hash(context, x, x, seed, 25, 0) == PL_E_ARGUMENT);
  REQUIRE(pl_toeplitz_hash(NULL, y, x, seed, 19, 0) == PL_E_STATE);
  REQUIRE(pl_toeplitz_hash(context, NULL, x, seed, 19, 0) == PL_E_STATE);
  REQUIRE(pl_toeplitz_hash(context, y, NULL, seed, 19, 0) == PL_E_STATE);
  pl_toeplitz_free(context);
  pl_toeplitz_free(NULL);
  pl_secret_free(x);
  pl_secret_free(y);
  pl_secret_free(wide);
}

int main(void) {
  static const int64_t sizes[][2] = {
      {1, 0},       {1, 1},       {2, 1},       {31, 31},     {32, 1},      {33, 32},
      {63, 64},     {64, 64},     {65, 63},     {127, 128},   {129, 127},   {192, 65},
      {1000, 333},  {4096, 4096}, {16416, 37},  {16385, 600}, {16384, 8192}, {32768, 16384},
      {32769, 16383}, {40000, 39000}, {50001, 17}, {70001, 30003}};
  static const int limits[] = {PL_FFT_MAX_LOG, 9, 5};
  refusals();
  for (int level = 0; level <= pl_simd_machine(); level++)
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
      for (int modified = 0; modified < 2; modified++) {
        int64_t n = sizes[s][0], n_out = sizes[s][1];
        if (n_out > n) n_out = n;
        for (size_t k = 0; k < sizeof limits / sizeof *limits; k++)
          if (k == 0 || n > 4096) one_case(level, limits[k], n, n_out, modified, RANDOM);
        one_case(level, PL_FFT_MAX_LOG, n, n_out, modified, ZEROS);
        one_case(level, PL_FFT_MAX_LOG, n, n_out, modified, ONES);
      }
  return 0;
}
