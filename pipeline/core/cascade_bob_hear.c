/* Applies the answers to one group of a request. */
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

static int hear_blocks(const cc_kernels *kernels, bob_frame *f, int pass, int count,
                       const uint8_t *listed, cc_reader *r) {
  bob_pass *p = &f->pass[pass];
  int odd = listed ? compare_listed(p, count, listed, r) : kernels->compare(p, f->words, r);
  if (pass == 0) return bob_measured(f, count, odd);
  return bob_queue_odd(f, p, odd);
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
  if (op == CC_OP_LOWER)
    return bob_measured(f, 2 * count, kernels->halve(&f->pass[0], f->words, r));
  if (f->stage == BOB_REFINE) return bob_refine(f, count, items, r);
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
