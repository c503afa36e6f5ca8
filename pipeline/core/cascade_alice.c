/* Alice's end of Cascade: answers requests for parities of her key, counts every bit that she
 * sends, and checks everything that the other end sends. */
#include <stdlib.h>
#include <string.h>

#include "cascade_kernels.h"
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
  size_t store_bytes;
  alice_frame *frame;
  int frames; /* room in `frame` */
  int ready;  /* 0: a restart failed */
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
  pl_locked_free(alice->store, alice->store_bytes);
  free(alice->frame);
  free(alice);
}

static void load_frames(pl_cascade_alice *alice, const uint8_t *key) {
  const cc_layout *l = &alice->pub.layout;
  uint64_t *permuted = alice->store, *next = permuted + CC_MAX_WORDS;
  for (int f = 0; f < l->frames; f++) {
    alice_frame *frame = &alice->frame[f];
    frame->words = cc_frame_units(l, f) * CC_UNIT_WORDS;
    frame->plain = next;
    next += frame->words;
    cc_frame_load(&alice->pub, f, key, frame->plain);
    for (int pass = 0; pass < CC_PASSES; pass++) {
      const uint64_t *source = frame->plain;
      if (pass) {
        alice->pub.kernels->permute(cc_perm_of(&alice->pub, f, pass), frame->words, frame->plain,
                                    permuted);
        source = permuted;
      }
      frame->prefix[pass] = next;
      next += frame->words + 1;
      prefix_parity(frame->words, source, frame->prefix[pass]);
    }
  }
}

/* Room for the frames of the layout; present memory is kept when it suffices. */
static int make_room(pl_cascade_alice *alice) {
  const cc_layout *l = &alice->pub.layout;
  if (l->frames > alice->frames) {
    free(alice->frame);
    alice->frame = calloc((size_t)l->frames, sizeof *alice->frame);
    alice->frames = alice->frame ? l->frames : 0;
    if (!alice->frame) return PL_E_MEMORY;
  }
  size_t words = CC_MAX_WORDS + (size_t)l->units * CC_UNIT_WORDS * (CC_PASSES + 1) +
                 (size_t)l->frames * CC_PASSES;
  if (8 * words <= alice->store_bytes) return PL_OK;
  pl_locked_free(alice->store, alice->store_bytes);
  alice->store = pl_locked_alloc(8 * words);
  alice->store_bytes = alice->store ? 8 * words : 0;
  return alice->store ? PL_OK : PL_E_MEMORY;
}

pl_cascade_alice *cc_alice_empty(void) { return calloc(1, sizeof(pl_cascade_alice)); }

int cc_alice_begin(pl_cascade_alice *alice, const uint8_t *bytes, int64_t bits,
                   const uint8_t *seed, int64_t leak_cap) {
  if (bits < 1 || bits > PL_CASCADE_MAX_BITS || leak_cap < 0) return PL_E_ARGUMENT;
  alice->ready = 0;
  cc_public_init(&alice->pub, bits, seed);
  if (make_room(alice) != PL_OK) return PL_E_MEMORY;
  load_frames(alice, bytes);
  alice->cap = leak_cap;
  alice->leak = alice->rounds = 0;
  alice->ready = 1;
  return PL_OK;
}

int pl_cascade_alice_restart(pl_cascade_alice *alice, const pl_secret *key, const uint8_t *seed,
                             int64_t leak_cap) {
  const uint8_t *bytes = pl_secret_bytes(key);
  if (!bytes) return PL_E_STATE;
  return cc_alice_begin(alice, bytes, pl_secret_bits(key), seed, leak_cap);
}

int pl_cascade_alice_new(pl_cascade_alice **out, const pl_secret *key, const uint8_t *seed,
                         int64_t leak_cap) {
  *out = NULL;
  pl_cascade_alice *alice = cc_alice_empty();
  if (!alice) return PL_E_MEMORY;
  int status = pl_cascade_alice_restart(alice, key, seed, leak_cap);
  if (status != PL_OK) {
    pl_cascade_alice_free(alice);
    return status;
  }
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

/* Reads the group at *at and moves *at behind it; in_range checks its content. */
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
  return PL_OK;
}

static inline uint64_t prefix_bit(const uint64_t *prefix, unsigned position) {
  return prefix[position >> 6] >> (position & 63);
}

static void answer_ranges(const pl_cascade_alice *alice, const group *g, cc_bits *out) {
  const uint64_t *prefix = g->frame->prefix[g->what];
  if (g->op == CC_OP_HALVES) {
    alice->pub.kernels->answer(prefix, g->items, g->count, out);
    return;
  }
  unsigned length = 1u << g->level >> (g->op == CC_OP_LOWER);
  if (g->op != CC_OP_LISTED) {
    alice->pub.kernels->answer_all(prefix, g->frame->words, g->level, (int)length, out);
    return;
  }
  for (int i = 0; i < g->count; i++) {
    unsigned begin = cc_get16(g->items + 2 * i) << g->level;
    cc_put_bits(out, (prefix_bit(prefix, begin) ^ prefix_bit(prefix, begin + length)) & 1, 1);
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

static void answer_subsets(const pl_cascade_alice *alice, const group *g, cc_bits *out) {
  int subset = g->what - CC_SUBSET_BASE;
  if (g->op == CC_OP_SUBSETS) {
    const cc_public *pub = &alice->pub;
    uint32_t all = pub->kernels->subsets(pub, g->frame->words, g->frame->plain) >> subset;
    cc_put_bits(out, all & (((uint64_t)1 << g->count) - 1), g->count);
    return;
  }
  for (int i = 0; i < g->count; i++) {
    unsigned end = cc_get16(g->items + 2 * i);
    cc_put_bits(out, subset_parity(alice, g->frame, subset, end & (end - 1), end), 1);
  }
}

int64_t pl_cascade_alice_measure(pl_cascade_alice *alice, const uint8_t *request, size_t size) {
  if (!alice->ready) return PL_E_STATE;
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
  if (bits > alice->cap - alice->leak) return PL_E_LIMIT;
  if ((uint64_t)(bits + 7) / 8 > capacity) return PL_E_CAPACITY;
  cc_bits writer = {out, 0, 0};
  group g;
  for (const uint8_t *at = request, *end = request + size; at < end;) {
    if (next_group(alice, &at, end, &g) != PL_OK || !in_range(&g)) {
      explicit_bzero(out, capacity); /* nothing is sent, nothing is counted */
      return PL_E_DATA;
    }
    if (g.what < CC_PASSES)
      answer_ranges(alice, &g, &writer);
    else
      answer_subsets(alice, &g, &writer);
  }
  for (; writer.n > 0; writer.n -= 8, writer.bits >>= 8) *writer.next++ = (uint8_t)writer.bits;
  alice->leak += bits;
  alice->rounds++;
  return (bits + 7) / 8;
}

int64_t pl_cascade_alice_leak(pl_cascade_alice *alice) { return alice->leak; }
int64_t pl_cascade_alice_rounds(pl_cascade_alice *alice) { return alice->rounds; }
