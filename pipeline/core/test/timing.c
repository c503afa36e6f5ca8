/* Does the time depend on the secret? Welch's t-test between a fixed and random inputs, after
 * Reparaz, Balasch and Verbauwhede (dudect, DATE 2017). For the kernels valgrind cannot run; by
 * hand, on an idle machine, with PHOTONLINK_SIMD forcing the level (not part of the test suite:
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

/* Of the runs below the 90th percentile: interrupts are not what is asked about. */
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

/* kind 0: Toeplitz; 1: verification hash; 2: the leak. fill: the fixed input, all zeros or all ones. */
static double measure(int kind, uint8_t fill) {
  static double time[RUNS];
  static uint8_t group[RUNS], seed[(BITS + 6) / 8], source[2][BITS / 8], out[16];
  pl_secret *x, *y;
  pl_toeplitz *context;
  if (pl_secret_new(&x, BITS) || pl_secret_new(&y, OUT) || pl_toeplitz_new(&context)) exit(1);
  for (size_t i = 0; i < sizeof seed; i++) seed[i] = (uint8_t)rand();
  for (int i = 0; i < RUNS; i++) {
    group[i] = rand() >> 8 & 1;
    memset(source[1], fill, sizeof source[1]); /* both groups do the same work before */
    for (size_t k = 0; k < sizeof source[0]; k++) source[0][k] = (uint8_t)(rand() >> 8);
    memcpy(pl_secret_bytes(x), source[group[i]], sizeof source[0]);
    for (int warm = 1; warm >= 0; warm--) { /* the second call is the one that counts */
      double start = now();
      if (kind == 0 && pl_toeplitz_hash(context, y, x, seed, sizeof seed, 1) != PL_OK) exit(1);
      if (kind == 1 && pl_verification_hash(x, seed, 128, out) != PL_OK) exit(1);
      if (kind == 2) leak(pl_secret_bytes(x));
      time[i] = now() - start;
    }
  }
  pl_toeplitz_free(context);
  pl_secret_free(x);
  pl_secret_free(y);
  return welch(time, group);
}

int main(void) {
  printf("level %d\n", pl_simd_level());
  printf("t: a deliberate leak %+.1f\n", measure(2, 0));
  for (int i = 0; i < 5; i++)
    printf("t: toeplitz zeros %+.1f ones %+.1f, verification zeros %+.1f ones %+.1f\n",
           measure(0, 0), measure(0, 0xff), measure(1, 0), measure(1, 0xff));
  return 0;
}
