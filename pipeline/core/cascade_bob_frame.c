/* One frame at Bob: known blocks, corrections, and their effect on the other passes. */
#include <stdlib.h>

#include "cascade_bob.h"

int bob_make_room(bob_pass *p, int more) {
  int need = p->searches + p->waiting + more;
  if (need <= p->capacity) return PL_OK;
  bob_search *grown = malloc(4 * (size_t)need * sizeof *grown);
  if (!grown) return PL_E_MEMORY;
  if (p->search) {
    memcpy(grown, p->search, (size_t)p->searches * sizeof *grown);
    memcpy(grown + 2 * need, p->parked, (size_t)p->waiting * sizeof *grown);
    free(p->search);
  }
  p->search = grown;
  p->parked = grown + 2 * need;
  p->capacity = 2 * need;
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
  const uint64_t *key = f->pass[0].key;
  if (end - begin < 64)
    return cc_parity((key[begin >> 6] & cc_subset(pub, subset, begin >> 6)) >> (begin & 63) &
                     bob_low_bits(end - begin));
  uint64_t sum = 0;
  for (int w = begin >> 6; w < end >> 6; w++) sum ^= key[w] & cc_subset(pub, subset, w);
  return cc_parity(sum);
}

/* Cut a pass into blocks of 2^level, none of them odd or queued. */
void bob_cut(bob_frame *f, int pass, int level) {
  bob_pass *p = &f->pass[pass];
  uint64_t pattern = bob_comb(level < 6 ? level : 6);
  uint64_t starts = bob_comb(level < 6 ? 0 : level - 6);
  for (int u = 0; u < f->words >> 6; u++) p->starts[u] = starts;
  memset(p->cell, 0, (size_t)f->words * sizeof *p->cell);
  for (int w = 0, stride = level > 6 ? 1 << (level - 6) : 1; w < f->words; w += stride)
    p->cell[w].bound = pattern;
  p->level = level;
  p->searches = p->waiting = p->ordered = 0;
}

void bob_flip_subsets(const cc_public *pub, bob_frame *f, int position) {
  for (int j = 0; j < CC_SUBSETS; j++) {
    unsigned in = (unsigned)(cc_subset(pub, j, position >> 6) >> (position & 63)) & 1;
    f->subset_odd ^= (uint32_t)in << j;
    if (j == f->subset && position >> f->level == f->begin >> f->level) f->odd ^= (int)in;
  }
}

