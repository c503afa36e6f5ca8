/* Toeplitz hashing at every level, whole and in pieces, against the sum it is defined by. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "secret.h"
#include "toeplitz.h"
#include "require.h"

static uint32_t random_state = 1;

static uint8_t random_byte(void) {
  random_state = random_state * 1664525 + 1013904223;
  return (uint8_t)(random_state >> 24);
}

static int bit(const uint8_t *bytes, int64_t i) { return bytes[i >> 3] >> (7 - (i & 7)) & 1; }

/* One block: x, what it becomes, and the context that does it. */
typedef struct {
  int64_t n, n_out, seed_bytes;
  int modified;
  uint8_t *seed;
  pl_secret *x, *y;
  pl_toeplitz *context;
} subject;

enum fill { RANDOM, ZEROS, ONES };

static subject subject_new(int64_t n, int64_t n_out, int modified, enum fill fill) {
  subject s = {.n = n, .n_out = n_out, .modified = modified};
  int64_t bits = modified ? n - 1 : n + n_out - 1;
  s.seed_bytes = bits > 0 ? (bits + 7) / 8 : 0;
  s.seed = malloc(s.seed_bytes ? (size_t)s.seed_bytes : 1); /* ASan sees a read beyond */
  uint8_t *data = malloc((size_t)n / 8 + 1);
  for (int64_t i = 0; i < s.seed_bytes; i++) s.seed[i] = random_byte();
  for (int64_t i = 0; i <= n / 8; i++)
    data[i] = fill == RANDOM ? random_byte() : fill == ONES ? 0xff : 0;
  REQUIRE(pl_secret_new(&s.x, n) == PL_OK && pl_secret_new(&s.y, n_out) == PL_OK);
  REQUIRE(pl_secret_import(s.x, data, n / 8 + 1) == PL_OK);
  REQUIRE(pl_toeplitz_new(&s.context) == PL_OK);
  free(data);
  return s;
}

static void subject_free(subject *s) {
  pl_toeplitz_free(s->context);
  pl_secret_free(s->x);
  pl_secret_free(s->y);
  free(s->seed);
}

static int expected_bit(const subject *s, int64_t i) {
  const uint8_t *x = pl_secret_bytes(s->x);
  int64_t start = s->modified ? s->n_out : 0, m = s->n - start;
  int y = s->modified ? bit(x, i) : 0;
  for (int64_t j = 0; j < m; j++) y ^= bit(s->seed, i - j + m - 1) & bit(x, start + j);
  return y;
}

static void is_wiped(const pl_toeplitz *context) {
  for (size_t i = 0; i < context->secret_words; i++) REQUIRE(context->secret[i] == 0);
}

static void whole(subject *s) {
  REQUIRE(pl_toeplitz_hash(s->context, s->y, s->x, s->seed, s->seed_bytes, s->modified) == PL_OK);
  const uint8_t *out = pl_secret_bytes(s->y);
  int64_t step = s->n_out > 300 ? s->n_out / 97 : 1;
  for (int64_t i = 0; i < s->n_out; i += step) REQUIRE(bit(out, i) == expected_bit(s, i));
  if (s->n_out) REQUIRE(bit(out, s->n_out - 1) == expected_bit(s, s->n_out - 1));
  for (int64_t i = s->n_out; i < 8 * ((s->n_out + 7) / 8) + 512; i++) REQUIRE(bit(out, i) == 0);
  is_wiped(s->context);
}

/* Pieces of `size` bits (0: of random sizes, many of them empty), from a buffer where x lies at
 * bit `shift`; the result is that of the whole. */
static void in_pieces(subject *s, int64_t size, int64_t shift) {
  pl_secret *shifted, *y;
  pl_toeplitz *t = s->context;
  REQUIRE(pl_secret_new(&shifted, s->n + shift) == PL_OK && pl_secret_new(&y, s->n_out) == PL_OK);
  memset(pl_secret_bytes(shifted), 0xff, (size_t)shift / 8);
  REQUIRE(pl_secret_copy(shifted, shift, s->x, 0, s->n) == PL_OK);
  REQUIRE(pl_toeplitz_begin(t, s->n, s->n_out, s->modified) == PL_OK);
  for (int64_t at = 0; at < s->n;) {
    int64_t count = size ? size : random_byte() * (int64_t)random_byte() % 700 * (random_byte() % 3);
    if (count > s->n - at) count = s->n - at;
    REQUIRE(pl_toeplitz_finish(t, y, s->seed, s->seed_bytes) == PL_E_STATE); /* not yet */
    REQUIRE(pl_toeplitz_add(t, shifted, shift + at, count) == PL_OK);
    at += count;
  }
  REQUIRE(pl_toeplitz_add(t, shifted, shift, 0) == PL_OK);
  if (s->n) REQUIRE(pl_toeplitz_add(t, shifted, shift, 1) == PL_E_LIMIT);
  REQUIRE(pl_toeplitz_finish(t, y, s->seed, s->seed_bytes + 1) == PL_E_ARGUMENT);
  REQUIRE(pl_toeplitz_finish(t, y, s->seed, s->seed_bytes) == PL_OK);
  REQUIRE(pl_secret_equal(y, s->y) == 1);
  is_wiped(t);
  REQUIRE(pl_toeplitz_add(t, shifted, 0, 0) == PL_E_STATE);
  REQUIRE(pl_toeplitz_finish(t, y, s->seed, s->seed_bytes) == PL_E_STATE);
  pl_secret_free(shifted);
  pl_secret_free(y);
}

static void one_case(int level, int max_log, int64_t n, int64_t n_out, int modified, enum fill fill) {
  subject s = subject_new(n, n_out, modified, fill);
  s.context->kernel = pl_fft_kernels(level);
  s.context->max_log = max_log;
  whole(&s);
  if (fill == RANDOM) {
    in_pieces(&s, 0, 0);
    in_pieces(&s, n < 64 ? 1 : n / 3 + 1, 13);
    if (level == PL_SIMD_PORTABLE && n <= 4096)
      for (int64_t size = 1; size <= 65; size += size % 32 ? 1 : 31) in_pieces(&s, size, size % 9);
  }
  subject_free(&s);
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
  REQUIRE(pl_toeplitz_hash(NULL, y, x, seed, 19, 0) == PL_E_STATE);
  REQUIRE(pl_toeplitz_hash(context, NULL, x, seed, 19, 0) == PL_E_STATE);
  REQUIRE(pl_toeplitz_hash(context, y, NULL, seed, 19, 0) == PL_E_STATE);
  REQUIRE(pl_toeplitz_begin(NULL, 100, 50, 0) == PL_E_STATE);
  REQUIRE(pl_toeplitz_add(context, x, 0, 1) == PL_E_STATE);
  REQUIRE(pl_toeplitz_begin(context, 100, 50, 0) == PL_OK);
  REQUIRE(pl_toeplitz_begin(context, -1, 0, 0) == PL_E_ARGUMENT);
  REQUIRE(pl_toeplitz_begin(context, 100, 101, 0) == PL_E_ARGUMENT);
  REQUIRE(pl_toeplitz_begin(context, 100, -1, 1) == PL_E_ARGUMENT);
  REQUIRE(pl_toeplitz_begin(context, INT64_MAX, 1, 0) == PL_E_ARGUMENT);
  REQUIRE(pl_toeplitz_add(NULL, x, 0, 1) == PL_E_STATE);
  REQUIRE(pl_toeplitz_add(context, NULL, 0, 1) == PL_E_STATE);
  REQUIRE(pl_toeplitz_add(context, x, -1, 1) == PL_E_RANGE);
  REQUIRE(pl_toeplitz_add(context, x, 0, -1) == PL_E_RANGE);
  REQUIRE(pl_toeplitz_add(context, x, 1, 100) == PL_E_RANGE);
  REQUIRE(pl_toeplitz_add(context, x, INT64_MAX, 1) == PL_E_RANGE);
  REQUIRE(pl_toeplitz_add(context, wide, 0, 101) == PL_E_LIMIT);
  REQUIRE(pl_toeplitz_add(context, x, 0, 100) == PL_OK); /* the refused begins changed nothing */
  REQUIRE(pl_toeplitz_finish(NULL, y, seed, 19) == PL_E_STATE);
  REQUIRE(pl_toeplitz_finish(context, NULL, seed, 19) == PL_E_STATE);
  REQUIRE(pl_toeplitz_finish(context, wide, seed, 19) == PL_E_ARGUMENT);
  REQUIRE(pl_toeplitz_finish(context, y, seed, 18) == PL_E_ARGUMENT);
  REQUIRE(pl_toeplitz_finish(context, y, seed, 19) == PL_OK);
  pl_toeplitz_free(context);
  pl_toeplitz_free(NULL);
  pl_secret_free(x);
  pl_secret_free(y);
  pl_secret_free(wide);
}

/* A block that was dropped leaves nothing to the next one, and is wiped. */
static void dropped(void) {
  subject s = subject_new(70001, 30003, 1, RANDOM), small = subject_new(500, 100, 0, RANDOM);
  whole(&s);
  REQUIRE(pl_toeplitz_begin(s.context, 1 << 20, 1 << 19, 0) == PL_OK);
  REQUIRE(pl_toeplitz_add(s.context, s.x, 0, 70001) == PL_OK);
  REQUIRE(pl_toeplitz_begin(s.context, 0, 0, 0) == PL_OK);
  is_wiped(s.context);
  in_pieces(&s, 10007, 3);
  pl_toeplitz_free(small.context);
  small.context = s.context;
  whole(&small);
  s.context = NULL;
  subject_free(&small);
  subject_free(&s);
}

/* In place, where the lengths allow it: the input is taken before the result is written. */
static void in_place(void) {
  subject s = subject_new(40000, 40000, 0, RANDOM);
  whole(&s);
  REQUIRE(pl_toeplitz_hash(s.context, s.x, s.x, s.seed, s.seed_bytes, 0) == PL_OK);
  REQUIRE(pl_secret_equal(s.x, s.y) == 1);
  subject_free(&s);
}

int main(void) {
  static const int64_t sizes[][2] = {
      {0, 0},       {1, 0},       {1, 1},       {2, 1},       {31, 31},     {32, 1},      {33, 32},
      {63, 64},     {64, 64},     {65, 63},     {127, 128},   {129, 127},   {192, 65},
      {1000, 333},  {4096, 4096}, {16416, 37},  {16385, 600}, {16384, 8192}, {32768, 16384},
      {32769, 16383}, {40000, 39000}, {50001, 17}, {70001, 30003}};
  static const int limits[] = {PL_FFT_MAX_LOG, 9, PL_FFT_MIN_LOG};
  refusals();
  dropped();
  in_place();
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
