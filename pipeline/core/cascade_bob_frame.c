/* One frame at Bob: known blocks, corrections, and what a correction does to the other passes. */
#include <stdlib.h>

#include "cascade_bob.h"

#define ONES (~(uint64_t)0)

static uint64_t low_bits(int n) { return ((uint64_t)1 << n) - 1; } /* n < 64 */

int bob_make_room(bob_pass *p, int more) {
  if (p->searches + more <= p->capacity) return PL_OK;
  int capacity = 2 * (p->searches + more);
  bob_search *grown = realloc(p->search, (size_t)capacity * sizeof *grown);
  if (!grown) return PL_E_MEMORY;
  p->search = grown;
  p->capacity = capacity;
  return PL_OK;
}

unsigned bob_parity(const bob_pass *p, int begin, int end) {
  if (end - begin < 64)
    return cc_parity(p->cell[begin >> 6].key >> (begin & 63) & low_bits(end - begin));
  uint64_t sum = 0;
  for (int w = begin >> 6; w < end >> 6; w++) sum ^= p->cell[w].key;
  return cc_parity(sum);
}

int bob_real(const bob_pass *p, int begin, int end) {
  if (!p->real) return 1;
  if (end - begin < 64) return (p->real[begin >> 6] >> (begin & 63) & low_bits(end - begin)) != 0;
  uint64_t any = 0;
  for (int w = begin >> 6; w < end >> 6; w++) any |= p->real[w];
  return any != 0;
}

unsigned bob_subset_parity(const cc_public *pub, const bob_frame *f, int subset, int begin,
                           int end) {
  const bob_cell *cell = f->pass[0].cell;
  if (end - begin < 64)
    return cc_parity((cell[begin >> 6].key & cc_subset(pub, subset, begin >> 6)) >> (begin & 63) &
                     low_bits(end - begin));
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

void bob_queue(bob_pass *p, int begin, int level) {
  p->cell[begin >> 6].queued |= (uint64_t)1 << (begin & 63);
  p->search[p->searches++] = (bob_search){(uint16_t)begin, (uint8_t)level};
}

static int block_begin(const bob_pass *p, int position) {
  uint64_t x = p->cell[position >> 6].bound & (ONES >> (63 - (position & 63)));
  if (x) return (position & ~63) | (63 - __builtin_clzll(x));
  int word = position >> 6, u = word >> 6;
  x = p->starts[u] & (ONES >> (63 - (word & 63)));
  while (!x) x = p->starts[--u]; /* word 0 always begins a block */
  return u << 12 | (63 - __builtin_clzll(x)) << 6;
}

/* log2 of the length of the block that begins here. */
static int block_level(const bob_frame *f, const bob_pass *p, int begin) {
  uint64_t x = p->cell[begin >> 6].bound >> (begin & 63) >> 1;
  if (x) return __builtin_ctz((unsigned)__builtin_ctzll(x) + 1);
  int word = (begin >> 6) + 1, units = f->words >> 6, u = word >> 6, end = f->words << 6;
  if (u < units) {
    x = p->starts[u] >> (word & 63) << (word & 63);
    while (!x && ++u < units) x = p->starts[u];
    if (x) end = u << 12 | __builtin_ctzll(x) << 6;
  }
  return __builtin_ctz((unsigned)(end - begin));
}

/* Position `at` of a pass was corrected: its block changes sides. */
static int toggle(const bob_frame *f, bob_pass *p, int at) {
  int begin = block_begin(p, at);
  bob_cell *c = &p->cell[begin >> 6];
  uint64_t bit = (uint64_t)1 << (begin & 63);
  c->odd ^= bit;
  if (!(c->odd & bit) || c->queued & bit) return PL_OK;
  int level = block_level(f, p, begin);
  if (level == 0) return PL_E_DATA; /* a bit known to be right has changed: parities contradict */
  bob_queue(p, begin, level);
  return PL_OK;
}

/* Correct one position (in frame order) and tell every pass and subset. */
int bob_flip(const cc_public *pub, bob_frame *f, int position) {
  int status = bob_real(&f->pass[0], position, position + 1) ? PL_OK : PL_E_DATA;
  for (int i = 0; i < f->built; i++) {
    bob_pass *p = &f->pass[i];
    int at = i ? cc_to(f->perm[i], position) : position;
    p->cell[at >> 6].key ^= (uint64_t)1 << (at & 63);
    if (f->waiting && i == f->built - 1) continue;
    if (toggle(f, p, at) != PL_OK) status = PL_E_DATA;
  }
  f->errors++;
  if (f->stage != BOB_SUBSETS) return status;
  for (int j = 0; j < CC_SUBSETS; j++) {
    unsigned in = (unsigned)(cc_subset(pub, j, position >> 6) >> (position & 63)) & 1;
    f->subset_odd ^= (uint32_t)in << j;
    if (j == f->subset && position >> f->level == f->begin >> f->level) f->odd ^= (int)in;
  }
  return status;
}

static int flip_in(const cc_public *pub, bob_frame *f, int pass, int at) {
  return bob_flip(pub, f, pass ? cc_from(f->perm[pass], at) : at);
}

/* Search number `entry` of a pass learns whether the lower half of its block is odd. */
int bob_split(const cc_public *pub, bob_frame *f, int pass, int entry, unsigned left_odd) {
  bob_pass *p = &f->pass[pass];
  int begin = p->search[entry].begin, level = p->search[entry].level - 1;
  int middle = begin + (1 << level);
  bob_cell *left = &p->cell[begin >> 6], *right = &p->cell[middle >> 6];
  uint64_t left_bit = (uint64_t)1 << (begin & 63), right_bit = (uint64_t)1 << (middle & 63);
  unsigned whole = (left->odd & left_bit) != 0, right_odd = whole ^ left_odd;
  bob_set_bound(p, middle);
  left->odd = left_odd ? left->odd | left_bit : left->odd & ~left_bit;
  right->odd = right_odd ? right->odd | right_bit : right->odd & ~right_bit;
  p->search[entry].level = (uint8_t)level;
  if (level == 0) { /* single positions: an odd one is an error */
    left->queued &= ~left_bit;
    int status = left_odd ? flip_in(pub, f, pass, begin) : PL_OK;
    return right_odd && status == PL_OK ? flip_in(pub, f, pass, middle) : status;
  }
  if (!right_odd) return PL_OK;
  if (left_odd) {
    bob_queue(p, middle, level);
    return PL_OK;
  }
  left->queued &= ~left_bit;
  right->queued |= right_bit;
  p->search[entry].begin = (uint16_t)middle;
  return PL_OK;
}
