/* One frame at Bob: known blocks, corrections, and what a correction does to the other passes. */
#include <string.h>

#include "cascade_bob.h"

#define ONES (~(uint64_t)0)

unsigned bob_range_parity(const bob_pass *p, int begin, int end) {
  if (end - begin < 64)
    return cc_parity(p->cell[begin >> 6].key >> (begin & 63) &
                     (((uint64_t)1 << (end - begin)) - 1));
  uint64_t sum = 0;
  for (int w = begin >> 6; w < end >> 6; w++) sum ^= p->cell[w].key;
  return cc_parity(sum);
}

int bob_range_real(const bob_pass *p, int begin, int end) {
  if (end - begin < 64)
    return (p->cell[begin >> 6].real >> (begin & 63) & (((uint64_t)1 << (end - begin)) - 1)) != 0;
  uint64_t any = 0;
  for (int w = begin >> 6; w < end >> 6; w++) any |= p->cell[w].real;
  return any != 0;
}

unsigned bob_subset_parity(const cc_public *pub, const bob_frame *f, int subset, int begin,
                           int end) {
  const uint64_t *mask = pub->subset[subset];
  const bob_cell *cell = f->pass[0].cell;
  if (end - begin < 64)
    return cc_parity((cell[begin >> 6].key & mask[begin >> 6]) >> (begin & 63) &
                     (((uint64_t)1 << (end - begin)) - 1));
  uint64_t sum = 0;
  for (int w = begin >> 6; w < end >> 6; w++) sum ^= cell[w].key & mask[w];
  return cc_parity(sum);
}

/* Make the copy of the frame in the order of `pass`; scratch: two frames. */
void bob_build(const cc_public *pub, bob_frame *f, int pass, uint64_t *scratch) {
  bob_pass *to = &f->pass[pass];
  uint64_t *plain = scratch, *moved = scratch + CC_MAX_WORDS;
  f->perm[pass] = cc_perm_of(pub, f->index, pass);
  for (int what = 0; what < 1 + f->padded; what++) {
    for (int w = 0; w < f->words; w++)
      plain[w] = what ? f->pass[0].cell[w].real : f->pass[0].cell[w].key;
    cc_permute(f->perm[pass], f->words, plain, moved);
    for (int w = 0; w < f->words; w++) *(what ? &to->cell[w].real : &to->cell[w].key) = moved[w];
  }
  if (!f->padded)
    for (int w = 0; w < f->words; w++) to->cell[w].real = ONES;
}

static int previous_start(const bob_pass *p, int word) {
  int u = word >> 6;
  uint64_t x = p->starts[u] & (ONES >> (63 - (word & 63)));
  while (!x) x = p->starts[--u]; /* word 0 always begins a block */
  return u << 6 | (63 - __builtin_clzll(x));
}

static int block_begin(const bob_pass *p, int position) {
  uint64_t x = p->cell[position >> 6].bound & (ONES >> (63 - (position & 63)));
  if (x) return (position & ~63) | (63 - __builtin_clzll(x));
  return previous_start(p, position >> 6) << 6;
}

int bob_block_size(const bob_frame *f, const bob_pass *p, int begin) {
  uint64_t x = (begin & 63) == 63 ? 0 : p->cell[begin >> 6].bound >> ((begin & 63) + 1);
  if (x) return __builtin_ctzll(x) + 1;
  int word = (begin >> 6) + 1, u = word >> 6;
  if (word >= f->words) return f->words * 64 - begin;
  x = p->starts[u] >> (word & 63) << (word & 63);
  while (!x && ++u < f->words >> 6) x = p->starts[u];
  return x ? (u << 12 | __builtin_ctzll(x) << 6) - begin : f->words * 64 - begin;
}

void bob_mark(bob_pass *p, int begin, unsigned odd) {
  bob_cell *c = &p->cell[begin >> 6];
  uint64_t bit = (uint64_t)1 << (begin & 63);
  c->odd = odd ? c->odd | bit : c->odd & ~bit;
  uint64_t *hot = &p->hot[begin >> 12], word = (uint64_t)1 << (begin >> 6 & 63);
  *hot = c->odd ? *hot | word : *hot & ~word;
}

/* Correct one position (in frame order) and tell every pass and subset. */
int bob_flip(const cc_public *pub, bob_frame *f, int position) {
  if (!(f->pass[0].cell[position >> 6].real >> (position & 63) & 1)) return PL_E_DATA;
  int status = PL_OK;
  for (int i = 0; i < f->built; i++) {
    bob_pass *p = &f->pass[i];
    int at = i ? cc_to(f->perm[i], position) : position;
    p->cell[at >> 6].key ^= (uint64_t)1 << (at & 63);
    if (i == f->built - 1 && !f->top_answered) continue; /* nothing is known there yet */
    int begin = block_begin(p, at);
    unsigned odd = (unsigned)(p->cell[begin >> 6].odd >> (begin & 63) & 1);
    bob_mark(p, begin, !odd);
    if (!odd && bob_block_size(f, p, begin) == 1) status = PL_E_DATA; /* parities contradict */
  }
  for (int j = 0; f->subsets_known && j < BOB_SUBSETS; j++) {
    unsigned in = (unsigned)(pub->subset[j][position >> 6] >> (position & 63) & 1);
    f->subset_odd ^= (uint32_t)in << j;
    if (j == f->search && position >> f->search_level == f->search_begin >> f->search_level)
      f->search_odd ^= (int)in;
  }
  f->errors++;
  return status;
}

/* The parity of the half below `middle` differs (or not) from Alice's. */
int bob_split(const cc_public *pub, bob_frame *f, int pass, unsigned middle, unsigned left_odd) {
  bob_pass *p = &f->pass[pass];
  int half = (int)(middle & -middle), begin = (int)middle - half;
  unsigned whole = (unsigned)(p->cell[begin >> 6].odd >> (begin & 63) & 1);
  unsigned right_odd = whole ^ left_odd;
  p->cell[middle >> 6].bound |= (uint64_t)1 << (middle & 63);
  if (!(middle & 63)) p->starts[middle >> 12] |= (uint64_t)1 << (middle >> 6 & 63);
  bob_mark(p, begin, left_odd);
  bob_mark(p, (int)middle, right_odd);
  if (half > 1) return PL_OK;
  int status = PL_OK;
  for (int side = 0; side < 2; side++) {
    int at = begin + side;
    if (!(p->cell[at >> 6].odd >> (at & 63) & 1)) continue;
    int flipped = bob_flip(pub, f, pass ? cc_from(f->perm[pass], at) : at);
    if (flipped != PL_OK) status = flipped;
  }
  return status;
}

/* In a padded frame, splits where one half holds no key bit need no question. */
int bob_settle(const cc_public *pub, bob_frame *f) {
  for (int again = 1; again;) {
    again = 0;
    for (int i = 0; i < f->built; i++)
      for (int w = 0; w < f->words; w++)
        for (uint64_t x = f->pass[i].cell[w].odd; x; x &= x - 1) {
          int begin = w << 6 | __builtin_ctzll(x);
          if (!(f->pass[i].cell[w].odd & x & -x)) continue; /* a flip made it even meanwhile */
          int size = bob_block_size(f, &f->pass[i], begin), middle = begin + size / 2;
          if (size < 2) return PL_E_DATA;
          int left = bob_range_real(&f->pass[i], begin, middle);
          int right = bob_range_real(&f->pass[i], middle, begin + size);
          if (left && right) continue;
          int status = bob_split(pub, f, i, (unsigned)middle, left != 0);
          if (status != PL_OK) return status;
          again = 1;
        }
  }
  return PL_OK;
}
