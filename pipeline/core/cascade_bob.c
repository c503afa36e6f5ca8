/* Bob's end of Cascade: the object, its rounds, its results. */
#include "cascade_bob.h"

#include <stdlib.h>

#include "secret.h"

enum { SCRATCH = CC_MAX_WORDS, MASKS = CC_PASSES * CC_MAX_WORDS };

static size_t bytes_for(int64_t bits) { return (size_t)((bits + 7) / 8); }

void pl_cascade_bob_free(pl_cascade_bob *bob) {
  if (!bob) return;
  for (int f = 0; f < bob->pub.layout.frames; f++)
    for (int pass = 0; pass < CC_PASSES; pass++) free(bob->frame[f].pass[pass].search);
  pl_locked_free(bob->cells, bob->cells_bytes);
  pl_locked_free(bob->extra, bob->extra_bytes);
  free(bob->request);
  free(bob);
}

static int allocate(pl_cascade_bob *bob) {
  const cc_layout *l = &bob->pub.layout;
  bob->cells_bytes = (size_t)l->units * CC_UNIT_WORDS * CC_PASSES * sizeof *bob->cells;
  bob->cells = pl_locked_alloc(bob->cells_bytes);
  bob->extra_bytes = (SCRATCH + MASKS) * sizeof(uint64_t) + bytes_for(l->bits);
  bob->extra = pl_locked_alloc(bob->extra_bytes);
  if (!bob->cells || !bob->extra) return PL_E_MEMORY;
  bob_cell *next = bob->cells;
  for (int f = 0; f < l->frames; f++) {
    bob->frame[f].words = cc_frame_units(l, f) * CC_UNIT_WORDS;
    for (int pass = 0; pass < CC_PASSES; pass++, next += bob->frame[f].words)
      bob->frame[f].pass[pass].cell = next;
  }
  return PL_OK;
}

static void load_frame(pl_cascade_bob *bob, int index, const uint8_t *key, double qber) {
  const cc_layout *l = &bob->pub.layout;
  bob_frame *f = &bob->frame[index];
  uint64_t *words = bob->extra, *masks = words + SCRATCH;
  int64_t real = f->words * 64;
  f->index = index;
  f->subset = -1;
  f->built = 1;
  cc_frame_load(l, index, key, words);
  for (int w = 0; w < f->words; w++) f->pass[0].cell[w].key = words[w];
  if (cc_frame_real(l, index, words)) { /* the one frame that holds the end of the key */
    real = 0;
    for (int pass = 0; pass < CC_PASSES; pass++)
      f->pass[pass].real = masks + pass * CC_MAX_WORDS;
    for (int w = 0; w < f->words; w++) {
      masks[w] = words[w];
      real += __builtin_popcountll(words[w]);
    }
  }
  f->density = (qber > 1e-5 ? qber : 1e-5) * (double)real / (64.0 * f->words);
}

int pl_cascade_bob_new(pl_cascade_bob **out, const pl_secret *key, const uint8_t *seed,
                       double qber) {
  *out = NULL;
  const uint8_t *bytes = pl_secret_bytes(key);
  if (!bytes) return PL_E_STATE;
  int64_t bits = pl_secret_bits(key);
  if (bits < 1 || bits > PL_CASCADE_MAX_BITS || !(qber >= 0 && qber <= 0.5)) return PL_E_ARGUMENT;
  pl_cascade_bob *bob = calloc(1, sizeof *bob + (size_t)cc_frames(bits) * sizeof(bob_frame));
  if (!bob) return PL_E_MEMORY;
  cc_public_init(&bob->pub, bits, seed);
  if (allocate(bob) != PL_OK) {
    pl_cascade_bob_free(bob);
    return PL_E_MEMORY;
  }
  uint8_t *original = (uint8_t *)(bob->extra + SCRATCH + MASKS);
  memcpy(original, bytes, bytes_for(bits));
  bob->original = original;
  for (int f = 0; f < bob->pub.layout.frames; f++) load_frame(bob, f, bytes, qber);
  *out = bob;
  return PL_OK;
}

int64_t pl_cascade_bob_request(pl_cascade_bob *bob) {
  if (bob->broken) return PL_E_STATE;
  if (bob->in_flight) return (int64_t)bob->request_size;
  bob->request_size = 0;
  bob->request_bits = 0;
  for (int f = 0; f < bob->pub.layout.frames; f++) {
    if (bob->frame[f].stage == BOB_DONE) continue;
    int status = bob_ask(bob, &bob->frame[f]);
    if (status == PL_OK) continue;
    bob->broken = 1;
    return status;
  }
  bob->in_flight = bob->request_size != 0;
  return (int64_t)bob->request_size;
}

int pl_cascade_bob_copy_request(pl_cascade_bob *bob, uint8_t *out, size_t capacity) {
  if (!bob->in_flight) return PL_E_STATE;
  if (capacity < bob->request_size) return PL_E_CAPACITY;
  memcpy(out, bob->request, bob->request_size);
  return PL_OK;
}

int pl_cascade_bob_receive(pl_cascade_bob *bob, const uint8_t *parities, size_t size) {
  if (!bob->in_flight || bob->broken) return PL_E_STATE;
  if (size != bytes_for(bob->request_bits)) return PL_E_DATA;
  bit_reader reader = {parities, 0};
  bob->in_flight = 0;
  for (const uint8_t *at = bob->request, *end = at + bob->request_size; at < end;) {
    int status = bob_hear(bob, &at, &reader);
    if (status == PL_OK) continue;
    bob->broken = 1;
    return status;
  }
  return PL_OK;
}

int pl_cascade_bob_key(pl_cascade_bob *bob, pl_secret *out) {
  uint8_t *bytes = pl_secret_bytes(out);
  if (!bytes || pl_secret_bits(out) != bob->pub.layout.bits) return PL_E_ARGUMENT;
  for (int i = 0; i < bob->pub.layout.frames; i++) {
    const bob_frame *f = &bob->frame[i];
    for (int w = 0; w < f->words; w++) bob->extra[w] = f->pass[0].cell[w].key;
    cc_frame_store(&bob->pub.layout, i, bob->extra, bytes);
  }
  return PL_OK;
}

int64_t pl_cascade_bob_error_positions(pl_cascade_bob *bob, int64_t *out, int64_t capacity) {
  int64_t n = 0, bits = bob->pub.layout.bits;
  pl_secret *now;
  int status = pl_secret_new(&now, bits);
  if (status != PL_OK) return status;
  pl_cascade_bob_key(bob, now);
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
