#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "noise.h"
#include "require.h"

/* RFC 8439 section 2.3.2 has nonce 09 00 00 00 4a 00 00 00 00 00 00 00 and counter 1: here its first
 * nonce word is the upper half of the counter. */
static void test_words_are_chacha20(void) {
  uint8_t seed[32];
  for (int i = 0; i < 32; i++) seed[i] = (uint8_t)i;
  pl_noise *noise;
  REQUIRE(pl_noise_new(&noise, seed, 0x4a000000, 0, 0) == PL_OK);
  noise->source->counter = (uint64_t)0x09000000 << 32 | 1;
  uint32_t words[NOISE_WORDS];
  REQUIRE(pl_noise_words(noise, words, NOISE_WORDS) == PL_OK);
  static const uint32_t right[4] = {0xe4e7f110, 0x15593bd1, 0x1fdd0f50, 0xc47120a3};
  for (int w = 0; w < 4; w++) REQUIRE(words[NOISE_LANES * w] == right[w]);
  pl_noise_free(noise);
}

/* Every boundary against double precision, and the sum of both tables against the law. */
static void test_tables(int64_t scale) {
  uint8_t seed[32] = {0};
  pl_noise *noise;
  REQUIRE(pl_noise_new(&noise, seed, 0, scale, 40 * scale) == PL_OK);
  const int64_t bound = pl_noise_bound(noise);
  REQUIRE(bound >= 40 * scale && bound < 41 * scale);
  const double p = exp(-1.0 / (double)scale);
  double total = 0;
  for (int64_t n = -bound; n < bound; n++) {
    const int64_t magnitude = n < 0 ? -1 - n : n;
    const size_t whole = 2 * (size_t)(magnitude >> noise->step_bits) + (n < 0);
    const size_t rest = (size_t)(magnitude & ((1 << noise->step_bits) - 1));
    double share = 1;
    const noise_table *tables[2] = {&noise->whole, &noise->rest};
    const size_t cells[2] = {whole, rest};
    for (int k = 0; k < 2; k++) {
      pl_u128x low = cells[k] ? tables[k]->below[cells[k] - 1] : 0;
      share *= ldexp((double)(tables[k]->below[cells[k]] - low), -128);
    }
    const double law = (1 - p) / (1 + p) * pow(p, (double)llabs(n));
    REQUIRE(fabs(share - law) <= 1e-9 * law + 1e-17);
    total += share;
  }
  REQUIRE(fabs(total - 1) < 1e-9);
  pl_noise_free(noise);
}

/* 96 more bits decide exactly at a boundary. */
static void test_a_tie_is_decided_by_more_bits(void) {
  uint8_t seed[32] = {7};
  pl_noise *noise;
  REQUIRE(pl_noise_new(&noise, seed, 0, 300, 6000) == PL_OK);
  const pl_u128x edge = noise->rest.below[5];
  for (int above = 0; above < 2; above++) {
    const pl_u128x u = edge - 1 + (pl_u128x)above;
    noise->used = NOISE_WORDS - 4;
    for (int k = 0; k < 4; k++)
      noise->source->words[NOISE_WORDS - 4 + k] = (uint32_t)(u >> (96 - 32 * k));
    size_t used = noise->used;
    REQUIRE(noise_cell(noise, &noise->rest, &used) == (above ? 6u : 5u));
    REQUIRE(used == NOISE_WORDS);
  }
  pl_noise_free(noise);
}

static void test_arguments(void) {
  uint8_t seed[32] = {0};
  pl_noise *noise;
  const int64_t wrong[][2] = {{-1, 0}, {4097, 5000}, {100, 99}, {100, 6401}, {0, 1}};
  for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++)
    REQUIRE(pl_noise_new(&noise, seed, 0, wrong[k][0], wrong[k][1]) == PL_E_ARGUMENT && !noise);
  int64_t t[3] = {1, 2, 3};
  REQUIRE(pl_noise_new(&noise, seed, 0, 0, 0) == PL_OK && pl_noise_add(noise, t, 3) == PL_OK);
  REQUIRE(t[0] == 1 && t[1] == 2 && t[2] == 3 && pl_noise_bound(noise) == 0);
  noise->owner++;
  REQUIRE(pl_noise_add(noise, t, 3) == PL_E_STATE);
  noise->owner--;
  pl_noise_free(noise);
  pl_noise_free(NULL);
}

int main(void) {
  test_words_are_chacha20();
  const int64_t scales[] = {1, 2, 3, 200, 511, 1000, 4096};
  for (size_t k = 0; k < sizeof scales / sizeof *scales; k++) test_tables(scales[k]);
  test_a_tie_is_decided_by_more_bits();
  test_arguments();
  return 0;
}
