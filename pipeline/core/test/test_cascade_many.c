/* Slots of Cascade with buffers of exactly the size given: ASan sees what is written beyond. */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

enum { SLOTS = 3, BITS = 20000, PIECE = 8000 };

static pl_secret *key_of(uint8_t *bytes) {
  pl_secret *key;
  assert(pl_secret_new(&key, BITS) == PL_OK);
  assert(pl_secret_import(key, bytes, BITS / 8) == PL_OK);
  return key;
}

static int64_t length(int piece) {
  int left = BITS - piece * PIECE;
  return left < PIECE ? left : PIECE;
}

/* Both ends until nothing moves, `capacity` bytes of room per step. */
static void talk(pl_cascade_alices *alices, pl_cascade_bobs *bobs, size_t capacity) {
  size_t asked = 0, answered = 0, used, room = 1 << 16;
  uint8_t *to_alice = malloc(room), *to_bob = malloc(room), *out = malloc(capacity);
  for (int moved = 1; moved;) {
    int64_t n = pl_cascade_bobs_step(bobs, to_bob, answered, &used, out, capacity, 2);
    assert(n >= 0 && (size_t)n <= capacity && asked + (size_t)n <= room);
    memmove(to_bob, to_bob + used, answered -= used);
    memcpy(to_alice + asked, out, (size_t)n);
    asked += (size_t)n;
    moved = n > 0 || used > 0;
    n = pl_cascade_alices_step(alices, to_alice, asked, &used, out, capacity, 2);
    assert(n >= 0 && (size_t)n <= capacity && answered + (size_t)n <= room);
    memmove(to_alice, to_alice + used, asked -= used);
    memcpy(to_bob + answered, out, (size_t)n);
    answered += (size_t)n;
    moved |= n > 0 || used > 0;
  }
  assert(asked == 0 && answered == 0);
  free(to_alice);
  free(to_bob);
  free(out);
}

int main(void) {
  uint8_t bytes[BITS / 8], noisy[BITS / 8], copy[BITS / 8], seed[32] = {7};
  srand(11);
  for (int i = 0; i < BITS / 8; i++) copy[i] = noisy[i] = bytes[i] = (uint8_t)(rand() >> 7);
  for (int i = 0; i < BITS; i += 17 + rand() % 40) noisy[i / 8] ^= (uint8_t)(0x80 >> i % 8);
  pl_secret *key = key_of(copy), *other = key_of(noisy), *corrected;
  assert(pl_secret_new(&corrected, BITS) == PL_OK);
  for (size_t capacity = 2000; capacity <= 32000; capacity *= 4) {
    pl_cascade_alices *alices;
    pl_cascade_bobs *bobs;
    assert(pl_cascade_alices_new(&alices, SLOTS) == PL_OK);
    assert(pl_cascade_bobs_new(&bobs, SLOTS, capacity == 8000) == PL_OK);
    for (int turn = 0; turn < 2; turn++) {
      for (int s = 0; s < SLOTS; s++) {
        int64_t n = length(s);
        assert(pl_cascade_alices_start(alices, s, key, s * PIECE, n, seed, n) == PL_OK);
        assert(pl_cascade_bobs_start(bobs, s, other, s * PIECE, n, seed, 0.03) == PL_OK);
      }
      talk(alices, bobs, capacity);
      for (int s = 0; s < SLOTS; s++) {
        assert(pl_cascade_bobs_finished(bobs) > 0);
        assert(pl_cascade_bobs_store(bobs, s, corrected, s * PIECE, length(s)) == PL_OK);
        assert(pl_cascade_bobs_errors(bobs, s) > 0 && pl_cascade_alices_leak(alices, s) > 0);
      }
      assert(pl_cascade_bobs_finished(bobs) == 0);
      assert(pl_secret_equal(corrected, key) == 1);
    }
    pl_cascade_alices_free(alices);
    pl_cascade_bobs_free(bobs);
  }
  pl_secret_free(key);
  pl_secret_free(other);
  pl_secret_free(corrected);
  return 0;
}
