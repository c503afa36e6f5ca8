/* Cascade's inner loops for any machine. */
#include <stdint.h>

#define HOT(name) cc_portable_##name
#define HOT_TARGET
#define HOT_DEPOSIT(bits, places) deposit(bits, places)
#define HOT_EXTRACT(bits, places) extract(bits, places)
#define HOT_ROWS 64

static inline uint64_t deposit(uint64_t x, uint64_t places) {
  uint64_t out = 0;
  for (; places; places &= places - 1, x >>= 1) out |= (x & 1) * (places & -places);
  return out;
}

static inline uint64_t extract(uint64_t x, uint64_t places) {
  uint64_t out = 0;
  for (int i = 0; places; places &= places - 1, i++) out |= (uint64_t)!!(x & places & -places) << i;
  return out;
}

/* Between rows `apart` apart: exchange what belongs to the other one. */
static inline void exchange(uint64_t *m, int apart, uint64_t mask) {
  for (int k = 0; k < 64; k += 2 * apart)
    for (int i = k; i < k + apart; i++) {
      uint64_t t = (m[i] >> apart ^ m[i + apart]) & mask;
      m[i] ^= t << apart;
      m[i + apart] ^= t;
    }
}

static void cc_portable_transpose_slots(uint64_t *m) {
  exchange(m, 32, 0x00000000ffffffffu);
  exchange(m, 16, 0x0000ffff0000ffffu);
  exchange(m, 8, 0x00ff00ff00ff00ffu);
  exchange(m, 4, 0x0f0f0f0f0f0f0f0fu);
  exchange(m, 2, 0x3333333333333333u);
  exchange(m, 1, 0x5555555555555555u);
}
#include "cascade_hot.h"
