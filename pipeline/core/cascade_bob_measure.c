/* Results from the blocks of a pass: the error rate, the blocks to halve, the blocks to search. */
#include <math.h>

#include "cascade_bob.h"

int bob_queue_odd(bob_frame *f, bob_pass *p, int odd) {
  if (odd == 0) return PL_OK; /* and there may be no room at all yet */
  if (bob_make_room(p, odd) != PL_OK) return PL_E_MEMORY;
  bob_search *next = p->search + p->searches;
  for (int w = 0; w < f->words; w++) {
    uint64_t x = p->cell[w].odd;
    p->cell[w].odd |= x << 1;
    for (; x; x &= x - 1)
      *next++ = bob_new_search(w << 6 | __builtin_ctzll(x), p->level);
  }
  p->searches += odd;
  return PL_OK;
}

/* Pass 0 knows the parities of `blocks` blocks, `odd` of which differ. */
int bob_measured(bob_frame *f, int blocks, int odd) {
  f->blocks = blocks;
  f->odd_blocks = odd;
  f->stage = BOB_MEASURED;
  return PL_OK;
}

/* 1 - 2 odd = (1 - 2 rate)^length for the expected fraction of odd blocks. */
static double rate_of(double odd, double length) {
  return 0.5 * (1 - pow(fmax(1 - 2 * odd, 0.01), 1 / length));
}

/* The error rate estimated from the blocks, plus one standard deviation. Frames without padding
 * are counted together; they have the same block length. */
void bob_measure_rate(pl_cascade_bob *bob) {
  for (int padded = 0; padded < 2; padded++) {
    double blocks = 0, odd = 0, length = 1, fill = 1;
    for (int i = 0; i < bob->pub.layout.frames; i++) {
      const bob_frame *f = &bob->frame[i];
      if (f->stage != BOB_MEASURED || (f->pass[0].real != NULL) != padded) continue;
      blocks += f->blocks;
      odd += f->odd_blocks;
      length = 1 << f->pass[0].level;
      fill = f->fill;
    }
    if (blocks == 0) continue;
    bob->rate = fmax(rate_of(odd / blocks, length) / fill, 0.3 / (double)bob->pub.layout.bits);
    bob->rate_high = rate_of((odd + 0.5 * sqrt(blocks)) / blocks, length) / fill;
    return;
  }
}

/* Blocks longer than about 0.73 / density (to the nearest power of two) are halved first; this
 * wastes no parity, since each one is as informative as that of a half. */
int bob_start_searches(pl_cascade_bob *bob, bob_frame *f) {
  bob_pass *p = &f->pass[0];
  f->density = bob->rate * f->fill;
  f->stage = BOB_REFINE;
  if (p->level > CC_MIN_LEVEL && (1 << p->level) * bob->rate_high * f->fill > 1.03) return PL_OK;
  f->stage = p->real || !f->odd_blocks ? BOB_CASCADE : BOB_FIRST;
  p->searching = p->level;
  return bob_queue_odd(f, p, f->odd_blocks);
}

/* The blocks of pass 0 are halved in a frame with padding; middles: the middles asked about. */
int bob_refine(bob_frame *f, int count, const uint8_t *middles, cc_reader *r) {
  bob_pass *p = &f->pass[0];
  int half = 1 << --p->level, odd = 0, blocks = 0, i = 0;
  for (int begin = 0; begin < f->words * 64; begin += 2 * half) {
    int middle = begin + half;
    unsigned whole = bob_is_odd(p, begin), left;
    bob_set_bound(p, middle);
    if (i < count && (int)cc_get16(middles + 2 * i) == middle) {
      left = (unsigned)cc_next_bits(r, 1) ^ bob_parity(p->key, begin, half);
      i++;
      blocks += 2;
    } else {
      int real = bob_real(p, begin, middle);
      left = real ? whole : 0;
      blocks += real || bob_real(p, middle, middle + half);
    }
    p->cell[begin >> 6].odd ^= (uint64_t)(whole ^ left) << (begin & 63);
    p->cell[middle >> 6].odd |= (uint64_t)(whole ^ left) << (middle & 63);
    odd += (int)(left + (whole ^ left));
  }
  return bob_measured(f, blocks, odd);
}
