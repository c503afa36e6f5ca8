/* Several threads, each with decoders of its own over bytes that all of them read: no data race,
 * and the same tags. Meant for ThreadSanitizer (PHOTONLINK_TSAN). */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "decode.h"
#include "require.h"

enum { THREADS = 4, SIZE = 40000 };

static uint8_t shared[SIZE]; /* written before the threads start */

typedef struct {
  pthread_barrier_t *start;
  int64_t *time;
  uint8_t *channel;
  uint64_t sum;
} worker;

static void add(uint64_t *sum, int64_t value) { *sum = (*sum ^ (uint64_t)value) * 0x100000001b3u; }

static void decode(worker *w, int format) {
  enum { ROOM = 4 * SIZE };
  pl_lost lost[8];
  size_t used = 0;
  pl_decoder *d;
  REQUIRE(pl_decoder_new(&d, format, 80, format >= PL_FORMAT_T3, 1) == PL_OK);
  int64_t n = 0;
  for (size_t at = 0, take = 97; n >= 0 && at + take <= SIZE; at += used, take = take * 7 % 1009) {
    n = pl_decoder_feed(d, shared + at, take, w->time, w->channel, ROOM, &used);
    for (int64_t i = 0; i < n; i++) add(&w->sum, w->time[i] ^ w->channel[i]);
    add(&w->sum, pl_decoder_lost(d, lost, 8) + n);
  }
  n = pl_decoder_finish(d, w->time, w->channel, ROOM);
  REQUIRE(n >= 0);
  const int64_t *times[2] = {w->time, w->time};
  const uint8_t *channels[2] = {w->channel, w->channel};
  const size_t lengths[2] = {(size_t)n, (size_t)n};
  add(&w->sum, pl_merge(2, times, channels, lengths, w->time + n, w->channel + n, 2 * (size_t)n));
  pl_decoder_free(d);
}

static void *work(void *argument) {
  worker *w = argument;
  pthread_barrier_wait(w->start);
  for (int round = 0; round < 3; round++)
    for (int format = PL_FORMAT_TDC1; format <= PL_FORMAT_TIMETAGGER4; format++) decode(w, format);
  return NULL;
}

int main(void) {
  pthread_t thread[THREADS];
  pthread_barrier_t start;
  worker workers[THREADS];
  for (uint32_t i = 0, x = 1; i < SIZE; i++) {
    x = x * 1664525u + 1013904223u;
    shared[i] = i % 8 < 5 ? (uint8_t)(x >> 24) : (uint8_t)(i >> 12);
  }
  REQUIRE(pthread_barrier_init(&start, NULL, THREADS) == 0);
  for (int i = 0; i < THREADS; i++) {
    workers[i] = (worker){.start = &start,
                          .time = malloc(5 * SIZE * sizeof(int64_t)),
                          .channel = malloc(5 * SIZE)};
    REQUIRE(workers[i].time && workers[i].channel);
    REQUIRE(pthread_create(&thread[i], NULL, work, &workers[i]) == 0);
  }
  for (int i = 0; i < THREADS; i++) {
    REQUIRE(pthread_join(thread[i], NULL) == 0);
    REQUIRE(workers[i].sum == workers[0].sum && workers[i].sum != 0);
    free(workers[i].time);
    free(workers[i].channel);
  }
  pthread_barrier_destroy(&start);
  return 0;
}
