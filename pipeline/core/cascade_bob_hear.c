/* What Bob makes of the answers to one group of questions. */
#include <math.h>

#include "cascade_bob.h"

/* Mark the blocks of 2^level whose parity differs; they come in order, all of them. */
static int compare_all(bob_frame *f, bob_pass *p, cc_reader *r) {
  int level = p->level, odd = 0;
  if (level > 6) {
    for (int begin = 0; begin < f->words * 64; begin += 1 << level) {
      unsigned differs = cc_next_bit(r) ^ bob_parity(p, begin, begin + (1 << level));
      p->cell[begin >> 6].odd = differs;
      odd += (int)differs;
    }
    return odd;
  }
  for (int w = 0; w < f->words; w++) {
    uint64_t x = p->cell[w].key, differs = 0;
    for (int s = 1; s < 1 << level; s <<= 1) x ^= x >> s;
    for (int at = 0; at < 64; at += 1 << level) {
      uint64_t bit = (x >> at & 1) ^ cc_next_bit(r);
      differs |= bit << at;
      odd += (int)bit;
    }
    p->cell[w].odd = differs;
  }
  return odd;
}

static int compare_listed(bob_pass *p, int count, const uint8_t *items, cc_reader *r) {
  int odd = 0;
  for (int i = 0; i < count; i++) {
    int begin = (int)cc_get16(items + 2 * i) << p->level;
    uint64_t differs = cc_next_bit(r) ^ bob_parity(p, begin, begin + (1 << p->level));
    p->cell[begin >> 6].odd |= differs << (begin & 63);
    odd += (int)differs;
  }
  return odd;
}

static int queue_odd(bob_frame *f, bob_pass *p, int odd) {
  if (bob_make_room(p, odd) != PL_OK) return PL_E_MEMORY;
  for (int w = 0; w < f->words; w++)
    for (uint64_t x = p->cell[w].odd; x; x &= x - 1)
      p->search[p->searches++] =
          (bob_search){(uint16_t)(w << 6 | __builtin_ctzll(x)), (uint8_t)p->level};
  for (int w = 0; w < f->words; w++) p->cell[w].queued = p->cell[w].odd;
  return PL_OK;
}

/* Pass 0 has learnt the parities of `blocks` blocks, `odd` of which differ. That measures the
 * error rate d: 1 - 2 odd/blocks = (1 - 2 d)^length. Longer blocks than about 0.73 / d (to the
 * nearest power of two) are halved first; their parities are as new as those of the halves. */
static int measured(bob_frame *f, int blocks, int odd) {
  bob_pass *p = &f->pass[0];
  double length = (double)(1 << p->level), least = 0.3 / (f->words * 64.0);
  double even = fmax(1 - 2.0 * odd / blocks, 0.01);
  f->density = fmax(0.5 * (1 - pow(even, 1 / length)), least);
  f->stage = BOB_REFINE;
  if (p->level > CC_MIN_LEVEL && length * f->density > 1.03) return PL_OK;
  f->stage = p->real || !odd ? BOB_CASCADE : BOB_FIRST;
  p->searching = p->level;
  return queue_odd(f, p, odd);
}

/* Every block of pass 0 is halved; items: the middles that were asked about, NULL: all. */
int bob_hear_refine(bob_frame *f, int count, const uint8_t *items, cc_reader *r) {
  bob_pass *p = &f->pass[0];
  int half = 1 << --p->level, odd = 0, blocks = 0, i = 0;
  for (int begin = 0; begin < f->words * 64; begin += 2 * half) {
    int middle = begin + half;
    unsigned whole = bob_is_odd(p, begin), left;
    bob_set_bound(p, middle);
    if (!items || (i < count && (int)cc_get16(items + 2 * i) == middle)) {
      left = cc_next_bit(r) ^ bob_parity(p, begin, middle);
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

static int hear_blocks(bob_frame *f, int pass, int count, const uint8_t *listed, cc_reader *r) {
  bob_pass *p = &f->pass[pass];
  int odd = listed ? compare_listed(p, count, listed, r) : compare_all(f, p, r);
  if (pass == 0) return measured(f, count, odd);
  return queue_odd(f, p, odd);
}

static int hear_halves(pl_cascade_bob *bob, bob_frame *f, int pass, int count, cc_reader *r) {
  for (int j = 0; j < f->built; j++)
    if (bob_make_room(&f->pass[j], 3 * count) != PL_OK) return PL_E_MEMORY;
  return bob->pub.kernels->hear_halves(&bob->pub, f, pass, count, r);
}

static void hear_subsets(pl_cascade_bob *bob, bob_frame *f, cc_reader *r) {
  for (int j = 0; j < CC_SUBSETS; j++)
    f->subset_odd |= (cc_next_bit(r) ^ bob_subset_parity(&bob->pub, f, j, 0, f->words * 64)) << j;
}

static int hear_subset_half(pl_cascade_bob *bob, bob_frame *f, unsigned parity) {
  int half = 1 << --f->level, at = f->begin;
  if (parity == bob_subset_parity(&bob->pub, f, f->subset, at, at + half)) f->begin = at += half;
  if (f->level) return PL_OK;
  f->subset = -1;
  for (int j = 0; j < f->built; j++)
    if (bob_make_room(&f->pass[j], 1) != PL_OK) return PL_E_MEMORY;
  return bob->pub.kernels->flip(&bob->pub, f, -1, at);
}

int bob_hear(pl_cascade_bob *bob, const uint8_t **group, cc_reader *r) {
  const uint8_t *p = *group, *items = p + CC_HEADER;
  bob_frame *f = &bob->frame[cc_get16(p)];
  int what = p[2], op = p[3] >> 5, count = (int)cc_get16(p + 4);
  int listed = op == CC_OP_HALVES || op == CC_OP_LISTED;
  *group = items + (listed ? 2 * count : 0);
  if (f->stage == BOB_TOP || op == CC_OP_BLOCKS || op == CC_OP_LISTED)
    return hear_blocks(f, what, count, listed ? items : NULL, r);
  if (f->stage == BOB_REFINE) return bob_hear_refine(f, count, listed ? items : NULL, r);
  if (op == CC_OP_SUBSETS) {
    hear_subsets(bob, f, r);
    return PL_OK;
  }
  if (f->stage == BOB_FIRST) {
    bob->pub.kernels->hear_first(f, count, r);
    if (f->pass[0].searching) return PL_OK;
    bob->pub.kernels->end_first(f);
    f->stage = BOB_CASCADE;
    return PL_OK;
  }
  if (what >= CC_SUBSET_BASE) return hear_subset_half(bob, f, cc_next_bit(r));
  return hear_halves(bob, f, what, count, r);
}
