/* The inner loops of Cascade, compiled once per instruction set: cascade_portable.c and
 * cascade_bmi2.c include this file with HOT(name) and HOT_TARGET defined, and these operations:
 * HOT_DEPOSIT(bits, places) and HOT_EXTRACT(bits, places) as PDEP and PEXT, and
 * HOT(transpose_slots), the transpose of a 64x64 matrix with rows i, i + HOT_ROWS, i + 2 HOT_ROWS
 * and so on side by side. All else is plain C, so that every build gives the same bits. */
#include "cascade_bob.h"

#define ONES (~(uint64_t)0)
enum { SPLITS = 32 };
#define INLINE HOT_TARGET static inline __attribute__((always_inline))

/* ---- permutation ---- */

/* For all rows i of a matrix, and the slots where they lie. */
#define EACH_ROW(i, slot)                                                        \
  for (int part_ = 0; part_ < 64 / HOT_ROWS; part_++)                            \
    for (int i = part_ * HOT_ROWS, slot = part_; slot < 64; i++, slot += 64 / HOT_ROWS)

/* Transposes a 64x64 matrix in place: bit c of word r becomes bit r of word c. */
HOT_TARGET void HOT(transpose)(uint64_t *m) {
  uint64_t x[64];
  EACH_ROW(i, slot) x[slot] = m[i];
  HOT(transpose_slots)(x);
  EACH_ROW(i, slot) m[i] = x[slot];
}

/* Frame order to pass order. */
HOT_TARGET void HOT(permute)(const cc_perm *p, int words, const uint64_t *restrict in,
                             uint64_t *restrict out) {
  uint64_t x[64];
  for (int g = 0; g < words; g += 64) {
    const uint16_t *from = p->from1 + g, *to = p->to2 + g;
    const uint8_t *rotate = p->rotate + g;
    EACH_ROW(i, slot) x[slot] = in[from[i]] << rotate[i] | in[from[i]] >> (-rotate[i] & 63);
    HOT(transpose_slots)(x);
    EACH_ROW(i, slot) out[to[i]] = x[slot];
  }
}

/* ---- random subsets ---- */

/* Bit j of the result: parity of x over random subset j. */
HOT_TARGET uint32_t HOT(subsets)(const cc_public *pub, int words, const uint64_t *restrict x) {
  uint64_t sum[CC_SUBSETS] = {0}, shift[CC_SUBSETS];
  uint32_t parities = 0;
  for (int j = 0; j < CC_SUBSETS; j++) shift[j] = 4 * (uint64_t)j;
  for (int w = 0; w < words; w++) {
    uint64_t bits = x[w], random = pub->random[w];
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
  for (int i = 0; i < count; i += 64) {
    int n = count - i < 64 ? count - i : 64;
    uint64_t parities = 0;
    for (int j = 0; j < n; j++) {
      unsigned middle = cc_get16(items + 2 * (i + j)), begin = middle & (middle - 1);
      uint64_t x = prefix[middle >> 6] >> (middle & 63) ^ prefix[begin >> 6] >> (begin & 63);
      parities |= (x & 1) << j;
    }
    cc_put_bits(out, parities, n);
  }
}

/* Parities of `length` positions, a power of two, at every multiple of 2^level, in order. */
HOT_TARGET void HOT(answer_all)(const uint64_t *prefix, int words, int level, int length,
                                cc_bits *out) {
  uint64_t at = bob_comb(level < 6 ? level : 6);
  for (int w = 0, stride = level > 6 ? 1 << (level - 6) : 1; w < words; w += stride) {
    uint64_t x = prefix[w], end = prefix[w + (length + 63) / 64];
    uint64_t moved = length < 64 ? x >> length | end << (64 - length) : end;
    cc_put_bits(out, HOT_EXTRACT(x ^ moved, at), level < 6 ? 64 >> level : 1);
  }
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

/* Position `at` of a pass was corrected: its block changes sides, and is queued when it is odd and
 * was not in a list; its level is left open. Not 0: it is a bit known to be right. It has no
 * unpredictable branch. */
INLINE uint64_t toggle(bob_pass *p, int at) {
  int begin = block_begin(p, at);
  bob_cell *c = &p->cell[begin >> 6];
  uint64_t bit = (uint64_t)1 << (begin & 63), odd = c->odd ^ bit;
  uint64_t wrong = odd & bit & (0xaaaaaaaaaaaaaaaau | c->bound >> 1);
  unsigned news = (unsigned)((odd & ~(odd >> 1)) >> (begin & 63)) & 1;
  c->odd = odd | (uint64_t)(news & !wrong) << 1 << (begin & 63);
  p->search[p->searches] = bob_new_search(begin, 0);
  p->searches += (int)news;
  return wrong;
}

/* Up to 2 SPLITS positions of pass `own` are known to be wrong: correct them, and update the other
 * passes and the subsets. own < 0: positions in frame order, and every pass is updated. */
HOT_TARGET int HOT(flip)(const cc_public *pub, bob_frame *f, int own, const uint16_t *at, int n) {
  uint16_t position[2 * SPLITS], there[2 * SPLITS];
  uint64_t wrong = 0;
  for (int i = 0; i < n; i++)
    position[i] = own > 0 ? (uint16_t)cc_from(f->perm[own], at[i]) : at[i];
  for (int i = 0; own >= 0 && i < n; i++)
    f->pass[own].key[at[i] >> 6] ^= (uint64_t)1 << (at[i] & 63);
  for (int j = 0; j < f->built; j++) {
    bob_pass *p = &f->pass[j];
    if (j == own) continue;
    for (int i = 0; i < n; i++) {
      there[i] = j ? (uint16_t)cc_to(f->perm[j], position[i]) : position[i];
      __builtin_prefetch(&p->cell[there[i] >> 6], 1);
      __builtin_prefetch(&p->key[there[i] >> 6], 1);
    }
    int fresh = p->searches;
    for (int i = 0; i < n; i++) {
      p->key[there[i] >> 6] ^= (uint64_t)1 << (there[i] & 63);
      wrong |= toggle(p, there[i]);
    }
    for (bob_search *s = p->search + fresh, *end = p->search + p->searches; s < end; s++)
      *s = bob_new_search(bob_begin(*s), block_level(p, f->words, bob_begin(*s)));
  }
  if (wrong) return PL_E_DATA; /* a bit known to be right has changed: parities contradict */
  f->errors += n;
  for (int i = 0; f->pass[0].real && i < n; i++)
    if (!bob_real(&f->pass[0], position[i], position[i] + 1)) return PL_E_DATA;
  for (int i = 0; f->stage == BOB_SUBSETS && i < n; i++) bob_flip_subsets(pub, f, position[i]);
  return PL_OK;
}

/* A block of two words and more, which begins at a word; see split. */
HOT_TARGET __attribute__((noinline)) static bob_search HOT(split_wide)(bob_pass *p, bob_search s,
                                                                       unsigned left_odd) {
  int begin = bob_begin(s), level = bob_level(s) - 1, middle = begin + (1 << level);
  bob_cell *left = &p->cell[begin >> 6], *right = &p->cell[middle >> 6];
  unsigned right_odd = (unsigned)(left->odd & 1) ^ left_odd, go_right = right_odd & ~left_odd;
  uint64_t change = right_odd | go_right << 1;
  p->starts[middle >> 12] |= (uint64_t)1 << (middle >> 6 & 63);
  right->bound |= 1;
  left->odd ^= change;
  right->odd ^= change;
  if (left_odd & right_odd) bob_queue(p, middle, level);
  return bob_new_search(go_right ? middle : begin, level);
}

/* The rare case of two odd halves: the lower one is searched first. */
HOT_TARGET __attribute__((noinline)) static int HOT(also_right)(bob_pass *p, bob_search s,
                                                                uint16_t *found) {
  int begin = bob_begin(s), level = bob_level(s);
  if (level) {
    bob_queue(p, begin + (1 << level), level);
    return 0;
  }
  found[0] = (uint16_t)begin;
  found[1] = (uint16_t)(begin + 1);
  return 2;
}

/* The next state of a search within one word, the most frequent case. A position that turns out to
 * be wrong is written to `found`. Bit 0 of `ends`: it is wrong, as at most one half is odd; bit 1:
 * both halves are odd. There is no branch on the answer. */
INLINE bob_search split_word(bob_cell *c, bob_search s, unsigned left_odd, uint16_t *found,
                             unsigned *ends) {
  unsigned begin = s & 0xffff, at = begin & 63, level = (s >> BOB_LEVEL) - 1;
  uint64_t odd = c->odd;
  unsigned whole = (unsigned)(odd >> at) & 1, right_odd = whole ^ left_odd;
  unsigned go_right = right_odd & ~left_odd;
  uint64_t change = (uint64_t)(right_odd + 2 * go_right) << at;
  uint64_t halved = odd ^ change ^ change << (1 << level);
  uint64_t ended = odd & ~((uint64_t)3 << at); /* of two positions; both known from now on */
  c->odd = level ? halved : ended;
  c->bound |= (uint64_t)1 << at << (1 << level);
  *found = (uint16_t)(begin + right_odd);
  *ends = (whole & (level == 0)) | (left_odd & right_odd) << 1;
  return s - (1u << BOB_LEVEL) + (go_right << level);
}

/* A search learns whether the lower half of its block is odd, and goes on in one of the halves;
 * the other is queued when both are odd. Positions that turn out to be wrong are written to
 * `found`; returns their number. */
HOT_TARGET int HOT(split)(bob_pass *p, int entry, unsigned left_odd, uint16_t found[2]) {
  bob_search *s = &p->search[entry];
  unsigned ends;
  if (bob_level(*s) > 6) {
    *s = HOT(split_wide)(p, *s, left_odd);
    return 0;
  }
  *s = split_word(&p->cell[bob_begin(*s) >> 6], *s, left_odd, found, &ends);
  return ends > 1 ? HOT(also_right)(p, *s, found) : (int)ends;
}

/* ---- Bob: answers ---- */

/* Bit i of the result: parity of x from i on, 2^level positions; of use at multiples of that. */
INLINE uint64_t fold(uint64_t x, int level) {
  for (int s = 1; s < 1 << level; s <<= 1) x ^= x >> s;
  return x;
}

/* Blocks of 2^level cut the pass, and all their parities come in order: which are odd? */
HOT_TARGET int HOT(compare)(bob_pass *p, int words, cc_reader *r) {
  int level = p->level, odd = 0;
  if (level > 6) {
    for (int begin = 0; begin < words * 64; begin += 1 << level) {
      p->cell[begin >> 6].odd = cc_next_bits(r, 1) ^ bob_parity(p->key, begin, 1 << level);
      odd += (int)p->cell[begin >> 6].odd;
    }
    return odd;
  }
  uint64_t at = bob_comb(level);
  for (int w = 0; w < words; w++) {
    uint64_t alice = HOT_DEPOSIT(cc_next_bits(r, 64 >> level), at);
    p->cell[w].odd = (fold(p->key[w], level) & at) ^ alice;
    odd += __builtin_popcountll(p->cell[w].odd);
  }
  return odd;
}

/* All blocks are halved, and all parities of the lower halves come in order. */
HOT_TARGET int HOT(halve)(bob_pass *p, int words, cc_reader *r) {
  int level = --p->level, odd = 0;
  if (level > 5) {
    for (int begin = 0, half = 1 << level; begin < words * 64; begin += 2 * half) {
      bob_cell *left = &p->cell[begin >> 6], *right = &p->cell[(begin + half) >> 6];
      uint64_t whole = left->odd;
      left->odd = cc_next_bits(r, 1) ^ bob_parity(p->key, begin, half);
      right->odd = whole ^ left->odd;
      bob_set_bound(p, begin + half);
      odd += (int)(left->odd + right->odd);
    }
    return odd;
  }
  uint64_t at = bob_comb(level + 1);
  for (int w = 0; w < words; w++) {
    bob_cell *c = &p->cell[w];
    uint64_t alice = HOT_DEPOSIT(cc_next_bits(r, 32 >> level), at);
    uint64_t left = (fold(p->key[w], level) & at) ^ alice;
    c->odd = left | (c->odd ^ left) << (1 << level);
    c->bound |= at << (1 << level);
    odd += __builtin_popcountll(c->odd);
  }
  return odd;
}

/* Answers to n searches from number `k` on; as split, but searches that end leave the list, which
 * grows at `*kept`. Returns how many positions were found. */
INLINE int split_some(bob_pass *p, int k, int n, uint64_t alice, bob_search **kept,
                      uint16_t *found) {
  const uint64_t *key = p->key;
  bob_cell *cell = p->cell;
  bob_search *to = *kept;
  uint16_t *wrong = found;
  for (const bob_search *from = p->search + k, *end = from + n; from < end; from++, alice >>= 1) {
    bob_search s = *from;
    unsigned w = (s & 0xffff) >> 6, level = s >> BOB_LEVEL, ends;
    if (level > 6) {
      unsigned left_odd = (alice & 1) ^ bob_parity(key, bob_begin(s), 1 << level >> 1);
      s = HOT(split_wide)(p, s, left_odd);
    } else {
      uint64_t half = key[w] >> (s & 63) & (ONES >> (64 - (1u << level >> 1)));
      unsigned left_odd = (alice & 1) ^ cc_parity(half);
      s = split_word(&cell[w], s, left_odd, wrong, &ends);
      wrong += ends & 1;
      if (__builtin_expect(ends > 1, 0)) wrong += HOT(also_right)(p, s, wrong);
    }
    *to = s;
    to += s >> BOB_LEVEL != 0;
  }
  *kept = to;
  return (int)(wrong - found);
}

/* The searches were asked about in their order. */
HOT_TARGET int HOT(hear_halves)(const cc_public *pub, bob_frame *f, int pass, int count,
                                cc_reader *r) {
  bob_pass *p = &f->pass[pass];
  uint16_t found[2 * SPLITS];
  bob_search *kept = p->search;
  for (int k = 0; k < count; k += SPLITS) {
    int n = count - k < SPLITS ? count - k : SPLITS;
    int wrong = split_some(p, k, n, cc_next_bits(r, n), &kept, found);
    /* which no other block of this pass depends on */
    if (wrong && HOT(flip)(pub, f, pass, found, wrong) != PL_OK) return PL_E_DATA;
  }
  p->ordered = (int)(kept - p->search);
  for (int k = count; k < p->searches; k++) *kept++ = p->search[k]; /* those that came meanwhile */
  p->searches = (int)(kept - p->search);
  return PL_OK;
}

/* The first searches of pass 0: all of one length, one error each, no other pass to update. */
HOT_TARGET void HOT(hear_first)(bob_frame *f, int count, cc_reader *r) {
  bob_pass *p = &f->pass[0];
  bob_search *restrict search = p->search;
  const uint64_t *restrict key = p->key;
  int level = --p->searching, half = 1 << level;
  for (int k = 0; k < count; k += SPLITS) {
    int n = count - k < SPLITS ? count - k : SPLITS;
    uint64_t alice = cc_next_bits(r, n);
    for (bob_search *s = search + k, *end = s + n; s < end; s++, alice >>= 1) {
      int begin = bob_begin(*s);
      unsigned same = (unsigned)(alice & 1) ^ bob_parity(key, begin, half) ^ 1;
      if (half >= 32) bob_set_bound(p, begin + half); /* the others at the end, all at once */
      *s += same << level;
    }
  }
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
  for (int w = 0; w < f->words; w++) p->cell[w].odd = 0;
  for (int k = 0; k < p->searches; k++) {
    int at = bob_begin(p->search[k]);
    p->key[at >> 6] ^= (uint64_t)1 << (at & 63);
    p->cell[at >> 6].bound |= table[at & 63];
  }
  f->errors += p->searches;
  p->searches = 0;
}

/* ---- Bob: requests ---- */

/* Moves the searches that go on to `to` and forgets those whose block became even. Returns their
 * number; `least` becomes the lowest level of all. */
INLINE int live(bob_cell *cell, const bob_search *from, int n, bob_search *to, unsigned *least) {
  unsigned low = *least;
  bob_search *next = to;
  for (int k = 0; k < n; k++) { /* an empty list may have no room at all: no address is made */
    bob_search s = from[k];
    bob_cell *c = &cell[(s & 0xffff) >> 6];
    if (c->odd >> (s & 63) & 1) {
      *next++ = s;
      low = s >> BOB_LEVEL < low ? s >> BOB_LEVEL : low;
    } else {
      c->odd &= ~((uint64_t)2 << (s & 63));
    }
  }
  *least = low;
  return (int)(next - to);
}

/* Write down the middles of the blocks of at most this level; the others are parked. */
INLINE int pick(bob_pass *p, unsigned most, uint8_t *restrict out) {
  bob_search *restrict search = p->search;
  int asked = 0;
  unsigned shortest = p->waiting ? p->shortest : NO_LEVEL;
  for (int k = 0, n = p->searches; k < n; k++) {
    bob_search s = search[k];
    unsigned level = s >> BOB_LEVEL;
    if (level <= most) {
      cc_put16(out + 2 * asked, s + (1u << level >> 1));
      search[asked++] = s;
    } else {
      p->parked[p->waiting++] = s;
      shortest = level < shortest ? level : shortest;
    }
  }
  p->searches = asked;
  p->shortest = shortest;
  return asked;
}

/* The frame's part of a request: odd blocks up to 2^spread times as long as the shortest one.
 * Returns the number of questions; the searches that remain in the lists have been requested. */
HOT_TARGET int HOT(ask)(bob_frame *f, unsigned spread, uint8_t *out, size_t *size) {
  unsigned least = NO_LEVEL;
  int asked = 0;
  uint8_t *at = out;
  for (int i = 0; i < f->built; i++) {
    bob_pass *p = &f->pass[i];
    p->searches = live(p->cell, p->search, p->searches, p->search, &least);
  }
  for (int i = 0; i < f->built; i++) {
    bob_pass *p = &f->pass[i];
    if (!p->waiting || p->shortest > least + spread) continue;
    p->searches += live(p->cell, p->parked, p->waiting, p->search + p->searches, &least);
    p->waiting = 0;
  }
  for (int i = 0; i < f->built; i++) {
    int count = pick(&f->pass[i], least + spread, at + CC_HEADER);
    if (!count) continue;
    cc_put_header(at, f->index, i, CC_OP_HALVES, 0, count);
    at += CC_HEADER + 2 * count;
    asked += count;
  }
  *size = (size_t)(at - out);
  return asked;
}

const cc_kernels HOT(kernels) = {
    HOT(transpose),  HOT(permute),   HOT(subsets), HOT(answer), HOT(answer_all),
    HOT(flip),       HOT(split),     HOT(compare), HOT(halve),  HOT(hear_halves),
    HOT(hear_first), HOT(end_first), HOT(ask)};
