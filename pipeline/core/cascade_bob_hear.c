/* What Bob makes of the answers to one group of questions. */
#include <math.h>

#include "cascade_bob.h"

static int compare_listed(bob_pass *p, int count, const uint8_t *items, cc_reader *r) {
  int odd = 0;
  for (int i = 0; i < count; i++) {
    int begin = (int)cc_get16(items + 2 * i) << p->level;
    uint64_t differs = cc_next_bits(r, 1) ^ bob_parity(p->key, begin, 1 << p->level);
    p->cell[begin >> 6].odd |= differs << (begin & 63);
    odd += (int)differs;
  }
  return odd;
}

static int queue_odd(bob_frame *f, bob_pass *p, int odd) {
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

/* Pass 0 has learnt the parities of `blocks` blocks, `odd` of which differ. */
static int measured(bob_frame *f, int blocks, int odd) {
  f->blocks = blocks;
  f->odd_blocks = odd;
  f->stage = BOB_MEASURED;
  return PL_OK;
}

/* 1 - 2 odd = (1 - 2 rate)^length for the expected fraction of odd blocks. */
static double rate_of(double odd, double length) {
  return 0.5 * (1 - pow(fmax(1 - 2 * odd, 0.01), 1 / length));
}

/* The error rate that the blocks tell, and one standard deviation more. Frames without padding
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

/* Blocks longer than about 0.73 / density (to the nearest power of two) are halved first: no
 * parity is wasted by that, they are as new as those of the halves would have been. */
int bob_start_searches(pl_cascade_bob *bob, bob_frame *f) {
  bob_pass *p = &f->pass[0];
  f->density = bob->rate * f->fill;
  f->stage = BOB_REFINE;
  if (p->level > CC_MIN_LEVEL && (1 << p->level) * bob->rate_high * f->fill > 1.03) return PL_OK;
  f->stage = p->real || !f->odd_blocks ? BOB_CASCADE : BOB_FIRST;
  p->searching = p->level;
  return queue_odd(f, p, f->odd_blocks);
}

/* The blocks of pass 0 are halved in a frame with padding; items: the middles asked about. */
int bob_hear_refine(bob_frame *f, int count, const uint8_t *items, cc_reader *r) {
  bob_pass *p = &f->pass[0];
  int half = 1 << --p->level, odd = 0, blocks = 0, i = 0;
  for (int begin = 0; begin < f->words * 64; begin += 2 * half) {
    int middle = begin + half;
    unsigned whole = bob_is_odd(p, begin), left;
    bob_set_bound(p, middle);
    if (i < count && (int)cc_get16(items + 2 * i) == middle) {
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
  return measured(f, blocks, odd);
}

static int hear_blocks(const cc_kernels *kernels, bob_frame *f, int pass, int count,
                       const uint8_t *listed, cc_reader *r) {
  bob_pass *p = &f->pass[pass];
  int odd = listed ? compare_listed(p, count, listed, r) : kernels->compare(p, f->words, r);
  if (pass == 0) return measured(f, count, odd);
  return queue_odd(f, p, odd);
}

static int hear_halves(pl_cascade_bob *bob, bob_frame *f, int pass, int count, cc_reader *r) {
  for (int j = 0; j < f->built; j++)
    if (bob_make_room(&f->pass[j], 3 * count) != PL_OK) return PL_E_MEMORY;
  return bob->pub.kernels->hear_halves(&bob->pub, f, pass, count, r);
}

static void hear_subsets(pl_cascade_bob *bob, bob_frame *f, cc_reader *r) {
  f->subset_odd = bob->pub.kernels->subsets(&bob->pub, f->words, f->pass[0].key);
  f->subset_odd ^= (uint32_t)cc_next_bits(r, CC_SUBSETS);
}

static int hear_subset_half(pl_cascade_bob *bob, bob_frame *f, unsigned parity) {
  int half = 1 << --f->level, at = f->begin;
  if (parity == bob_subset_parity(&bob->pub, f, f->subset, at, at + half)) f->begin = at += half;
  if (f->level) return PL_OK;
  f->subset = -1;
  for (int j = 0; j < f->built; j++)
    if (bob_make_room(&f->pass[j], 1) != PL_OK) return PL_E_MEMORY;
  uint16_t found = (uint16_t)at;
  return bob->pub.kernels->flip(&bob->pub, f, -1, &found, 1);
}

int bob_hear(pl_cascade_bob *bob, const uint8_t **group, cc_reader *r) {
  const uint8_t *p = *group, *items = p + CC_HEADER;
  bob_frame *f = &bob->frame[cc_get16(p)];
  int what = p[2], op = p[3] >> 5, count = (int)cc_get16(p + 4);
  int listed = op == CC_OP_HALVES || op == CC_OP_LISTED;
  const cc_kernels *kernels = bob->pub.kernels;
  *group = items + (listed ? 2 * count : 0);
  if (f->stage == BOB_TOP || op == CC_OP_BLOCKS || op == CC_OP_LISTED)
    return hear_blocks(kernels, f, what, count, listed ? items : NULL, r);
  if (op == CC_OP_LOWER) return measured(f, 2 * count, kernels->halve(&f->pass[0], f->words, r));
  if (f->stage == BOB_REFINE) return bob_hear_refine(f, count, items, r);
  if (op == CC_OP_SUBSETS) {
    hear_subsets(bob, f, r);
    return PL_OK;
  }
  if (f->stage == BOB_FIRST) {
    kernels->hear_first(f, count, r);
    if (f->pass[0].searching) return PL_OK;
    kernels->end_first(f);
    f->stage = BOB_CASCADE;
    return PL_OK;
  }
  if (what >= CC_SUBSET_BASE) return hear_subset_half(bob, f, (unsigned)cc_next_bits(r, 1));
  return hear_halves(bob, f, what, count, r);
}
