/* Events of one side, for C: times and flags, and one hidden bit each in locked memory. */
#ifndef PHOTONLINK_EVENT_STORE_H
#define PHOTONLINK_EVENT_STORE_H
#include "core.h"

enum { STORE_FIRST_CAPACITY = 1 << 16 };
enum { EVENT_BASIS = 1, EVENT_MULTI = 2, EVENT_SPENT = 4, EVENT_FOLLOWED = 8, EVENT_SHADOWED = 16 };

typedef struct {
  int64_t *time; /* ascending */
  uint8_t *flags;
  uint64_t *bits;             /* locked, one bit per event */
  int64_t origin;             /* index of the event at position 0, a multiple of 64 */
  size_t live, end, cap, max; /* positions: events live..end-1 exist */
} event_store;

/* PL_E_MEMORY; the store is then as before (all zero before the first). */
int store_init(event_store *store, size_t max_events);
void store_free(event_store *store);
/* Append where there is room; see store_room. */
static inline void store_put(event_store *store, int64_t time, unsigned detector, unsigned flags) {
  const size_t at = store->end++;
  const uint64_t bit = (uint64_t)1 << (at & 63);
  store->time[at] = time;
  store->flags[at] = (uint8_t)(detector >> 1 | flags);
  store->bits[at / 64] =
      (store->bits[at / 64] & ~bit) | ((uint64_t)(detector & 1) << (at & 63));
}

/* Many events one after the other where there is room: what each would read and write anew stays in
 * registers. begin, put, and end before anything else looks at the store. */
typedef struct {
  int64_t *time;
  uint8_t *flags;
  uint64_t *bits, word; /* of the event at `at` */
  size_t at;
} store_row;
static inline store_row store_begin(const event_store *store) {
  const size_t at = store->end;
  const uint64_t word = at % 64 ? store->bits[at / 64] & (((uint64_t)1 << (at & 63)) - 1) : 0;
  return (store_row){store->time, store->flags, store->bits, word, at};
}
static inline void store_next(store_row *row, int64_t time, unsigned detector, unsigned flags) {
  const size_t at = row->at++;
  row->time[at] = time;
  row->flags[at] = (uint8_t)(detector >> 1 | flags);
  row->word |= (uint64_t)(detector & 1) << (at & 63);
  if ((at & 63) == 63) {
    row->bits[at / 64] = row->word;
    row->word = 0;
  }
}
static inline void store_end(event_store *store, const store_row *row) {
  store->end = row->at;
  if (row->at % 64) row->bits[row->at / 64] = row->word;
}
/* PL_E_CAPACITY: the store is full; PL_E_MEMORY. */
int store_add(event_store *store, int64_t time, unsigned detector, unsigned flags);
/* Room for n more, or as many as the store takes: their number; PL_E_MEMORY. */
int64_t store_room(event_store *store, size_t n);
int64_t store_first(const event_store *store);
/* Index of the first kept event at or after time_ps. */
int64_t store_find(const event_store *store, int64_t time_ps);
/* Position of events [first, first + n), or PL_E_RANGE. */
int64_t store_at(const event_store *store, int64_t first, size_t n);
int store_label(event_store *store, int64_t first, size_t n, uint8_t *detector);
int store_take_bits(event_store *store, const int64_t *index, size_t n, pl_secret *out);
/* What the pairs of a slot take along, in one pass; see pl_quiet_keep. */
int store_keep(event_store *store, const int64_t *index, const int64_t *offset_ps, size_t n,
               int64_t step_ps, const pl_kept *kept, pl_secret *bits);
int store_discard_before(event_store *store, int64_t time_ps);

/* The detector that a mask of clicks counts as. For several clicks `random` decides the bit, and
 * across bases the basis too. */
static inline unsigned event_squash(unsigned mask, unsigned random) {
  if ((mask & (mask - 1)) == 0) return (unsigned)__builtin_ctz(mask);
  if ((mask & 3) && mask >> 2) return random & 3;
  return (mask >> 2 ? 2u : 0u) | (random & 1);
}
#endif
