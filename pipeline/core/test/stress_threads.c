/* Several threads, each with contexts of its own, and one secret that all of them read: no data
 * race, and the same results. Meant for ThreadSanitizer (PHOTONLINK_TSAN); the kernels are chosen by
 * whichever thread comes first. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "secret.h"
#include "require.h"

enum { THREADS = 4, ROUNDS = 6, BITS = 30000 };

typedef struct {
  pthread_barrier_t *start;
  const pl_secret *shared;
  uint64_t sum;
} worker;

static void add(uint64_t *sum, const void *data, size_t n) {
  const uint8_t *p = data;
  for (size_t i = 0; i < n; i++) *sum = (*sum ^ p[i]) * 0x100000001b3u;
}

static void hashes(worker *w) {
  uint8_t digest[32], point[16] = {1, 2, 3}, tag[16];
  pl_secret *key;
  pl_polymac *mac;
  REQUIRE(pl_hmac_sha256(w->shared, point, sizeof point, digest) == PL_OK);
  add(&w->sum, digest, sizeof digest);
  REQUIRE(pl_verification_hash(w->shared, point, 128, digest) == PL_OK);
  add(&w->sum, digest, 16);
  REQUIRE(pl_secret_new(&key, 128) == PL_OK);
  REQUIRE(pl_secret_copy(key, 0, w->shared, 77, 128) == PL_OK);
  REQUIRE(pl_polymac_new(&mac, key) == PL_OK);
  REQUIRE(pl_polymac_update(mac, point, 5) == PL_OK && pl_polymac_update(mac, digest, 32) == PL_OK);
  REQUIRE(pl_polymac_tag(mac, w->shared, 1000, tag) == PL_OK);
  add(&w->sum, tag, sizeof tag);
  pl_polymac_free(mac);
  pl_secret_free(key);
}

static void amplify(worker *w) {
  static const uint8_t seed[BITS / 8] = {1, 0x80, 7, 3}; /* shared, read only */
  uint8_t out[BITS / 16];
  pl_toeplitz *context;
  pl_secret *y;
  REQUIRE(pl_toeplitz_new(&context) == PL_OK && pl_secret_new(&y, BITS / 2) == PL_OK);
  REQUIRE(pl_toeplitz_hash(context, y, w->shared, seed, sizeof seed, 1) == PL_OK);
  REQUIRE(pl_secret_export(y, out, sizeof out) == PL_OK);
  add(&w->sum, out, sizeof out);
  pl_toeplitz_free(context);
  pl_secret_free(y);
}

static void reconcile(worker *w) {
  const uint8_t seed[32] = {9};
  uint8_t request[1 << 16], parities[1 << 13];
  pl_secret *key;
  pl_cascade_alice *alice;
  pl_cascade_bob *bob;
  REQUIRE(pl_secret_new(&key, BITS) == PL_OK);
  REQUIRE(pl_secret_copy(key, 0, w->shared, 0, BITS) == PL_OK);
  for (int64_t i = 17; i < BITS; i += 61) /* an error here and there */
    REQUIRE(pl_secret_wipe(key, i, i + 2) == PL_OK);
  REQUIRE(pl_cascade_alice_new(&alice, w->shared, seed, BITS) == PL_OK);
  REQUIRE(pl_cascade_bob_new(&bob, key, seed, 0.01) == PL_OK);
  for (int64_t size; (size = pl_cascade_bob_request(bob, request, sizeof request)) > 0;) {
    REQUIRE((size_t)size <= sizeof request);
    int64_t n = pl_cascade_alice_answer(alice, request, (size_t)size, parities, sizeof parities);
    REQUIRE(n > 0 && pl_cascade_bob_receive(bob, parities, (size_t)n) == PL_OK);
    add(&w->sum, request, (size_t)size);
    add(&w->sum, parities, (size_t)n);
  }
  REQUIRE(pl_cascade_bob_key(bob, key) == PL_OK);
  REQUIRE(pl_secret_equal(key, w->shared) == 1);
  pl_cascade_alice_free(alice);
  pl_cascade_bob_free(bob);
  pl_secret_free(key);
}

static void detect(worker *w) {
  enum { CLICKS = 3000 };
  static const uint8_t random[CLICKS];
  uint8_t map[256], channel[CLICKS], basis[CLICKS];
  int64_t time[CLICKS], at[CLICKS];
  memset(map, 255, sizeof map);
  for (int d = 0; d < 4; d++) map[d + 1] = (uint8_t)d;
  for (int i = 0; i < CLICKS; i++) {
    time[i] = 1000 * (int64_t)i;
    channel[i] = (uint8_t)(1 + i % 5);
  }
  pl_events *ev;
  REQUIRE(pl_events_new(&ev, map, 1500, 1 << 16) == PL_OK);
  REQUIRE(pl_events_add(ev, time, channel, CLICKS, 1000 * CLICKS, 0, random) == PL_OK);
  REQUIRE(pl_events_emit(ev, random, sizeof random) >= 0);
  int64_t first = pl_events_first(ev), n = pl_events_find(ev, INT64_MAX) - first;
  REQUIRE(n > 0 && n <= CLICKS && pl_events_read(ev, first, (size_t)n, at, basis) >= 0);
  REQUIRE(pl_match_count(at, (size_t)n, time, CLICKS, 100, 0) > 0);
  add(&w->sum, at, (size_t)n * sizeof *at);
  add(&w->sum, basis, (size_t)n);
  pl_events_free(ev);
}

static void *work(void *argument) {
  worker *w = argument;
  pthread_barrier_wait(w->start);
  for (int round = 0; round < ROUNDS; round++) {
    int level = pl_simd_level();
    add(&w->sum, &level, sizeof level);
    hashes(w);
    amplify(w);
    reconcile(w);
    detect(w);
  }
  return NULL;
}

int main(void) {
  pthread_t thread[THREADS];
  pthread_barrier_t start;
  worker workers[THREADS];
  pl_secret *shared;
  REQUIRE(pl_secret_new(&shared, BITS) == PL_OK && pl_secret_randomize(shared) == PL_OK);
  REQUIRE(pthread_barrier_init(&start, NULL, THREADS) == 0);
  for (int i = 0; i < THREADS; i++) {
    workers[i] = (worker){.start = &start, .shared = shared};
    REQUIRE(pthread_create(&thread[i], NULL, work, &workers[i]) == 0);
  }
  for (int i = 0; i < THREADS; i++) {
    REQUIRE(pthread_join(thread[i], NULL) == 0);
    REQUIRE(workers[i].sum == workers[0].sum);
  }
  pthread_barrier_destroy(&start);
  pl_secret_free(shared);
  return 0;
}
