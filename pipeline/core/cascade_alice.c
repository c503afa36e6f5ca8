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

static unsigned prefix_bit(const uint64_t *prefix, unsigned position) {
  return prefix[position >> 6] >> (position & 63) & 1;
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
        cc_permute(cc_perm_of(&alice->pub, f, pass), frame->words, frame->plain, permuted);
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
  int64_t frames = (bits + CC_MAX_WORDS * 64 - 1) / (CC_MAX_WORDS * 64);
  pl_cascade_alice *alice = calloc(1, sizeof *alice + (size_t)frames * sizeof(alice_frame));
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

static int in_range(const group *g) {
  int positions = g->frame->words * 64, subset = g->what - CC_SUBSET_BASE;
  switch (g->op) {
  case CC_OP_HALVES:
    if (g->level || (g->what >= CC_PASSES && (subset < 0 || subset >= CC_SUBSETS))) return 0;
    for (int i = 0; i < g->count; i++) {
      unsigned middle = cc_get16(g->items + 2 * i);
      if (!middle || (int)middle > positions) return 0;
    }
    return 1;
  case CC_OP_BLOCKS:
    return g->what < CC_PASSES && g->level >= CC_MIN_LEVEL && g->level <= CC_MAX_LEVEL &&
           g->count == positions >> g->level;
  case CC_OP_LISTED:
    if (g->what >= CC_PASSES || g->level < CC_MIN_LEVEL || g->level > CC_MAX_LEVEL) return 0;
    for (int i = 0; i < g->count; i++)
      if ((int)cc_get16(g->items + 2 * i) >= positions >> g->level) return 0;
    return 1;
  default: /* CC_OP_SUBSETS */
    return g->level == 0 && subset >= 0 && subset + g->count <= CC_SUBSETS;
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
  if (g->op > CC_OP_SUBSETS || g->count == 0) return PL_E_DATA;
  if (g->op == CC_OP_HALVES || g->op == CC_OP_LISTED) {
    if ((end - p) / 2 < g->count) return PL_E_DATA;
    p += 2 * g->count;
  }
  *at = p;
  return in_range(g) ? PL_OK : PL_E_DATA;
}

static unsigned subset_half(const group *g, const uint64_t *mask, unsigned middle) {
  unsigned begin = middle & (middle - 1);
  uint64_t sum = 0;
  if (middle - begin < 64)
    return cc_parity((g->frame->plain[begin >> 6] & mask[begin >> 6]) >> (begin & 63) &
                     (((uint64_t)1 << (middle - begin)) - 1));
  for (unsigned w = begin >> 6; w < middle >> 6; w++) sum ^= g->frame->plain[w] & mask[w];
  return cc_parity(sum);
}

static unsigned answer_one(const pl_cascade_alice *alice, const group *g, int i) {
  if (g->op == CC_OP_SUBSETS) {
    const uint64_t *mask = alice->pub.subset[g->what - CC_SUBSET_BASE + i];
    uint64_t sum = 0;
    for (int w = 0; w < g->frame->words; w++) sum ^= g->frame->plain[w] & mask[w];
    return cc_parity(sum);
  }
  unsigned item = g->op == CC_OP_BLOCKS ? (unsigned)i : cc_get16(g->items + 2 * i);
  if (g->what >= CC_SUBSET_BASE)
    return subset_half(g, alice->pub.subset[g->what - CC_SUBSET_BASE], item);
  const uint64_t *prefix = g->frame->prefix[g->what];
  unsigned begin = item & (item - 1), end = item;
  if (g->op != CC_OP_HALVES) {
    begin = item << g->level;
    end = (item + 1) << g->level;
  }
  return prefix_bit(prefix, begin) ^ prefix_bit(prefix, end);
}

int64_t pl_cascade_alice_measure(pl_cascade_alice *alice, const uint8_t *request, size_t size) {
  int64_t bits = 0;
  group g;
  for (const uint8_t *at = request, *end = request + size; at < end; bits += g.count)
    if (next_group(alice, &at, end, &g) != PL_OK) return PL_E_DATA;
  return bits;
}

int64_t pl_cascade_alice_answer(pl_cascade_alice *alice, const uint8_t *request, size_t size,
                                uint8_t *out, size_t capacity) {
  int64_t bits = pl_cascade_alice_measure(alice, request, size);
  if (bits < 0) return bits;
  if (bits == 0) return PL_E_DATA;
  if ((uint64_t)(bits + 7) / 8 > capacity) return PL_E_CAPACITY;
  if (bits > alice->cap - alice->leak) return PL_E_LIMIT;
  memset(out, 0, (size_t)(bits + 7) / 8);
  int64_t n = 0;
  group g;
  for (const uint8_t *at = request, *end = request + size; at < end;) {
    if (next_group(alice, &at, end, &g) != PL_OK) return PL_E_DATA;
    for (int i = 0; i < g.count; i++, n++)
      out[n >> 3] |= (uint8_t)(answer_one(alice, &g, i) << (n & 7));
  }
  alice->leak += bits;
  alice->rounds++;
  return (bits + 7) / 8;
}

int64_t pl_cascade_alice_leak(pl_cascade_alice *alice) { return alice->leak; }
int64_t pl_cascade_alice_rounds(pl_cascade_alice *alice) { return alice->rounds; }
