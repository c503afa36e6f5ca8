/* libFuzzer on the store of detection events: any calls in any order with any tags, as a damaged
 * tagger and a confused caller would make them. Sums must stay true, an event is spent once, and
 * nothing beyond a buffer is touched. */
#include "fuzz.h"

typedef struct {
  pl_events *ev;
  uint8_t map[256];
  int64_t now;
} store;

static void add(store *s, source *in) {
  static const int shifts[] = {0, 10, 26, 54};
  size_t n = take(in, 1);
  unsigned grain = (unsigned)take(in, 1);
  int64_t *time = exactly(n * sizeof *time);
  uint8_t *channel = exactly(n), *random = exactly(n);
  for (size_t i = 0; i < n; i++) {
    uint64_t step = take(in, 1) << shifts[grain & 3];
    if (grain & 4 && i % 5 == 4) step = -step;
    time[i] = s->now = (int64_t)((uint64_t)s->now + step);
    channel[i] = (uint8_t)take(in, 1);
    random[i] = (uint8_t)(channel[i] * 7);
  }
  int64_t through = grain & 8 ? (int64_t)take(in, 8) : s->now;
  int64_t resolution = grain & 16 ? (int64_t)take(in, 4) : 0;
  int status = pl_events_add(s->ev, time, channel, n, through, resolution, random);
  REQUIRE(status == PL_OK || status == PL_E_CAPACITY || status == PL_E_ARGUMENT);
  if (grain & 32) s->now = 0;
  free(time);
  free(channel);
  free(random);
}

static void emit(store *s, source *in) {
  int64_t pending = pl_events_multi_pending(s->ev), horizon = pl_events_horizon(s->ev);
  REQUIRE(pending >= 0);
  uint8_t *random = exactly((size_t)pending);
  for (int64_t i = 0; i < pending; i++) random[i] = (uint8_t)take(in, 1);
  if (pending) REQUIRE(pl_events_emit(s->ev, random, (size_t)pending - 1) == PL_E_ARGUMENT);
  REQUIRE(pl_events_emit(s->ev, random, (size_t)pending) == pending);
  REQUIRE(pl_events_horizon(s->ev) >= horizon && pl_events_multi_pending(s->ev) == 0);
  free(random);
}

static void read(store *s, int64_t first, size_t n) {
  int64_t *time = exactly(n * sizeof *time);
  uint8_t *basis = exactly(n), *detector = exactly(n);
  int64_t status = pl_events_read(s->ev, first, n, time, basis);
  REQUIRE(status == PL_E_RANGE || (status >= 0 && status <= (int64_t)n));
  for (size_t i = 1; status >= 0 && i < n; i++) REQUIRE(time[i] >= time[i - 1]);
  int labelled = pl_events_label(s->ev, first, n, detector);
  REQUIRE(labelled == (status < 0 ? PL_E_RANGE : labelled ? PL_E_STATE : PL_OK));
  for (size_t i = 0; labelled == PL_OK && i < n; i++)
    REQUIRE(detector[i] < 4 && detector[i] >> 1 == basis[i]);
  if (labelled == PL_OK && n) REQUIRE(pl_events_label(s->ev, first, n, detector) == PL_E_STATE);
  free(time);
  free(basis);
  free(detector);
}

static void take_bits(store *s, source *in) {
  size_t n = take(in, 1) & 31;
  int64_t *index = exactly(n * sizeof *index), at = pl_events_first(s->ev);
  for (size_t i = 0; i < n; i++) index[i] = at += (int8_t)take(in, 1);
  pl_secret *out;
  REQUIRE(pl_secret_new(&out, (int64_t)n) == PL_OK);
  int status = pl_events_take_bits(s->ev, index, n, out);
  REQUIRE(status == PL_OK || status == PL_E_RANGE || status == PL_E_ARGUMENT || status == PL_E_STATE);
  if (status == PL_OK && n) REQUIRE(pl_events_take_bits(s->ev, index, n, out) == PL_E_STATE);
  if (status != PL_OK) REQUIRE(pl_secret_ones(out) == 0); /* nothing half-written */
  pl_secret_free(out);
  free(index);
}

static void step(store *s, source *in) {
  int64_t delays[4];
  switch (take(in, 1) % 7) {
  case 0:
    add(s, in);
    break;
  case 1:
    emit(s, in);
    break;
  case 2:
    read(s, pl_events_first(s->ev) + (int8_t)take(in, 1), take(in, 1));
    break;
  case 3:
    take_bits(s, in);
    break;
  case 4:
    for (int i = 0; i < 4; i++) delays[i] = (int64_t)(int32_t)take(in, 4) >> (take(in, 1) & 31);
    REQUIRE(pl_events_set_delays(s->ev, delays) <= PL_OK);
    break;
  case 5:
    REQUIRE(pl_events_discard_before(s->ev, (int64_t)((uint64_t)s->now - (take(in, 4) << 8))) ==
            PL_OK); /* around the end of time, too */
    break;
  default:
    REQUIRE(pl_events_drop_pending(s->ev) == PL_OK);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  source in = {data, size, 0};
  store s = {0};
  for (int c = 0; c < 256; c++) s.map[c] = c % 8 < 4 ? (uint8_t)(c % 8) : 255;
  REQUIRE(pl_events_new(&s.ev, s.map, (int64_t)take(&in, 2), 1 << 16) == PL_OK);
  while (in.at < size) step(&s, &in);
  emit(&s, &in);
  pl_events_counts counts;
  REQUIRE(pl_events_get_counts(s.ev, &counts) == PL_OK);
  int64_t kept = pl_events_find(s.ev, INT64_MAX) - pl_events_first(s.ev);
  REQUIRE(kept >= 0 && kept <= counts.events && counts.multi_same + counts.multi_cross <= counts.events);
  pl_events_free(s.ev);
  return 0;
}
