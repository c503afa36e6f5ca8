/* Many keys at once: the conversations of Cascade by slot, a whole batch of messages per call.
 *
 * A message is a record: slot and kind (2 bytes each), size (4 bytes), little-endian, then as many
 * bytes. Kind 0 is a request or an answer of Cascade; other kinds belong to the caller, and a step
 * ends before them. */
#include <stdlib.h>
#include <string.h>

#include "cascade.h"
#include "secret.h"

enum { HEAD = PL_CASCADE_RECORD_HEAD };

typedef struct {
  int slot;
  const uint8_t *body;
  size_t size;
} record;

static uint32_t get32(const uint8_t *p) { return cc_get16(p) | (uint32_t)cc_get16(p + 2) << 16; }

static void put_head(uint8_t *p, int slot, size_t size) {
  cc_put16(p, (unsigned)slot);
  cc_put16(p + 2, 0);
  cc_put16(p + 4, (unsigned)(size & 0xffff));
  cc_put16(p + 6, (unsigned)(size >> 16));
}

/* Is there a whole record of Cascade at `in`? */
static int whole(const uint8_t *in, size_t size, record *r) {
  if (size < HEAD || cc_get16(in + 2) != 0 || get32(in + 4) > size - HEAD) return 0;
  *r = (record){(int)cc_get16(in), in + HEAD, get32(in + 4)};
  return 1;
}

/* Bits [start, start + bits) of a key as bytes of their own; NULL when they are not. */
static uint8_t *piece_of(const pl_secret *key, int64_t start, int64_t bits) {
  uint8_t *bytes = pl_secret_bytes(key);
  int64_t all = pl_secret_bits(key);
  if (!bytes || start < 0 || bits < 1 || start > all || bits > all - start) return NULL;
  if (start % 8 || (bits % 8 && start + bits != all)) return NULL;
  return bytes + start / 8;
}

/* ---- Alice ---- */

struct pl_cascade_alices {
  int slots;
  pl_cascade_alice *alice[];
};

int pl_cascade_alices_new(pl_cascade_alices **out, int slots) {
  *out = NULL;
  if (slots < 1 || slots > PL_CASCADE_MAX_SLOTS) return PL_E_ARGUMENT;
  pl_cascade_alices *all = calloc(1, sizeof *all + (size_t)slots * sizeof all->alice[0]);
  if (!all) return PL_E_MEMORY;
  all->slots = slots;
  *out = all;
  return PL_OK;
}

void pl_cascade_alices_free(pl_cascade_alices *all) {
  for (int i = 0; all && i < all->slots; i++) pl_cascade_alice_free(all->alice[i]);
  free(all);
}

int pl_cascade_alices_start(pl_cascade_alices *all, int slot, const pl_secret *key, int64_t start,
                            int64_t bits, const uint8_t *seed, int64_t leak_cap) {
  const uint8_t *bytes = piece_of(key, start, bits);
  if (!bytes || slot < 0 || slot >= all->slots) return PL_E_ARGUMENT;
  if (!all->alice[slot]) all->alice[slot] = cc_alice_empty();
  if (!all->alice[slot]) return PL_E_MEMORY;
  return cc_alice_begin(all->alice[slot], bytes, bits, seed, leak_cap);
}

int64_t pl_cascade_alices_step(pl_cascade_alices *all, const uint8_t *in, size_t size,
                               size_t *used, uint8_t *out, size_t capacity, int most) {
  size_t at = 0;
  record r;
  for (*used = 0; most-- > 0 && whole(in + *used, size - *used, &r); *used += HEAD + r.size) {
    if (r.slot >= all->slots || !all->alice[r.slot]) return PL_E_DATA;
    if (capacity - at < HEAD) break;
    int64_t n = pl_cascade_alice_answer(all->alice[r.slot], r.body, r.size, out + at + HEAD,
                                        capacity - at - HEAD);
    if (n == PL_E_CAPACITY && at) break;
    if (n < 0) return n;
    put_head(out + at, r.slot, (size_t)n);
    at += HEAD + (size_t)n;
  }
  return (int64_t)at;
}

int64_t pl_cascade_alices_leak(pl_cascade_alices *all, int slot) {
  if (slot < 0 || slot >= all->slots || !all->alice[slot]) return PL_E_ARGUMENT;
  return pl_cascade_alice_leak(all->alice[slot]);
}

/* ---- Bob ---- */

typedef struct { /* slots in their order, each at most once */
  int first, count, *slot;
} queue;

struct pl_cascade_bobs {
  int slots, fewer_rounds;
  queue asking, finished; /* requests that are still to be written; keys that are corrected */
  pl_cascade_bob *bob[];
};

static void push(pl_cascade_bobs *all, queue *q, int slot) {
  q->slot[(q->first + q->count++) % all->slots] = slot;
}

static int pop(pl_cascade_bobs *all, queue *q) {
  int slot = q->slot[q->first];
  q->first = (q->first + 1) % all->slots;
  q->count--;
  return slot;
}

int pl_cascade_bobs_new(pl_cascade_bobs **out, int slots, int fewer_rounds) {
  *out = NULL;
  if (slots < 1 || slots > PL_CASCADE_MAX_SLOTS) return PL_E_ARGUMENT;
  pl_cascade_bobs *all = calloc(1, sizeof *all + (size_t)slots * sizeof all->bob[0]);
  if (!all) return PL_E_MEMORY;
  all->slots = slots;
  all->fewer_rounds = fewer_rounds;
  all->asking.slot = calloc((size_t)slots, sizeof(int));
  all->finished.slot = calloc((size_t)slots, sizeof(int));
  if (!all->asking.slot || !all->finished.slot) {
    pl_cascade_bobs_free(all);
    return PL_E_MEMORY;
  }
  *out = all;
  return PL_OK;
}

void pl_cascade_bobs_free(pl_cascade_bobs *all) {
  if (!all) return;
  for (int i = 0; i < all->slots; i++) pl_cascade_bob_free(all->bob[i]);
  free(all->asking.slot);
  free(all->finished.slot);
  free(all);
}

static int waits_in(const pl_cascade_bobs *all, const queue *q, int slot) {
  for (int i = 0; i < q->count; i++)
    if (q->slot[(q->first + i) % all->slots] == slot) return 1;
  return 0;
}

int pl_cascade_bobs_start(pl_cascade_bobs *all, int slot, const pl_secret *key, int64_t start,
                          int64_t bits, const uint8_t *seed, double qber) {
  const uint8_t *bytes = piece_of(key, start, bits);
  if (!bytes || slot < 0 || slot >= all->slots) return PL_E_ARGUMENT;
  if (waits_in(all, &all->asking, slot) || waits_in(all, &all->finished, slot)) return PL_E_STATE;
  if (!all->bob[slot]) all->bob[slot] = cc_bob_empty(all->fewer_rounds);
  if (!all->bob[slot]) return PL_E_MEMORY;
  int status = cc_bob_begin(all->bob[slot], bytes, bits, seed, qber);
  if (status == PL_OK) push(all, &all->asking, slot);
  return status;
}

/* Writes what the slot asks next. 0: it does not fit, the slot waits; else bytes, or an error. */
static int64_t ask(pl_cascade_bobs *all, int slot, uint8_t *out, size_t capacity) {
  size_t room = capacity < HEAD ? 0 : capacity - HEAD;
  int64_t n = pl_cascade_bob_request(all->bob[slot], out + HEAD, room);
  if (n < 0) return n;
  if (capacity < HEAD || (size_t)n > room) return 0;
  put_head(out, slot, (size_t)n);
  return HEAD + n;
}

/* The requests that wait, as far as they fit. */
static int64_t ask_waiting(pl_cascade_bobs *all, uint8_t *out, size_t capacity) {
  size_t at = 0;
  while (all->asking.count) {
    int slot = all->asking.slot[all->asking.first];
    int64_t n = ask(all, slot, out + at, capacity - at);
    if (n < 0) return n;
    if (n == 0) return at ? (int64_t)at : PL_E_CAPACITY;
    pop(all, &all->asking);
    if (n == HEAD)
      push(all, &all->finished, slot);
    else
      at += (size_t)n;
  }
  return (int64_t)at;
}

int64_t pl_cascade_bobs_step(pl_cascade_bobs *all, const uint8_t *in, size_t size, size_t *used,
                             uint8_t *out, size_t capacity, int most) {
  *used = 0;
  int64_t at = ask_waiting(all, out, capacity);
  record r;
  while (at >= 0 && !all->asking.count && most-- > 0 &&
         whole(in + *used, size - *used, &r)) {
    if (r.slot >= all->slots || !all->bob[r.slot]) return PL_E_DATA;
    int status = pl_cascade_bob_receive(all->bob[r.slot], r.body, r.size);
    if (status != PL_OK) return status;
    *used += HEAD + r.size;
    push(all, &all->asking, r.slot);
    int64_t n = ask_waiting(all, out + at, capacity - (size_t)at);
    if (n == PL_E_CAPACITY && at) break;
    at = n < 0 ? n : at + n;
  }
  return at;
}

int pl_cascade_bobs_finished(pl_cascade_bobs *all) {
  return all->finished.count ? pop(all, &all->finished) + 1 : 0;
}

int pl_cascade_bobs_store(pl_cascade_bobs *all, int slot, pl_secret *key, int64_t start,
                          int64_t bits) {
  uint8_t *bytes = piece_of(key, start, bits);
  if (!bytes || slot < 0 || slot >= all->slots || !all->bob[slot]) return PL_E_ARGUMENT;
  return cc_bob_store(all->bob[slot], bytes, bits);
}

int64_t pl_cascade_bobs_errors(pl_cascade_bobs *all, int slot) {
  if (slot < 0 || slot >= all->slots || !all->bob[slot]) return PL_E_ARGUMENT;
  return pl_cascade_bob_errors(all->bob[slot]);
}
