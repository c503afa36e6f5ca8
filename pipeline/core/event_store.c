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
  if (n == 0) return PL_OK;
  if (store_at(st, index[0], 1) < 0 || store_at(st, index[n - 1], 1) < 0) return PL_E_RANGE;
  int ordered = 1, spent = 0;
  for (size_t k = 1; k < n; k++) ordered &= index[k] > index[k - 1];
  if (!ordered) return PL_E_ARGUMENT;
  for (size_t k = 0; k < n; k++) spent |= st->flags[index[k] - st->origin];
  if (spent & EVENT_SPENT) return PL_E_STATE;
  for (size_t k = 0; k < n; k += 8) {
    const size_t count = n - k < 8 ? n - k : 8;
    unsigned byte = 0;
    for (size_t i = 0; i < count; i++) {
      const size_t at = (size_t)(index[k + i] - st->origin);
      byte |= bit_at(st, at) << (7 - i);
      st->flags[at] |= EVENT_SPENT;
    }
    bytes[k / 8] = (uint8_t)byte;
  }
  return PL_OK;
}

/* Half to even, as IEEE 754 rounds what 1.5 * 2^52 leaves no room for; |x| < 2^51. */
static inline double whole(double x) { return x + 0x1.8p52 - 0x1.8p52; }

int store_keep(event_store *st, const int64_t *index, const int64_t *offset_ps, size_t n,
               int64_t step_ps, const pl_kept *kept, pl_secret *bits) {
  int status = store_take_bits(st, index, n, bits);
  if (status != PL_OK) return status;
  const uint8_t *flags = st->flags;
  for (size_t k = 0; k < n; k++) {
    const unsigned f = flags[index[k] - st->origin];
    kept->basis[k] = f & EVENT_BASIS;
    kept->marks[k] = (uint8_t)(((f & EVENT_FOLLOWED) != 0) | ((f & EVENT_SHADOWED) != 0) << 1);
  }
  const double most = PL_QUIET_MOST_STEPS, step = (double)step_ps;
  for (size_t k = 0; offset_ps != NULL && k < n; k++) {
    const double steps = whole((double)offset_ps[k] / step);
    kept->steps[k] = (int8_t)(steps > most ? most : steps < -most ? -most : steps);
  }
  if (offset_ps == NULL) memset(kept->steps, 0, n);
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
