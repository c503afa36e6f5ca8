#include "event_store.h"

#include <stdlib.h>
#include <string.h>

#include "secret.h"

static size_t bits_bytes(size_t cap) { return cap / 8; }

static int reserve(event_store *st, size_t cap) {
  int64_t *time = malloc(cap * sizeof *time);
  uint8_t *flags = malloc(cap);
  uint64_t *bits = pl_locked_alloc(bits_bytes(cap));
  if (time == NULL || flags == NULL || bits == NULL) {
    free(time);
    free(flags);
    pl_locked_free(bits, bits_bytes(cap));
    return PL_E_MEMORY;
  }
  if (st->end > 0) {
    memcpy(time, st->time, st->end * sizeof *time);
    memcpy(flags, st->flags, st->end);
    memcpy(bits, st->bits, bits_bytes(st->cap));
    explicit_bzero(st->time, st->end * sizeof *time);
  }
  free(st->time);
  free(st->flags);
  pl_locked_free(st->bits, bits_bytes(st->cap));
  st->time = time;
  st->flags = flags;
  st->bits = bits;
  st->cap = cap;
  return PL_OK;
}

int store_init(event_store *st, size_t max_events) {
  st->max = max_events / 64 * 64;
  return reserve(st, STORE_FIRST_CAPACITY);
}

void store_free(event_store *st) {
  if (st->time != NULL) explicit_bzero(st->time, st->end * sizeof *st->time);
  free(st->time);
  free(st->flags);
  pl_locked_free(st->bits, bits_bytes(st->cap));
}

int64_t store_room(event_store *st, size_t n) {
  while (st->cap - st->end < n && st->cap < st->max) {
    int status = reserve(st, st->cap * 2 < st->max ? st->cap * 2 : st->max);
    if (status != PL_OK) return status;
  }
  return (int64_t)(st->cap - st->end < n ? st->cap - st->end : n);
}

int store_add(event_store *st, int64_t time, unsigned detector, unsigned flags) {
  int64_t room = store_room(st, 1);
  if (room < 1) return room < 0 ? (int)room : PL_E_CAPACITY;
  store_put(st, time, detector, flags);
  return PL_OK;
}

int64_t store_first(const event_store *st) { return st->origin + (int64_t)st->live; }

int64_t store_find(const event_store *st, int64_t time_ps) {
  size_t low = st->live, high = st->end;
  while (low < high) {
    size_t mid = low + (high - low) / 2;
    if (st->time[mid] < time_ps)
      low = mid + 1;
    else
      high = mid;
  }
  return st->origin + (int64_t)low;
}

int64_t store_at(const event_store *st, int64_t first, size_t n) {
  int64_t low = store_first(st), high = st->origin + (int64_t)st->end;
  int inside = first >= low && first <= high && n <= (size_t)(high - first);
  return inside ? first - st->origin : PL_E_RANGE;
}

static unsigned bit_at(const event_store *st, size_t at) {
  return (unsigned)(st->bits[at / 64] >> (at & 63)) & 1;
}

int store_label(event_store *st, int64_t first, size_t n, uint8_t *detector) {
  int64_t place = store_at(st, first, n);
  if (place < 0) return (int)place;
  size_t at = (size_t)place;
  for (size_t k = 0; k < n; k++)
    if (st->flags[at + k] & EVENT_SPENT) return PL_E_STATE;
  for (size_t k = 0; k < n; k++, at++) {
    detector[k] = (uint8_t)((st->flags[at] & EVENT_BASIS) << 1 | bit_at(st, at));
    st->flags[at] |= EVENT_SPENT;
  }
  return PL_OK;
}

int store_take_bits(event_store *st, const int64_t *index, size_t n, pl_secret *out) {
  uint8_t *bytes = pl_secret_bytes(out);
  if (bytes == NULL) return PL_E_STATE;
  if (pl_secret_bits(out) != (int64_t)n) return PL_E_RANGE;
  for (size_t k = 0; k < n; k++) {
    if (store_at(st, index[k], 1) < 0) return PL_E_RANGE;
    if (k > 0 && index[k] <= index[k - 1]) return PL_E_ARGUMENT;
    if (st->flags[index[k] - st->origin] & EVENT_SPENT) return PL_E_STATE;
  }
  memset(bytes, 0, (n + 7) / 8);
  for (size_t k = 0; k < n; k++) {
    size_t at = (size_t)(index[k] - st->origin);
    bytes[k / 8] |= (uint8_t)(bit_at(st, at) << (7 - k % 8));
    st->flags[at] |= EVENT_SPENT;
  }
  return PL_OK;
}

int store_discard_before(event_store *st, int64_t time_ps) {
  size_t to = (size_t)(store_find(st, time_ps) - st->origin);
  if (to > st->live) explicit_bzero(st->time + st->live, (to - st->live) * sizeof *st->time);
  st->live = to;
  size_t words = st->live / 64, kept = st->end - words * 64;
  explicit_bzero(st->bits, words * sizeof *st->bits);
  /* moving is expensive: only when it frees a quarter */
  if (words * 64 < st->cap / 4) return PL_OK;
  memmove(st->time, st->time + words * 64, kept * sizeof *st->time);
  memmove(st->flags, st->flags + words * 64, kept);
  size_t all = st->cap / 64;
  memmove(st->bits, st->bits + words, (all - words) * sizeof *st->bits);
  explicit_bzero(st->bits + (all - words), words * sizeof *st->bits);
  st->origin += (int64_t)(words * 64);
  st->live -= words * 64;
  st->end = kept;
  return PL_OK;
}
