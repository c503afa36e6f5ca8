/* libFuzzer on the decoder of one record format: fuzz_<format>.c says which, and how a plausible
 * record is made. Any bytes must give tags or a named error, all promises must hold (order,
 * horizon, counts, sizes), and the kernels, fed whole, must agree with the plain decoder fed in
 * pieces. Every buffer has exactly its size, so that AddressSanitizer sees one byte more. */
#ifndef PHOTONLINK_FUZZ_DECODER_H
#define PHOTONLINK_FUZZ_DECODER_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "require.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

/* Of the including file: `units` of the format's own time, an event, overflow, ... by `kind`. */
static void put_record(uint8_t *out, uint64_t units, unsigned kind);

enum { HEADER = 2 }; /* of an input: how it is cut, which resolution; then records */

static void put_le(uint8_t *out, uint64_t word, int bytes) {
  for (int i = 0; i < bytes; i++) out[i] = (uint8_t)(word >> (8 * i));
}

static uint32_t next(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return *state >> 8;
}

typedef struct {
  int64_t *time;
  uint8_t *channel;
  size_t n, capacity;
  int64_t horizon;
  pl_decoder_info info;
} result;

static pl_decoder *decoder_of(uint8_t choice) {
  static const int64_t scales[][3] = {
      {1, 1, 1},          {80, 0, 1},           {125, 25, 1},     {12345, 80, 7},
      {1000003, 5, 1 << 20}, {(int64_t)1 << 34, 1 << 19, 1}, {(int64_t)1 << 40, 3, 3},
      {((int64_t)1 << 62) - 1, ((int64_t)1 << 40) - 1, 1 << 20},
  };
  const int64_t *scale = scales[choice % 8];
  pl_decoder *d;
  int status = pl_decoder_new(&d, FORMAT, scale[0], scale[1], scale[2]);
  REQUIRE((status == PL_OK) == (d != NULL));
  return d;
}

static uint8_t *exact(const uint8_t *data, size_t size) {
  uint8_t *copy = malloc(size ? size : 1);
  REQUIRE(copy);
  memcpy(copy, data, size);
  return copy;
}

static void check_lost(pl_decoder *d) {
  pl_lost lost[3];
  for (int64_t n; (n = pl_decoder_lost(d, lost, 3)) > 0;)
    for (int64_t i = 0; i < n; i++) {
      REQUIRE(lost[i].end_ps > lost[i].start_ps && lost[i].count >= -1);
      REQUIRE(lost[i].reason >= PL_LOST_DAMAGED && lost[i].reason <= PL_LOST_INSTRUMENT);
    }
}

/* Takes what a call wrote; `tight` has room for `room` tags. */
static void keep(result *r, pl_decoder *d, const int64_t *t, const uint8_t *c, int64_t n,
                 size_t room) {
  pl_decoder_info info = *pl_decoder_info_of(d);
  REQUIRE(n >= 0 && (size_t)n <= room && r->n + (size_t)n <= r->capacity);
  for (int64_t i = 0; i < n; i++) REQUIRE(t[i] >= (i ? t[i - 1] : r->horizon));
  REQUIRE(info.horizon_ps >= r->horizon && (n == 0 || info.horizon_ps >= t[n - 1]));
  REQUIRE(info.pending >= 0 && info.pending < pl_record_size(FORMAT));
  REQUIRE(info.damaged >= 0 && info.records >= r->info.records);
  memcpy(r->time + r->n, t, (size_t)n * sizeof *t);
  memcpy(r->channel + r->n, c, (size_t)n);
  r->n += (size_t)n;
  r->horizon = info.horizon_ps;
  r->info = info;
}

/* Feeds one piece; returns a negative status when the stream has ended. */
static int64_t feed_piece(result *r, pl_decoder *d, const uint8_t *data, size_t size, size_t spare) {
  uint8_t *piece = exact(data, size);
  int64_t n = 0;
  for (size_t at = 0, used = 0, turn = 0; turn == 0 || (n >= 0 && at < size); turn++, at += used) {
    size_t room = (size_t)pl_decoder_info_of(d)->held + 8 + spare;
    int64_t *t = malloc(room * sizeof *t);
    uint8_t *c = malloc(room);
    REQUIRE(t && c && turn <= size + 1);
    n = pl_decoder_feed(d, piece + at, size - at, t, c, room, &used);
    REQUIRE(used <= size - at);
    if (n >= 0) keep(r, d, t, c, n, room);
    if (n >= 0 && r->info.error) n = r->info.error;
    if (n < 0) REQUIRE(n == PL_E_DATA && r->info.error == PL_E_DATA);
    free(t);
    free(c);
  }
  free(piece);
  check_lost(d);
  return n;
}

static result run(const uint8_t *data, size_t size, uint8_t choice, int level, uint32_t cuts) {
  size_t records = size / (size_t)pl_record_size(FORMAT);
  result r = {.capacity = 4 * records + 4, .horizon = INT64_MIN};
  r.time = malloc(r.capacity * sizeof *r.time);
  r.channel = malloc(r.capacity);
  pl_decoder *d = decoder_of(choice);
  REQUIRE(d && r.time && r.channel && pl_decoder_set_level(d, level) == PL_OK);
  int64_t status = 0;
  const uint32_t longest = cuts;
  for (size_t at = 0, take; at < size && status >= 0; at += take) {
    take = cuts ? next(&cuts) % (8 + (longest & 255)) : size;
    if (take > size - at) take = size - at;
    status = feed_piece(&r, d, data + at, take, cuts ? next(&cuts) % 40 : records);
  }
  size_t held = (size_t)pl_decoder_info_of(d)->held;
  int64_t *t = malloc((held + 1) * sizeof *t);
  uint8_t *c = malloc(held + 1);
  REQUIRE(t && c);
  if (held) REQUIRE(pl_decoder_finish(d, t, c, held - 1) == PL_E_CAPACITY);
  keep(&r, d, t, c, pl_decoder_finish(d, t, c, held), held);
  free(t);
  free(c);
  check_lost(d);
  pl_decoder_free(d);
  return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < HEADER) return 0;
  pl_decoder *possible = decoder_of(data[1]);
  if (!possible) return 0;
  pl_decoder_free(possible);
  result a = run(data + HEADER, size - HEADER, data[1], PL_DECODE_PORTABLE, data[0] + 1u);
  for (int level = 0; level <= pl_decode_level_get(); level++) {
    result b = run(data + HEADER, size - HEADER, data[1], level, 0);
    REQUIRE(a.n == b.n && !memcmp(a.time, b.time, a.n * sizeof *a.time));
    REQUIRE(!memcmp(a.channel, b.channel, a.n) && a.info.error == b.info.error);
    REQUIRE(a.info.records == b.info.records && a.info.damaged == b.info.damaged);
    REQUIRE(a.info.dummies == b.info.dummies && a.info.disordered == b.info.disordered);
    REQUIRE(a.info.position == b.info.position && a.horizon == b.horizon);
    free(b.time);
    free(b.channel);
  }
  free(a.time);
  free(a.channel);
  return 0;
}

/* Plausible records, mostly in order: what libFuzzer would take hours to find by itself. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
  uint32_t state = seed;
  size_t record = (size_t)pl_record_size(FORMAT);
  if (size > HEADER + record && next(&state) % 8) return LLVMFuzzerMutate(data, size, max_size);
  size_t at = HEADER, span = next(&state) % 40, stop = at + record * (1 + next(&state) % 100);
  if (size > HEADER && next(&state) % 2) at = size / record * record; /* append, maybe out of step */
  if (at == HEADER && max_size >= HEADER) put_le(data, next(&state), HEADER);
  uint64_t units = next(&state) % 4 ? next(&state) : (uint64_t)next(&state) << (next(&state) % 40);
  for (; at + record <= max_size && at < stop; at += record) {
    units += next(&state) & (((uint64_t)1 << span) - 1);
    put_record(data + at, units, next(&state) % 8 ? 0 : next(&state));
  }
  return at < max_size ? at : max_size;
}
#endif
