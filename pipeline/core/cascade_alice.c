/* Alice's end of Cascade: answers questions about parities of her key, counts every bit that
 * leaves, and believes nothing the other end says. */
#include <stdlib.h>
#include <string.h>

#include "cascade.h"
#include "secret.h"

typedef struct {
  int words;
  uint64_t *plain;              /* the frame itself, for the random subsets */
  uint64_t *prefix[CC_PASSES];  /* bit i: parity of the first i bits in that pass's order */
} alice_frame;

struct pl_cascade_alice {
  cc_public pub;
  int64_t cap, leak, rounds;
  uint64_t *store; /* everything secret, in one piece */
  size_t store_words;
  alice_frame frame[];
};

/* out[w] bit b = parity of all bits before position 64 w + b; out[words] bit 0 = of all. */
static void prefix_parity(int words, const uint64_t *in, uint64_t *out) {
  uint64_t carry = 0;
  for (int w = 0; w < words; w++) {
    uint64_t x = in[w];
    x ^= x << 1;
    x ^= x << 2;
    x ^= x << 4;
    x ^= x << 8;
    x ^= x << 16;
    x ^= x << 32;
    out[w] = x << 1 ^ carry;
    carry ^= -(x >> 63);
  }
  out[words] = carry & 1;
}

void pl_cascade_alice_free(pl_cascade_alice *alice) {
  if (!alice) return;
  pl_locked_free(alice->store, alice->store_words * 8);
  free(alice);
}

static size_t words_needed(const cc_layout *l, int frame) {
  return (size_t)cc_frame_units(l, frame) * CC_UNIT_WORDS * (CC_PASSES + 1) + CC_PASSES;
}

static void load_frames(pl_cascade_alice *alice, const uint8_t *key) {
  const cc_layout *l = &alice->pub.layout;
  uint64_t *permuted = alice->store, *next = permuted + CC_MAX_WORDS;
  for (int f = 0; f < l->frames; f++) {
    alice_frame *frame = &alice->frame[f];
    frame->words = cc_frame_units(l, f) * CC_UNIT_WORDS;
    frame->plain = next;
    next += frame->words;
    cc_frame_load(l, f, key, frame->plain);
    for (int pass = 0; pass < CC_PASSES; pass++) {
      const uint64_t *source = frame->plain;
      if (pass) {
        cc_permute(cc_perm_of(&alice->pub, f, pass), frame->words, frame->plain, permuted, 1);
        source = permuted;
      }
      frame->prefix[pass] = next;
      next += frame->words + 1;
      prefix_parity(frame->words, source, frame->prefix[pass]);
    }
  }
  explicit_bzero(permuted, CC_MAX_WORDS * sizeof *permuted);
}

int pl_cascade_alice_new(pl_cascade_alice **out, const pl_secret *key, const uint8_t *seed,
                         int64_t leak_cap) {
  *out = NULL;
  const uint8_t *bytes = pl_secret_bytes(key);
  if (!bytes) return PL_E_STATE;
  int64_t bits = pl_secret_bits(key);
  if (bits < 1 || bits > PL_CASCADE_MAX_BITS || leak_cap < 0) return PL_E_ARGUMENT;
  pl_cascade_alice *alice = calloc(1, sizeof *alice + (size_t)cc_frames(bits) * sizeof(alice_frame));
  if (!alice) return PL_E_MEMORY;
  cc_public_init(&alice->pub, bits, seed);
  alice->store_words = CC_MAX_WORDS;
  for (int f = 0; f < alice->pub.layout.frames; f++)
    alice->store_words += words_needed(&alice->pub.layout, f);
  alice->store = pl_locked_alloc(alice->store_words * 8);
  if (!alice->store) {
    pl_cascade_alice_free(alice);
    return PL_E_MEMORY;
  }
  alice->cap = leak_cap;
  load_frames(alice, bytes);
  *out = alice;
  return PL_OK;
}

typedef struct { /* one group of a request, checked */
  const alice_frame *frame;
  int what, op, level, count;
  const uint8_t *items; /* count 16-bit numbers, when op has a list */
} group;

static int items_below(const group *g, unsigned least, unsigned limit) {
  unsigned bad = 0;
  for (int i = 0; i < g->count; i++) {
    unsigned item = cc_get16(g->items + 2 * i);
    bad |= (item < least) | (item >= limit);
  }
  return !bad;
}

static int in_range(const group *g) {
  unsigned positions = (unsigned)g->frame->words * 64;
  int subset = g->what - CC_SUBSET_BASE, block_pass = g->what < CC_PASSES;
  int level_fits = g->level >= CC_MIN_LEVEL && g->level <= CC_MAX_LEVEL;
  int all = g->count == (int)(positions >> g->level);
  switch (g->op) {
  case CC_OP_HALVES:
    return g->level == 0 && (block_pass || (subset >= 0 && subset < CC_SUBSETS)) &&
           items_below(g, 1, positions);
  case CC_OP_BLOCKS: return block_pass && level_fits && all;
  case CC_OP_LISTED: return block_pass && level_fits && items_below(g, 0, positions >> g->level);
  case CC_OP_SUBSETS: return g->level == 0 && subset >= 0 && subset + g->count <= CC_SUBSETS;
  default: return block_pass && level_fits && all; /* CC_OP_LOWER */
  }
}

/* Reads and checks the group at *at; moves *at behind it. */
static int next_group(const pl_cascade_alice *alice, const uint8_t **at, const uint8_t *end,
                      group *g) {
  const uint8_t *p = *at;
  if (end - p < CC_HEADER) return PL_E_DATA;
  int frame = (int)cc_get16(p);
  if (frame >= alice->pub.layout.frames) return PL_E_DATA;
  g->frame = &alice->frame[frame];
  g->what = p[2];
  g->op = p[3] >> 5;
  g->level = p[3] & 31;
  g->count = (int)cc_get16(p + 4);
  g->items = p += CC_HEADER;
  if (g->op > CC_OP_LOWER || g->count == 0) return PL_E_DATA;
  if (g->op == CC_OP_HALVES || g->op == CC_OP_LISTED) {
    if ((end - p) / 2 < g->count) return PL_E_DATA;
    p += 2 * g->count;
  }
  *at = p;
  return in_range(g) ? PL_OK : PL_E_DATA;
}

typedef struct { /* bits to send, the first as the least significant of the first byte */
  uint8_t *next;
  uint64_t bits;
  int n;
} bit_writer;

static inline void put_bit(bit_writer *w, uint64_t bit) {
  w->bits |= (bit & 1) << w->n;
  if (++w->n < 64) return;
  for (int i = 0; i < 8; i++) w->next[i] = (uint8_t)(w->bits >> (8 * i));
  w->next += 8;
  w->bits = 0;
  w->n = 0;
}

static void put_rest(bit_writer *w) {
  for (; w->n > 0; w->n -= 8, w->bits >>= 8) *w->next++ = (uint8_t)w->bits;
}

static inline uint64_t prefix_bit(const uint64_t *prefix, unsigned position) {
  return prefix[position >> 6] >> (position & 63);
}

static void answer_ranges(const group *g, bit_writer *out) {
  const uint64_t *prefix = g->frame->prefix[g->what];
  if (g->op == CC_OP_HALVES) {
    for (int i = 0; i < g->count; i++) {
      unsigned middle = cc_get16(g->items + 2 * i);
      put_bit(out, prefix_bit(prefix, middle) ^ prefix_bit(prefix, middle & (middle - 1)));
    }
    return;
  }
  unsigned length = 1u << g->level >> (g->op == CC_OP_LOWER);
  for (unsigned i = 0; i < (unsigned)g->count; i++) {
    unsigned begin = (g->op == CC_OP_LISTED ? cc_get16(g->items + 2 * i) : i) << g->level;
    put_bit(out, prefix_bit(prefix, begin) ^ prefix_bit(prefix, begin + length));
  }
}

/* Parity of the positions of a random subset that lie in [begin, end), both multiples of 64 or
 * both in one word. */
static unsigned subset_parity(const pl_cascade_alice *alice, const alice_frame *frame, int subset,
                              unsigned begin, unsigned end) {
  uint64_t sum = 0;
  for (unsigned w = begin >> 6; w < (end + 63) >> 6; w++)
    sum ^= frame->plain[w] & cc_subset(&alice->pub, subset, (int)w);
  if (end - begin < 64) sum = sum >> (begin & 63) & (((uint64_t)1 << (end - begin)) - 1);
  return cc_parity(sum);
}

static void answer_subsets(const pl_cascade_alice *alice, const group *g, bit_writer *out) {
  int subset = g->what - CC_SUBSET_BASE;
  for (int i = 0; i < g->count; i++) {
    unsigned end = (unsigned)g->frame->words * 64, begin = 0;
    if (g->op == CC_OP_HALVES) {
      end = cc_get16(g->items + 2 * i);
      begin = end & (end - 1);
    }
    int which = g->op == CC_OP_HALVES ? subset : subset + i;
    put_bit(out, subset_parity(alice, g->frame, which, begin, end));
  }
}

int64_t pl_cascade_alice_measure(pl_cascade_alice *alice, const uint8_t *request, size_t size) {
  int64_t bits = 0;
  group g;
  for (const uint8_t *at = request, *end = request + size; at < end; bits += g.count)
    if (next_group(alice, &at, end, &g) != PL_OK) return PL_E_DATA;
  return bits ? bits : PL_E_DATA;
}

int64_t pl_cascade_alice_answer(pl_cascade_alice *alice, const uint8_t *request, size_t size,
                                uint8_t *out, size_t capacity) {
  int64_t bits = pl_cascade_alice_measure(alice, request, size);
  if (bits < 0) return bits;
  if ((uint64_t)(bits + 7) / 8 > capacity) return PL_E_CAPACITY;
  if (bits > alice->cap - alice->leak) return PL_E_LIMIT;
  alice->leak += bits;
  alice->rounds++;
  bit_writer writer = {out, 0, 0};
  group g;
  for (const uint8_t *at = request, *end = request + size; at < end;) {
    if (next_group(alice, &at, end, &g) != PL_OK) return PL_E_STATE; /* the request changed */
    if (g.what < CC_PASSES)
      answer_ranges(&g, &writer);
    else
      answer_subsets(alice, &g, &writer);
  }
  put_rest(&writer);
  return (bits + 7) / 8;
}

int64_t pl_cascade_alice_leak(pl_cascade_alice *alice) { return alice->leak; }
int64_t pl_cascade_alice_rounds(pl_cascade_alice *alice) { return alice->rounds; }
