/* One frame at Bob: known blocks, corrections, and what a correction does to the other passes. */
#include <stdlib.h>

#include "cascade_bob.h"

int bob_make_room(bob_pass *p, int more) {
  if (p->searches + more <= p->capacity) return PL_OK;
  int capacity = 2 * (p->searches + more);
  bob_search *grown = realloc(p->search, (size_t)capacity * sizeof *grown);
  if (!grown) return PL_E_MEMORY;
  p->search = grown;
  p->capacity = capacity;
  return PL_OK;
}

/* Does [begin, end), a block or half of one, hold a key bit? */
int bob_real(const bob_pass *p, int begin, int end) {
  if (!p->real) return 1;
  if (end - begin < 64)
    return (p->real[begin >> 6] >> (begin & 63) & bob_low_bits(end - begin)) != 0;
  uint64_t any = 0;
  for (int w = begin >> 6; w < end >> 6; w++) any |= p->real[w];
  return any != 0;
}

unsigned bob_subset_parity(const cc_public *pub, const bob_frame *f, int subset, int begin,
                           int end) {
  const bob_cell *cell = f->pass[0].cell;
  if (end - begin < 64)
    return cc_parity((cell[begin >> 6].key & cc_subset(pub, subset, begin >> 6)) >> (begin & 63) &
                     bob_low_bits(end - begin));
  uint64_t sum = 0;
  for (int w = begin >> 6; w < end >> 6; w++) sum ^= cell[w].key & cc_subset(pub, subset, w);
  return cc_parity(sum);
}

/* Cut a pass into blocks of 2^level, none of them odd or queued. */
void bob_cut(bob_frame *f, int pass, int level) {
  bob_pass *p = &f->pass[pass];
  uint64_t pattern = 1;
  for (int at = 1 << level; at < 64; at += 1 << level) pattern |= (uint64_t)1 << at;
  int stride = level > 6 ? 1 << (level - 6) : 1;
  memset(p->starts, 0, sizeof p->starts);
  for (int w = 0; w < f->words; w++) {
    int first = w % stride == 0;
    p->cell[w].bound = first ? pattern : 0;
    p->cell[w].odd = p->cell[w].queued = 0;
    p->starts[w >> 6] |= (uint64_t)first << (w & 63);
  }
  p->level = level;
  p->searches = p->asked = 0;
}

void bob_flip_subsets(const cc_public *pub, bob_frame *f, int position) {
  for (int j = 0; j < CC_SUBSETS; j++) {
    unsigned in = (unsigned)(cc_subset(pub, j, position >> 6) >> (position & 63)) & 1;
    f->subset_odd ^= (uint32_t)in << j;
    if (j == f->subset && position >> f->level == f->begin >> f->level) f->odd ^= (int)in;
  }
}

