/* Bob's end of Cascade: the object, its rounds, its results. */
#include "cascade_bob.h"

#include <stdlib.h>

#include "secret.h"

enum { SCRATCH = CC_MAX_WORDS, MASKS = CC_PASSES * CC_MAX_WORDS };
enum { PER_WORD = sizeof(uint64_t) + sizeof(bob_cell) };

static size_t bytes_for(int64_t bits) { return (size_t)((bits + 7) / 8); }

void pl_cascade_bob_free(pl_cascade_bob *bob) {
  if (!bob) return;
  for (int f = 0; f < bob->frames; f++)
    for (int pass = 0; pass < CC_PASSES; pass++) free(bob->frame[f].pass[pass].search);
  pl_locked_free(bob->store, bob->store_bytes);
  pl_locked_free(bob->extra, bob->extra_bytes);
  free(bob->frame);
  free(bob->request);
  free(bob);
}

/* Locked memory of at least this size; present memory is kept when it suffices. */
static int grow(void **memory, size_t *size, size_t wanted) {
  if (wanted <= *size) return PL_OK;
  pl_locked_free(*memory, *size);
  *memory = pl_locked_alloc(wanted);
  *size = *memory ? wanted : 0;
  return *memory ? PL_OK : PL_E_MEMORY;
}

static int make_room(pl_cascade_bob *bob) {
  const cc_layout *l = &bob->pub.layout;
  if (l->frames > bob->frames) {
    bob_frame *more = realloc(bob->frame, (size_t)l->frames * sizeof *more);
    if (!more) return PL_E_MEMORY;
    memset(more + bob->frames, 0, (size_t)(l->frames - bob->frames) * sizeof *more);
    bob->frame = more;
    bob->frames = l->frames;
  }
  void *store = bob->store, *extra = bob->extra;
  int status = grow(&store, &bob->store_bytes,
                    (size_t)l->units * CC_UNIT_WORDS * CC_PASSES * PER_WORD);
  bob->store = store;
  if (status == PL_OK)
    status = grow(&extra, &bob->extra_bytes,
                  (SCRATCH + MASKS) * sizeof(uint64_t) + bytes_for(l->bits));
  bob->extra = extra;
  return status;
}

/* Reset a frame; its lists keep their room. */
static void clear_frame(bob_frame *f, int index, int words, uint64_t *store) {
  bob_frame clean = {.index = index, .words = words, .built = 1, .subset = -1};
  bob_cell *cells = (bob_cell *)(store + CC_PASSES * words);
  for (int pass = 0; pass < CC_PASSES; pass++) {
    clean.pass[pass].key = store + pass * words;
    clean.pass[pass].cell = cells + pass * words;
    clean.pass[pass].search = f->pass[pass].search;
    clean.pass[pass].parked = f->pass[pass].parked;
    clean.pass[pass].capacity = f->pass[pass].capacity;
  }
  *f = clean;
}

static void load_frame(pl_cascade_bob *bob, int index, const uint8_t *key) {
  bob_frame *f = &bob->frame[index];
  uint64_t *words = bob->extra, *masks = words + SCRATCH;
  int64_t real = f->words * 64;
  cc_frame_load(&bob->pub, index, key, f->pass[0].key);
  if (cc_frame_real(&bob->pub, index, words)) { /* the one frame that holds the end of the key */
    real = 0;
    for (int pass = 0; pass < CC_PASSES; pass++)
      f->pass[pass].real = masks + pass * CC_MAX_WORDS;
    for (int w = 0; w < f->words; w++) {
      masks[w] = words[w];
      real += __builtin_popcountll(words[w]);
    }
  }
  f->fill = (double)real / (64.0 * f->words);
  f->density = bob->rate * f->fill;
}

pl_cascade_bob *cc_bob_empty(int fewer_rounds) {
  pl_cascade_bob *bob = calloc(1, sizeof *bob);
  if (!bob) return NULL;
  bob->broken = 1;
  bob->fewer_rounds = fewer_rounds != 0;
  return bob;
}

int cc_bob_begin(pl_cascade_bob *bob, const uint8_t *bytes, int64_t bits, const uint8_t *seed,
                 double qber) {
  if (bits < 1 || bits > PL_CASCADE_MAX_BITS || !(qber >= 0 && qber <= 0.5)) return PL_E_ARGUMENT;
  bob->broken = 1;
  bob->in_flight = 0;
  cc_public_init(&bob->pub, bits, seed);
  if (make_room(bob) != PL_OK) return PL_E_MEMORY;
  uint8_t *original = (uint8_t *)(bob->extra + SCRATCH + MASKS);
  memcpy(original, bytes, bytes_for(bits));
  bob->original = original;
  bob->rate = qber > 1e-5 ? qber : 1e-5;
  uint64_t *store = bob->store;
  for (int f = 0; f < bob->pub.layout.frames; f++) {
    int words = cc_frame_units(&bob->pub.layout, f) * CC_UNIT_WORDS;
    clear_frame(&bob->frame[f], f, words, store);
    store += (size_t)words * CC_PASSES * PER_WORD / sizeof *store;
    load_frame(bob, f, bytes);
  }
  bob->broken = 0;
  return PL_OK;
}

int pl_cascade_bob_restart(pl_cascade_bob *bob, const pl_secret *key, const uint8_t *seed,
                           double qber) {
  const uint8_t *bytes = pl_secret_bytes(key);
  if (!bytes) return PL_E_STATE;
  return cc_bob_begin(bob, bytes, pl_secret_bits(key), seed, qber);
}

int pl_cascade_bob_new(pl_cascade_bob **out, const pl_secret *key, const uint8_t *seed,
                       double qber) {
  *out = NULL;
  pl_cascade_bob *bob = cc_bob_empty(0);
  if (!bob) return PL_E_MEMORY;
  int status = pl_cascade_bob_restart(bob, key, seed, qber);
  if (status != PL_OK) {
    pl_cascade_bob_free(bob);
    return status;
  }
  *out = bob;
  return PL_OK;
}

static int next_request(pl_cascade_bob *bob) {
  bob->request_size = 0;
  bob->request_bits = 0;
  bob_measure_rate(bob);
  for (int f = 0; f < bob->pub.layout.frames; f++) {
    if (bob->frame[f].stage == BOB_DONE) continue;
    int status = bob_ask(bob, &bob->frame[f]);
    if (status == PL_OK) continue;
    bob->broken = 1;
    return status;
  }
  bob->in_flight = bob->request_size != 0;
  return PL_OK;
}

int64_t pl_cascade_bob_request(pl_cascade_bob *bob, uint8_t *out, size_t capacity) {
  if (bob->broken) return PL_E_STATE;
  int status = bob->in_flight ? PL_OK : next_request(bob);
  if (status != PL_OK) return status;
  if (bob->request_size && bob->request_size <= capacity)
    memcpy(out, bob->request, bob->request_size);
  return (int64_t)bob->request_size;
}

int pl_cascade_bob_receive(pl_cascade_bob *bob, const uint8_t *parities, size_t size) {
  if (!bob->in_flight || bob->broken) return PL_E_STATE;
  if (size != bytes_for(bob->request_bits)) return PL_E_DATA;
  cc_reader reader = {parities, size, 0};
  bob->in_flight = 0;
  for (const uint8_t *at = bob->request, *end = at + bob->request_size; at < end;) {
    int status = bob_hear(bob, &at, &reader);
    if (status == PL_OK) continue;
    bob->broken = 1;
    return status;
  }
  return PL_OK;
}

int cc_bob_store(pl_cascade_bob *bob, uint8_t *bytes, int64_t bits) {
  if (bob->broken) return PL_E_STATE;
  if (bits != bob->pub.layout.bits) return PL_E_ARGUMENT;
  for (int i = 0; i < bob->pub.layout.frames; i++) {
    const bob_frame *f = &bob->frame[i];
    memcpy(bob->extra, f->pass[0].key, (size_t)f->words * sizeof *bob->extra);
    cc_frame_store(&bob->pub, i, bob->extra, bytes);
  }
  return PL_OK;
}

int pl_cascade_bob_key(pl_cascade_bob *bob, pl_secret *out) {
  uint8_t *bytes = pl_secret_bytes(out);
  return bytes ? cc_bob_store(bob, bytes, pl_secret_bits(out)) : PL_E_ARGUMENT;
}

int64_t pl_cascade_bob_error_positions(pl_cascade_bob *bob, int64_t *out, int64_t capacity) {
  int64_t n = 0, bits = bob->pub.layout.bits;
  pl_secret *now;
  if (bob->broken) return PL_E_STATE;
  int status = pl_secret_new(&now, bits);
  if (status != PL_OK) return status;
  status = pl_cascade_bob_key(bob, now);
  if (status != PL_OK) {
    pl_secret_free(now);
    return status;
  }
  const uint8_t *bytes = pl_secret_bytes(now);
  for (int64_t byte = 0; byte < (bits + 7) / 8; byte++)
    for (unsigned x = bytes[byte] ^ bob->original[byte], mask = 0x80; x; x &= ~mask, mask >>= 1) {
      if (!(x & mask)) continue;
      if (n < capacity) out[n] = 8 * byte + __builtin_clz(mask) - 24;
      n++;
    }
  pl_secret_free(now);
  return n <= capacity ? n : PL_E_CAPACITY;
}

int64_t pl_cascade_bob_errors(pl_cascade_bob *bob) {
  int64_t n = 0;
  for (int f = 0; f < bob->pub.layout.frames; f++) n += bob->frame[f].errors;
  return n;
}

int64_t pl_cascade_bob_asked(pl_cascade_bob *bob) {
  return bob->in_flight ? bob->request_bits : 0;
}

/* The odd blocks of pass 0, as it was measured, held an error each before anything was flipped. */
int64_t pl_cascade_bob_errors_seen(pl_cascade_bob *bob) {
  int64_t n = 0;
  for (int f = 0; f < bob->pub.layout.frames; f++) {
    const bob_frame *frame = &bob->frame[f];
    n += frame->errors > frame->odd_blocks ? frame->errors : frame->odd_blocks;
  }
  return n;
}
