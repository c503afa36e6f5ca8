/* The inner loops of Cascade, compiled once per instruction set: cascade_portable.c and
 * cascade_bmi2.c include this file with HOT(name) and HOT_TARGET defined. Plain C throughout, so
 * every build gives the same bits. */
#include "cascade_bob.h"

#define ONES (~(uint64_t)0)
#define INLINE HOT_TARGET static inline __attribute__((always_inline))

/* ---- permutation ---- */

INLINE void swap_bits(uint64_t *low, uint64_t *high, int shift, uint64_t mask) {
  uint64_t t = (*low >> shift ^ *high) & mask;
  *low ^= t << shift;
  *high ^= t;
}

/* Rows 4 i .. 4 i + 3 of a 64x64 matrix: exchange what belongs to their neighbours. */
INLINE void transpose_four(uint64_t *row) {
  const uint64_t ones = 0x5555555555555555u, twos = 0x3333333333333333u;
  swap_bits(&row[0], &row[1], 1, ones);
  swap_bits(&row[2], &row[3], 1, ones);
  swap_bits(&row[0], &row[2], 2, twos);
  swap_bits(&row[1], &row[3], 2, twos);
}

/* The rest of the transpose; the inner loops are vectors. */
INLINE void transpose_rest(uint64_t *restrict m) {
  for (int k = 0; k < 64; k += 8)
    for (int i = 0; i < 4; i++) swap_bits(&m[k + i], &m[k + i + 4], 4, 0x0f0f0f0f0f0f0f0fu);
  for (int k = 0; k < 64; k += 16)
    for (int i = 0; i < 8; i++) swap_bits(&m[k + i], &m[k + i + 8], 8, 0x00ff00ff00ff00ffu);
  for (int k = 0; k < 64; k += 32)
    for (int i = 0; i < 16; i++) swap_bits(&m[k + i], &m[k + i + 16], 16, 0x0000ffff0000ffffu);
  for (int i = 0; i < 32; i++) swap_bits(&m[i], &m[i + 32], 32, 0x00000000ffffffffu);
}

/* Transposes a 64x64 matrix in place: bit c of word r becomes bit r of word c. */
HOT_TARGET void HOT(transpose)(uint64_t *m) {
  for (int k = 0; k < 64; k += 4) transpose_four(m + k);
  transpose_rest(m);
}

/* Frame order to pass order; both have their words `stride` words apart. scratch: 64 words. */
HOT_TARGET void HOT(permute)(const cc_perm *p, int words, const uint64_t *restrict in,
                             uint64_t *restrict out, int stride, uint64_t *restrict scratch) {
  for (int g = 0; g < words; g += 64) {
    for (int k = 0; k < 64; k += 4) {
      for (int i = 0; i < 4; i++) {
        uint64_t x = in[p->from1[g + k + i] * stride];
        int turn = p->rotate[g + k + i];
        scratch[k + i] = x << turn | x >> (-turn & 63);
      }
      transpose_four(scratch + k);
    }
    transpose_rest(scratch);
    for (int i = 0; i < 64; i++) out[p->to2[g + i] * stride] = scratch[i];
  }
}

/* ---- random subsets ---- */

/* Bit j of the result: parity of x over random subset j. */
HOT_TARGET uint32_t HOT(subsets)(const cc_public *pub, int words, const uint64_t *restrict x,
                                 int stride) {
  uint64_t sum[CC_SUBSETS] = {0}, shift[CC_SUBSETS];
  uint32_t parities = 0;
  for (int j = 0; j < CC_SUBSETS; j++) shift[j] = 4 * (uint64_t)j;
  for (int w = 0; w < words; w++) {
    uint64_t bits = x[w * stride], random = pub->random[w];
    for (int j = 0; j < CC_SUBSETS; j++)
      sum[j] ^= bits & (random << shift[j] | random >> (-shift[j] & 63));
  }
  for (int j = 0; j < CC_SUBSETS; j++) parities |= cc_parity(sum[j]) << j;
  return parities;
}

/* ---- Alice ---- */

/* Parities of the listed halves, 64 to a word, from the parities of all prefixes. */
HOT_TARGET void HOT(answer)(const uint64_t *restrict prefix, const uint8_t *restrict items,
                            int count, cc_bits *out) {
  cc_bits w = *out;
  for (int i = 0; i < count; i++) {
    unsigned middle = cc_get16(items + 2 * i), begin = middle & (middle - 1);
    cc_put_bit(&w, prefix[middle >> 6] >> (middle & 63) ^ prefix[begin >> 6] >> (begin & 63));
  }
  *out = w;
}

/* ---- Bob: blocks ---- */

INLINE int block_begin(const bob_pass *p, int position) {
  uint64_t x = p->cell[position >> 6].bound & (ONES >> (63 - (position & 63)));
  if (x) return (position & ~63) | (63 - __builtin_clzll(x));
  int word = position >> 6, u = word >> 6;
  x = p->starts[u] & (ONES >> (63 - (word & 63)));
  while (!x) x = p->starts[--u]; /* word 0 always begins a block */
  return u << 12 | (63 - __builtin_clzll(x)) << 6;
}

/* log2 of the length of the block that begins here. */
INLINE int block_level(const bob_pass *p, int words, int begin) {
  uint64_t x = p->cell[begin >> 6].bound >> (begin & 63) >> 1;
  if (x) return __builtin_ctz((unsigned)__builtin_ctzll(x) + 1);
  int word = (begin >> 6) + 1, units = words >> 6, u = word >> 6, end = words << 6;
  if (u < units) {
    x = p->starts[u] >> (word & 63) << (word & 63);
    while (!x && ++u < units) x = p->starts[u];
    if (x) end = u << 12 | __builtin_ctzll(x) << 6;
  }
  return __builtin_ctz((unsigned)(end - begin));
}

/* Position `at` of a pass was corrected: its block changes sides. */
INLINE int toggle(bob_pass *p, int words, int at) {
  int begin = block_begin(p, at);
  bob_cell *c = &p->cell[begin >> 6];
  uint64_t bit = (uint64_t)1 << (begin & 63);
  c->odd ^= bit;
  if (!(c->odd & ~c->queued & bit)) return PL_OK;
  int level = block_level(p, words, begin);
  if (level == 0) return PL_E_DATA; /* a bit known to be right has changed: parities contradict */
  bob_queue(p, begin, level);
  return PL_OK;
}

/* Position `at` of pass `own` is wrong and known to be: correct it, and tell the other passes
 * and the subsets. own < 0: `at` is in frame order and every pass is told. */
HOT_TARGET int HOT(flip)(const cc_public *pub, bob_frame *f, int own, int at) {
  int position = own > 0 ? cc_from(f->perm[own], at) : at;
  int status = bob_real(&f->pass[0], position, position + 1) ? PL_OK : PL_E_DATA;
  if (own >= 0) f->pass[own].cell[at >> 6].key ^= (uint64_t)1 << (at & 63);
  for (int i = 0; i < f->built; i++) {
    if (i == own) continue;
    bob_pass *p = &f->pass[i];
    int there = i ? cc_to(f->perm[i], position) : position;
    p->cell[there >> 6].key ^= (uint64_t)1 << (there & 63);
    if (toggle(p, f->words, there) != PL_OK) status = PL_E_DATA;
  }
  f->errors++;
  if (f->stage == BOB_SUBSETS) bob_flip_subsets(pub, f, position);
  return status;
}

/* A block of two positions: the one that differs (both, when the block became even) is an error. */
INLINE int split_pair(const cc_public *pub, bob_frame *f, int pass, int begin, unsigned left_odd) {
  bob_cell *c = &f->pass[pass].cell[begin >> 6];
  uint64_t bit = (uint64_t)1 << (begin & 63);
  unsigned right_odd = (unsigned)(c->odd >> (begin & 63) & 1) ^ left_odd;
  c->bound |= bit << 1;
  c->odd &= ~bit;
  c->queued &= ~bit;
  if (left_odd ^ right_odd) return HOT(flip)(pub, f, pass, begin + (int)right_odd);
  if (!left_odd) return PL_OK;
  int status = HOT(flip)(pub, f, pass, begin);
  return status == PL_OK ? HOT(flip)(pub, f, pass, begin + 1) : status;
}

/* Search number `entry` of a pass learns whether the lower half of its block is odd. No branch
 * here depends on the answer but for the last step: answers cannot be predicted. */
INLINE int split(const cc_public *pub, bob_frame *f, int pass, int entry, unsigned left_odd) {
  bob_pass *p = &f->pass[pass];
  bob_search *s = &p->search[entry];
  int begin = s->begin, level = --s->level, half = 1 << level, middle = begin + half;
  if (level == 0) return split_pair(pub, f, pass, begin, left_odd);
  bob_cell *left = &p->cell[begin >> 6], *right = left;
  uint64_t left_bit = (uint64_t)1 << (begin & 63), right_bit = left_bit << (half & 63);
  unsigned right_odd = (unsigned)(left->odd >> (begin & 63) & 1) ^ left_odd;
  unsigned go_right = right_odd & ~left_odd;
  if (half >= 64) {
    right = &p->cell[middle >> 6];
    p->starts[middle >> 12] |= (uint64_t)1 << (middle >> 6 & 63);
  }
  right->bound |= right_bit;
  left->odd ^= left_bit & -(uint64_t)right_odd;
  right->odd ^= right_bit & -(uint64_t)right_odd;
  left->queued ^= left_bit & -(uint64_t)go_right;
  right->queued ^= right_bit & -(uint64_t)go_right;
  s->begin = (uint16_t)(begin + (int)(go_right << level));
  if (left_odd & right_odd) bob_queue(p, middle, level);
  return PL_OK;
}

HOT_TARGET int HOT(split_search)(const cc_public *pub, bob_frame *f, int pass, int entry,
                                 unsigned left_odd) {
  return split(pub, f, pass, entry, left_odd);
}

/* ---- Bob: answers to halves ---- */

HOT_TARGET int HOT(hear_halves)(const cc_public *pub, bob_frame *f, int pass, int count,
                                cc_reader *r) {
  bob_pass *p = &f->pass[pass];
  int status = PL_OK;
  for (int k = 0; k < count && status == PL_OK; k++) {
    int begin = p->search[k].begin, half = 1 << p->search[k].level >> 1;
    status = split(pub, f, pass, k, cc_next_bit(r) ^ bob_parity(p->cell, begin, half));
  }
  return status;
}

/* The first searches of pass 0: all of one length, one error each, nobody to tell. */
HOT_TARGET void HOT(hear_first)(bob_frame *f, int count, cc_reader *r) {
  bob_pass *p = &f->pass[0];
  bob_search *restrict search = p->search;
  bob_cell *restrict cell = p->cell;
  int level = --p->searching, half = 1 << level;
  cc_reader bits = *r;
  for (int k = 0; k < count; k++) {
    int begin = search[k].begin;
    unsigned same = cc_next_bit(&bits) ^ bob_parity(cell, begin, half) ^ 1;
    if (half >= 32) bob_set_bound(p, begin + half); /* the others at the end, all at once */
    search[k].begin = (uint16_t)(begin + (int)(same << level));
  }
  *r = bits;
}

/* Where the halvings below 64 positions cut, on the way to one position of a word. */
INLINE uint64_t cuts_to(int at) {
  uint64_t cuts = 0;
  for (int l = 0; l < 5; l++) cuts |= (uint64_t)1 << ((at & ~((2 << l) - 1)) + (1 << l));
  return cuts;
}

HOT_TARGET void HOT(end_first)(bob_frame *f) {
  bob_pass *p = &f->pass[0];
  int span = 1 << (p->level < 6 ? p->level : 6);
  uint64_t table[64];
  for (int at = 0; at < 64; at++)
    table[at] = cuts_to(at) & (span == 64 ? ONES : bob_low_bits(span) << (at & ~(span - 1)));
  for (int w = 0; w < f->words; w++) p->cell[w].odd = p->cell[w].queued = 0;
  for (int k = 0; k < p->searches; k++) {
    int at = p->search[k].begin;
    p->cell[at >> 6].key ^= (uint64_t)1 << (at & 63);
    p->cell[at >> 6].bound |= table[at & 63];
  }
  f->errors += p->searches;
  p->searches = p->asked = 0;
}

/* ---- Bob: what to ask ---- */

/* Forget searches that ended or whose block became even; returns the lowest level left. */
HOT_TARGET int HOT(sweep)(bob_pass *p, int least) {
  bob_search *search = p->search;
  int kept = 0, n = p->searches;
  for (int k = 0; k < n; k++) {
    bob_search s = search[k];
    if (s.level == 0) continue;
    bob_cell *c = &p->cell[s.begin >> 6];
    if (!(c->odd >> (s.begin & 63) & 1)) {
      c->queued &= ~((uint64_t)1 << (s.begin & 63));
      continue;
    }
    search[kept++] = s;
    least = s.level < least ? s.level : least;
  }
  p->searches = kept;
  p->asked = 0;
  return least;
}

/* Move the searches of at most this level to the front and write their middles down. */
HOT_TARGET int HOT(pick)(bob_search *restrict search, int n, int most, uint8_t *restrict out) {
  int asked = 0;
  for (int k = 0; k < n; k++) {
    bob_search s = search[k];
    if (s.level > most) continue;
    cc_put16(out + 2 * asked, (unsigned)s.begin + (1u << s.level >> 1));
    search[k] = search[asked];
    search[asked++] = s;
  }
  return asked;
}

const cc_kernels HOT(kernels) = {
    HOT(transpose),    HOT(permute),     HOT(subsets),    HOT(answer),    HOT(flip),
    HOT(split_search), HOT(hear_halves), HOT(hear_first), HOT(end_first), HOT(sweep),
    HOT(pick)};
