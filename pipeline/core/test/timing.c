/* Tests whether the time depends on the secret: Welch's t-test between a fixed and random inputs,
 * after Reparaz, Balasch and Verbauwhede (dudect, DATE 2017). For the kernels valgrind cannot run;
 * by hand, on an idle machine, with PHOTONLINK_SIMD forcing the level (not part of the test suite:
 * it measures time):
 *
 *   gcc -std=c11 -D_GNU_SOURCE -O3 -I pipeline/core pipeline/core/test/timing.c \
 *       pipeline/core/{cpu,secret,gf128*,polymac,toeplitz*}.c -lm -pthread -o /tmp/timing && /tmp/timing
 *
 * |t| above 4.5 again and again is a leak; each run is one sample of t. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "secret.h"

enum { RUNS = 6000, BITS = 20000, OUT = 10000 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Of the runs below the 90th percentile: the others contain interrupts. */
static double welch(const double *time, const uint8_t *group) {
  double sorted[RUNS], n[2] = {0}, sum[2] = {0}, square[2] = {0}, variance[2], mean[2];
  memcpy(sorted, time, sizeof sorted);
  qsort(sorted, RUNS, sizeof *sorted, ascending);
  double limit = sorted[RUNS * 9 / 10], origin = sorted[RUNS / 2];
  for (int i = 0; i < RUNS; i++) {
    if (time[i] > limit) continue;
    double t = time[i] - origin;
    n[group[i]]++;
    sum[group[i]] += t;
    square[group[i]] += t * t;
  }
  for (int g = 0; g < 2; g++) {
    mean[g] = sum[g] / n[g];
    variance[g] = (square[g] / n[g] - mean[g] * mean[g]) / n[g];
  }
  return (mean[0] - mean[1]) / sqrt(variance[0] + variance[1]);
}

/* A branch per byte: what the test must find. */
static void leak(const uint8_t *bytes) {
  volatile int sum = 0;
  for (int i = 0; i < BITS / 8; i++)
    if (bytes[i] & 1) sum = sum + i;
}

/* What is timed, with the bits of x as the secret; a tag has them as message, key and pad. */
enum kind { TOEPLITZ, PIECES, VERIFICATION, TAG, LEAK };

static void work(enum kind kind, pl_toeplitz *context, pl_secret *y, pl_secret *x, pl_secret *key,
                 const uint8_t *seed, size_t seed_bytes) {
  uint8_t out[16];
  int64_t bytes = (int64_t)seed_bytes;
  pl_polymac *mac;
  switch (kind) {
    case TOEPLITZ:
      if (pl_toeplitz_hash(context, y, x, seed, bytes, 1)) exit(1);
      break;
    case PIECES:
      if (pl_toeplitz_begin(context, BITS, OUT, 1)) exit(1);
      for (int64_t at = 0; at < BITS; at += 777)
        if (pl_toeplitz_add(context, x, at, BITS - at < 777 ? BITS - at : 777)) exit(1);
      if (pl_toeplitz_finish(context, y, seed, bytes)) exit(1);
      break;
    case VERIFICATION:
      if (pl_verification_hash(x, seed, 128, out)) exit(1);
      break;
    case TAG:
      if (pl_secret_copy(key, 0, x, 0, 128) || pl_polymac_new(&mac, key)) exit(1);
      if (pl_polymac_update(mac, pl_secret_bytes(x), BITS / 8)) exit(1);
      if (pl_polymac_tag(mac, x, 77, out)) exit(1);
      pl_polymac_free(mac);
      break;
    case LEAK: leak(pl_secret_bytes(x));
  }
}

/* fill: the fixed input, all zeros or all ones. */
static double measure(enum kind kind, uint8_t fill) {
  static double time[RUNS];
  static uint8_t group[RUNS], seed[(BITS + 6) / 8];
  pl_secret *x, *y, *key;
  pl_toeplitz *context;
  if (pl_secret_new(&key, 128) || pl_secret_new(&x, BITS) || pl_secret_new(&y, OUT)) exit(1);
  if (pl_toeplitz_new(&context)) exit(1);
  uint8_t *bits = pl_secret_bytes(x);
  for (size_t i = 0; i < sizeof seed; i++) seed[i] = (uint8_t)rand();
  for (int i = 0; i < RUNS; i++) {
    group[i] = rand() >> 8 & 1;
    uint8_t mask = (uint8_t)(group[i] - 1); /* both groups do the same before, in the same places */
    for (size_t k = 0; k < BITS / 8; k++)
      bits[k] = (uint8_t)((rand() >> 8 & mask) | (fill & ~mask));
    for (int warm = 1; warm >= 0; warm--) { /* the second call is the one that counts */
      double start = now();
      work(kind, context, y, x, key, seed, sizeof seed);
      time[i] = now() - start;
    }
  }
  pl_toeplitz_free(context);
  pl_secret_free(x);
  pl_secret_free(y);
  pl_secret_free(key);
  return welch(time, group);
}

int main(void) {
  static const char *const names[] = {"toeplitz", "in pieces", "verification", "tag"};
  printf("level %s\nt: a deliberate leak %+.1f\n", pl_simd_name(pl_simd_level()), measure(LEAK, 0));
  for (int i = 0; i < 5; i++)
    for (enum kind kind = TOEPLITZ; kind < LEAK; kind++)
      printf("t: %s zeros %+.1f ones %+.1f\n", names[kind], measure(kind, 0), measure(kind, 0xff));
  return 0;
}
