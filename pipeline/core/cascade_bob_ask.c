/* Bob's next request about one frame. */
#include <math.h>
#include <stdlib.h>

#include "cascade_bob.h"

/* Only blocks up to 2^spread times the shortest odd one are requested in a round: a long search is
 * likely to end at an error that a short one will find sooner. */
typedef struct {
  double second; /* blocks of pass 1, in expected errors */
  int third;     /* of pass 2: level */
  unsigned spread;
} strategy;

/* docs/cascade.md has the costs. Where blocks of 64 give little more information than those of 128,
 * searches that stay in one word are worthwhile. Fewer rounds: short blocks in all passes, nearly
 * everything at the same time; but not at rates where parities cost too much of the key. */
static const strategy *strategy_of(const pl_cascade_bob *bob, const bob_frame *f) {
  static const strategy usual = {7, CC_MAX_LEVEL, 3}, in_a_word = {4, CC_MAX_LEVEL, 1};
  static const strategy few_rounds = {1.4, 10, 6}, fewer_rounds = {3.5, CC_MAX_LEVEL, 4};
  if (bob->fewer_rounds) return f->density < 0.06 ? &few_rounds : &fewer_rounds;
  return f->density >= 0.045 && f->density < 0.077 ? &in_a_word : &usual;
}

static int reserve(pl_cascade_bob *bob, size_t more) {
  size_t need = bob->request_size + more;
  if (need <= bob->request_capacity) return PL_OK;
  uint8_t *grown = realloc(bob->request, 2 * need);
  if (!grown) return PL_E_MEMORY;
  bob->request = grown;
  bob->request_capacity = 2 * need;
  return PL_OK;
}

/* A group is a header and, after it, those items that have been put. */
static void put_item(pl_cascade_bob *bob, int item) {
  cc_put16(bob->request + bob->request_size, (unsigned)item);
  bob->request_size += 2;
}

static size_t begin_group(pl_cascade_bob *bob) {
  size_t start = bob->request_size;
  bob->request_size += CC_HEADER;
  return start;
}

static void end_group(pl_cascade_bob *bob, size_t start, const bob_frame *f, int what, int op,
                      int level, int count) {
  if (!count) {
    bob->request_size = start;
    return;
  }
  cc_put_header(bob->request + start, f->index, what, op, level, count);
  bob->request_bits += count;
}

/* Block lengths: the first near 0.73 / density (the requests start one level higher, and the
 * measured rate decides, see bob_start_searches), the others by the strategy. */
static int level_for(const pl_cascade_bob *bob, int pass, const bob_frame *f) {
  const strategy *how = strategy_of(bob, f);
  if (pass == 2) return how->third;
  double errors = pass ? how->second : 0.73;
  int level = (int)lround(log2(errors / f->density)) + !pass;
  int least = CC_MIN_LEVEL + (pass ? 2 : 1), most = pass ? 11 : 9;
  return level < least ? least : level > most ? most : level;
}

static int ask_blocks(pl_cascade_bob *bob, bob_frame *f, int pass) {
  const bob_pass *p = &f->pass[pass];
  int level = level_for(bob, pass, f), blocks = f->words * 64 >> level, count = 0;
  bob_cut(f, pass, level);
  if (reserve(bob, CC_HEADER + 2 * (size_t)blocks) != PL_OK) return PL_E_MEMORY;
  size_t start = begin_group(bob);
  if (!p->real) {
    end_group(bob, start, f, pass, CC_OP_BLOCKS, level, blocks);
    return PL_OK;
  }
  for (int b = 0; b < blocks; b++)
    if (bob_real(p, b << level, (b + 1) << level)) put_item(bob, b), count++;
  end_group(bob, start, f, pass, CC_OP_LISTED, level, count);
  return PL_OK;
}

static int ask_next_pass(pl_cascade_bob *bob, bob_frame *f) {
  int pass = f->built++;
  bob_pass *first = &f->pass[0], *p = &f->pass[pass];
  f->perm[pass] = cc_perm_of(&bob->pub, f->index, pass);
  bob->pub.kernels->permute(f->perm[pass], f->words, first->key, p->key);
  if (p->real)
    bob->pub.kernels->permute(f->perm[pass], f->words, first->real, p->real);
  return ask_blocks(bob, f, pass);
}

/* Halve every block of pass 0: lower halves are requested, unless one half has no key bit. Returns
 * the number of requested parities. */
static int ask_refine(pl_cascade_bob *bob, bob_frame *f) {
  const bob_pass *p = &f->pass[0];
  int level = p->level, blocks = f->words * 64 >> level, count = 0;
  if (reserve(bob, CC_HEADER + 2 * (size_t)blocks) != PL_OK) return PL_E_MEMORY;
  size_t start = begin_group(bob);
  if (!p->real) {
    end_group(bob, start, f, 0, CC_OP_LOWER, level, blocks);
    return blocks;
  }
  for (int b = 0; b < blocks; b++) {
    int begin = b << level, middle = begin + (1 << (level - 1));
    if (bob_real(p, begin, middle) && bob_real(p, middle, begin + (1 << level)))
      put_item(bob, middle), count++;
  }
  end_group(bob, start, f, 0, CC_OP_HALVES, 0, count);
  return count;
}

/* In a padded frame, splits where one half holds no key bit need no question. */
static int settle(const cc_public *pub, bob_frame *f) {
  for (int again = 1; again;) {
    again = 0;
    for (int i = 0; i < f->built; i++)
      for (int k = 0; k < f->pass[i].searches; k++) {
        bob_pass *p = &f->pass[i];
        int begin = bob_begin(p->search[k]), half = 1 << bob_level(p->search[k]) >> 1;
        if (!half || !bob_is_odd(p, begin)) continue;
        int left = bob_real(p, begin, begin + half);
        if (left && bob_real(p, begin + half, begin + 2 * half)) continue;
        for (int j = 0; j < f->built; j++)
          if (bob_make_room(&f->pass[j], 3) != PL_OK) return PL_E_MEMORY;
        uint16_t found[2];
        int n = pub->kernels->split(p, k, left != 0, found);
        if (!bob_level(p->search[k])) p->search[k] = p->search[--p->searches];
        if (n && (n = pub->kernels->flip(pub, f, i, found, n)) != PL_OK) return n;
        again = 1;
        k--; /* the rest of the block */
      }
  }
  return PL_OK;
}

static int ask_first(pl_cascade_bob *bob, bob_frame *f) {
  bob_pass *p = &f->pass[0];
  if (reserve(bob, CC_HEADER + 2 * (size_t)p->searches) != PL_OK) return PL_E_MEMORY;
  size_t start = begin_group(bob);
  for (int k = 0, half = 1 << p->searching >> 1; k < p->searches; k++)
    put_item(bob, bob_begin(p->search[k]) + half);
  end_group(bob, start, f, 0, CC_OP_HALVES, 0, p->searches);
  return PL_OK;
}

/* Searches in the order of their cells' cache lines. With many frames in flight cells and keys come
 * from memory in every round, three times as fast forwards as at random. */
static void order(bob_pass *p) {
  enum { LINE = 8, LINES = CC_MAX_WORDS * 64 >> LINE, LEAST = 32, MOST = 1024 };
  uint16_t place[LINES + 1] = {0};
  bob_search ordered[MOST];
  int n = p->searches, fresh = n - p->ordered;
  if (n > MOST || fresh < LEAST || fresh * 4 < n) return;
  for (int k = 0; k < n; k++) place[(bob_begin(p->search[k]) >> LINE) + 1]++;
  for (int k = 1; k < LINES; k++) place[k] = (uint16_t)(place[k] + place[k - 1]);
  for (int k = 0; k < n; k++) ordered[place[bob_begin(p->search[k]) >> LINE]++] = p->search[k];
  memcpy(p->search, ordered, (size_t)n * sizeof *ordered);
}

/* Returns 1 when a parity was requested, 0 when no block is odd. */
static int ask_searches(pl_cascade_bob *bob, bob_frame *f) {
  if (f->pass[0].real) {
    int status = settle(&bob->pub, f);
    if (status != PL_OK) return status;
  }
  size_t room = 0;
  for (int i = 0; i < f->built; i++)
    room += CC_HEADER + 2 * (size_t)(f->pass[i].searches + f->pass[i].waiting);
  if (reserve(bob, room) != PL_OK) return PL_E_MEMORY;
  for (int i = 0; bob->fewer_rounds && i < f->built; i++) order(&f->pass[i]);
  int asked = bob->pub.kernels->ask(f, strategy_of(bob, f)->spread,
                                    bob->request + bob->request_size, &room);
  bob->request_size += room;
  bob->request_bits += asked;
  return asked != 0;
}

/* One search at a time, as long as a random subset differs. */
static int ask_subset_half(pl_cascade_bob *bob, bob_frame *f) {
  if (f->subset < 0 || !f->odd) {
    f->subset = -1;
    if (!f->subset_odd || f->tries++ >= BOB_MAX_TRIES) {
      f->stage = BOB_DONE;
      return PL_OK;
    }
    f->subset = __builtin_ctz(f->subset_odd);
    f->begin = 0;
    f->level = 16;
    f->odd = 1;
  }
  while (f->begin + (1 << (f->level - 1)) >= f->words * 64)
    f->level--; /* the upper half lies beyond the frame */
  size_t start = begin_group(bob);
  put_item(bob, f->begin + (1 << (f->level - 1)));
  end_group(bob, start, f, CC_SUBSET_BASE + f->subset, CC_OP_HALVES, 0, 1);
  return PL_OK;
}

int bob_ask(pl_cascade_bob *bob, bob_frame *f) {
  if (reserve(bob, CC_HEADER + 2) != PL_OK) return PL_E_MEMORY;
  if (f->stage == BOB_TOP) return ask_blocks(bob, f, 0);
  while (f->stage == BOB_MEASURED) {
    int status = bob_start_searches(bob, f);
    if (status != PL_OK) return status;
    if (f->stage != BOB_REFINE) break;
    int asked = ask_refine(bob, f);
    if (asked) return asked < 0 ? asked : PL_OK;
    status = bob_refine(f, 0, NULL, NULL); /* one half of each block is padding */
    if (status != PL_OK) return status;
  }
  if (f->stage == BOB_FIRST) return ask_first(bob, f);
  int asked = ask_searches(bob, f);
  if (asked) return asked < 0 ? asked : PL_OK;
  if (f->built < CC_PASSES) return ask_next_pass(bob, f);
  if (f->stage == BOB_SUBSETS) return ask_subset_half(bob, f);
  f->stage = BOB_SUBSETS;
  end_group(bob, begin_group(bob), f, CC_SUBSET_BASE, CC_OP_SUBSETS, 0, CC_SUBSETS);
  return PL_OK;
}
