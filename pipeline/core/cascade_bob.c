/* Bob's end of Cascade: decides what to ask next, for all frames at once, and digests answers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cascade_bob.h"
#include "secret.h"

struct pl_cascade_bob {
  cc_public pub;
  uint8_t *request; /* the questions now in flight; positions are public */
  size_t request_size, request_capacity;
  int64_t request_bits;
  int in_flight, broken;
  bob_cell *store;
  size_t store_cells;
  uint64_t *scratch; /* 2 frames for moving words about, then `original` */
  uint8_t *original; /* key as given, to name the error positions */
  size_t scratch_bytes;
  bob_frame frame[];
};

void pl_cascade_bob_free(pl_cascade_bob *bob) {
  if (!bob) return;
  pl_locked_free(bob->store, bob->store_cells * sizeof *bob->store);
  pl_locked_free(bob->scratch, bob->scratch_bytes);
  free(bob->request);
  free(bob);
}

static int clamp(int value, int low, int high) {
  return value < low ? low : value > high ? high : value;
}

/* Block lengths: the first near 0.73 / rate, the second near 18 / rate but at most 1,024. */
static int level_for(int pass, double density) {
  double length = pass == 0 ? 0.73 / density : pass == 1 ? 18 / density : 4096;
  int most = pass == 1 ? 10 : CC_MAX_LEVEL;
  return clamp((int)lround(log2(length)), CC_MIN_LEVEL, most);
}

static void load_frame(pl_cascade_bob *bob, int index, const uint8_t *key, double qber) {
  const cc_layout *l = &bob->pub.layout;
  bob_frame *f = &bob->frame[index];
  uint64_t *words = bob->scratch;
  int64_t real = 0;
  f->index = index;
  f->search = -1;
  cc_frame_load(l, index, key, words);
  for (int w = 0; w < f->words; w++) f->pass[0].cell[w].key = words[w];
  f->padded = cc_frame_real(l, index, words);
  for (int w = 0; w < f->words; w++) {
    f->pass[0].cell[w].real = words[w];
    real += __builtin_popcountll(words[w]);
  }
  f->density = fmax(qber, 1e-5) * (double)real / (64.0 * f->words);
}

static int allocate(pl_cascade_bob *bob) {
  const cc_layout *l = &bob->pub.layout;
  bob->store_cells = (size_t)l->units * CC_UNIT_WORDS * CC_PASSES;
  bob->store = pl_locked_alloc(bob->store_cells * sizeof *bob->store);
  bob->scratch_bytes = 2 * CC_MAX_WORDS * 8 + (size_t)(l->bits + 7) / 8;
  bob->scratch = pl_locked_alloc(bob->scratch_bytes);
  if (!bob->store || !bob->scratch) return PL_E_MEMORY;
  bob->original = (uint8_t *)(bob->scratch + 2 * CC_MAX_WORDS);
  bob_cell *next = bob->store;
  for (int f = 0; f < l->frames; f++) {
    bob->frame[f].words = cc_frame_units(l, f) * CC_UNIT_WORDS;
    for (int pass = 0; pass < CC_PASSES; pass++, next += bob->frame[f].words)
      bob->frame[f].pass[pass].cell = next;
  }
  return PL_OK;
}

int pl_cascade_bob_new(pl_cascade_bob **out, const pl_secret *key, const uint8_t *seed,
                       double qber) {
  *out = NULL;
  const uint8_t *bytes = pl_secret_bytes(key);
  if (!bytes) return PL_E_STATE;
  int64_t bits = pl_secret_bits(key);
  if (bits < 1 || bits > PL_CASCADE_MAX_BITS || !(qber >= 0 && qber <= 0.5)) return PL_E_ARGUMENT;
  int64_t frames = (bits + CC_MAX_WORDS * 64 - 1) / (CC_MAX_WORDS * 64);
  pl_cascade_bob *bob = calloc(1, sizeof *bob + (size_t)frames * sizeof(bob_frame));
  if (!bob) return PL_E_MEMORY;
  cc_public_init(&bob->pub, bits, seed);
  if (allocate(bob) != PL_OK) {
    pl_cascade_bob_free(bob);
    return PL_E_MEMORY;
  }
  memcpy(bob->original, bytes, (size_t)(bits + 7) / 8);
  for (int f = 0; f < bob->pub.layout.frames; f++) load_frame(bob, f, bytes, qber);
  *out = bob;
  return PL_OK;
}

/* ---- asking ---- */

static int reserve(pl_cascade_bob *bob, size_t more) {
  size_t need = bob->request_size + more;
  if (need <= bob->request_capacity) return PL_OK;
  uint8_t *grown = realloc(bob->request, 2 * need);
  if (!grown) return PL_E_MEMORY;
  bob->request = grown;
  bob->request_capacity = 2 * need;
  return PL_OK;
}

static void header(pl_cascade_bob *bob, size_t at, const bob_frame *f, int what, int op, int level,
                   int count) {
  uint8_t *p = bob->request + at;
  cc_put16(p, (unsigned)f->index);
  p[2] = (uint8_t)what;
  p[3] = (uint8_t)(op << 5 | level);
  cc_put16(p + 4, (unsigned)count);
  bob->request_bits += count;
}

/* Ask for the lower half of every odd block of a pass. */
static int ask_halves(pl_cascade_bob *bob, bob_frame *f, int pass) {
  const bob_pass *p = &f->pass[pass];
  int count = 0;
  size_t start = bob->request_size;
  bob->request_size += CC_HEADER;
  for (int u = 0; u < f->words / 64; u++)
    for (uint64_t hot = p->hot[u]; hot; hot &= hot - 1) {
      int w = u << 6 | __builtin_ctzll(hot);
      if (reserve(bob, CC_HEADER + 128) != PL_OK) return PL_E_MEMORY;
      for (uint64_t x = p->cell[w].odd; x; x &= x - 1) {
        int begin = w << 6 | __builtin_ctzll(x);
        int middle = begin + bob_block_size(f, p, begin) / 2;
        cc_put16(bob->request + bob->request_size, (unsigned)middle);
        bob->request_size += 2;
        count++;
      }
    }
  if (count)
    header(bob, start, f, pass, CC_OP_HALVES, 0, count);
  else
    bob->request_size = start;
  return PL_OK;
}

static int ask_blocks(pl_cascade_bob *bob, bob_frame *f, int pass) {
  if (pass) bob_build(&bob->pub, f, pass, bob->scratch);
  f->built = pass + 1;
  f->top_answered = 0;
  f->level[pass] = level_for(pass, f->density);
  int level = f->level[pass], blocks = f->words * 64 >> level, count = 0;
  if (reserve(bob, CC_HEADER + 2 * (size_t)blocks) != PL_OK) return PL_E_MEMORY;
  size_t start = bob->request_size;
  bob->request_size += CC_HEADER;
  for (int b = 0; f->padded && b < blocks; b++) {
    if (!bob_range_real(&f->pass[pass], b << level, (b + 1) << level)) continue;
    cc_put16(bob->request + bob->request_size, (unsigned)b);
    bob->request_size += 2;
    count++;
  }
  if (f->padded)
    header(bob, start, f, pass, CC_OP_LISTED, level, count);
  else
    header(bob, start, f, pass, CC_OP_BLOCKS, level, blocks);
  return PL_OK;
}

/* Subset parities first; then one search at a time, as long as a subset differs. */
static int ask_subsets(pl_cascade_bob *bob, bob_frame *f) {
  if (reserve(bob, CC_HEADER + 2) != PL_OK) return PL_E_MEMORY;
  size_t start = bob->request_size;
  if (!f->subsets_known) {
    bob->request_size += CC_HEADER;
    header(bob, start, f, CC_SUBSET_BASE, CC_OP_SUBSETS, 0, BOB_SUBSETS);
    return PL_OK;
  }
  if (f->search < 0 || !f->search_odd) {
    if (!f->subset_odd || f->searches++ >= BOB_MAX_SEARCHES) {
      f->done = 1;
      return PL_OK;
    }
    f->search = __builtin_ctz(f->subset_odd);
    f->search_begin = 0;
    f->search_level = 16;
    f->search_odd = 1;
  }
  int middle;
  while ((middle = f->search_begin + (1 << (f->search_level - 1))) >= f->words * 64)
    f->search_level--; /* the upper half lies beyond the frame */
  bob->request_size += CC_HEADER + 2;
  header(bob, start, f, CC_SUBSET_BASE + f->search, CC_OP_HALVES, 0, 1);
  cc_put16(bob->request + start + CC_HEADER, (unsigned)middle);
  return PL_OK;
}

static int ask_frame(pl_cascade_bob *bob, bob_frame *f) {
  if (f->padded) {
    int status = bob_settle(&bob->pub, f);
    if (status != PL_OK) return status;
  }
  if (bob_hot(f)) {
    for (int pass = 0; pass < f->built; pass++)
      if (ask_halves(bob, f, pass) != PL_OK) return PL_E_MEMORY;
    return PL_OK;
  }
  if (f->built < CC_PASSES) return ask_blocks(bob, f, f->built);
  return ask_subsets(bob, f);
}

int64_t pl_cascade_bob_request(pl_cascade_bob *bob) {
  if (bob->broken) return PL_E_STATE;
  if (bob->in_flight) return (int64_t)bob->request_size;
  bob->request_size = 0;
  bob->request_bits = 0;
  for (int f = 0; f < bob->pub.layout.frames; f++) {
    if (bob->frame[f].done) continue;
    int status = ask_frame(bob, &bob->frame[f]);
    if (status != PL_OK) {
      bob->broken = 1;
      return status;
    }
  }
  bob->in_flight = bob->request_size != 0;
  return (int64_t)bob->request_size;
}

int pl_cascade_bob_copy_request(pl_cascade_bob *bob, uint8_t *out, size_t capacity) {
  if (!bob->in_flight) return PL_E_STATE;
  if (capacity < bob->request_size) return PL_E_CAPACITY;
  memcpy(out, bob->request, bob->request_size);
  return PL_OK;
}

/* ---- listening ---- */

typedef struct {
  const uint8_t *bytes;
  int64_t at;
} bit_reader;

static unsigned next_bit(bit_reader *r) {
  unsigned bit = r->bytes[r->at >> 3] >> (r->at & 7) & 1;
  r->at++;
  return bit;
}

static void hear_blocks(bob_frame *f, int pass, int count, const uint8_t *listed, bit_reader *r) {
  bob_pass *p = &f->pass[pass];
  int level = f->level[pass];
  for (int begin = 0; begin < f->words * 64; begin += 1 << level) {
    p->cell[begin >> 6].bound |= (uint64_t)1 << (begin & 63);
    if (!(begin & 63)) p->starts[begin >> 12] |= (uint64_t)1 << (begin >> 6 & 63);
  }
  for (int i = 0; i < count; i++) {
    int begin = (listed ? (int)cc_get16(listed + 2 * i) : i) << level;
    bob_mark(p, begin, next_bit(r) ^ bob_range_parity(p, begin, begin + (1 << level)));
  }
  f->top_answered = 1;
}

static int hear_search(pl_cascade_bob *bob, bob_frame *f, unsigned parity) {
  int half = 1 << --f->search_level, begin = f->search_begin;
  unsigned mine = bob_subset_parity(&bob->pub, f, f->search, begin, begin + half);
  if (parity == mine) f->search_begin += half;
  if (f->search_level) return PL_OK;
  int status = bob_flip(&bob->pub, f, f->search_begin);
  f->search = -1;
  return status;
}

static int hear_group(pl_cascade_bob *bob, const uint8_t **at, bit_reader *r) {
  const uint8_t *p = *at;
  bob_frame *f = &bob->frame[cc_get16(p)];
  int what = p[2], op = p[3] >> 5, count = (int)cc_get16(p + 4), status = PL_OK;
  const uint8_t *items = p + CC_HEADER;
  *at = items + (op == CC_OP_HALVES || op == CC_OP_LISTED ? 2 * count : 0);
  if (op == CC_OP_SUBSETS) {
    for (int j = 0; j < count; j++)
      f->subset_odd |= (next_bit(r) ^ bob_subset_parity(&bob->pub, f, j, 0, f->words * 64)) << j;
    f->subsets_known = 1;
  } else if (op != CC_OP_HALVES) {
    hear_blocks(f, what, count, op == CC_OP_LISTED ? items : NULL, r);
  } else if (what >= CC_SUBSET_BASE) {
    status = hear_search(bob, f, next_bit(r));
  } else {
    for (int i = 0; i < count && status == PL_OK; i++) {
      unsigned middle = cc_get16(items + 2 * i), begin = middle & (middle - 1);
      unsigned mine = bob_range_parity(&f->pass[what], (int)begin, (int)middle);
      status = bob_split(&bob->pub, f, what, middle, next_bit(r) ^ mine);
    }
  }
  return status;
}

int pl_cascade_bob_receive(pl_cascade_bob *bob, const uint8_t *parities, size_t size) {
  if (!bob->in_flight || bob->broken) return PL_E_STATE;
  if (size != (size_t)(bob->request_bits + 7) / 8) return PL_E_DATA;
  bit_reader r = {parities, 0};
  bob->in_flight = 0;
  for (const uint8_t *at = bob->request, *end = at + bob->request_size; at < end;) {
    int status = hear_group(bob, &at, &r);
    if (status == PL_OK) continue;
    bob->broken = 1;
    return status;
  }
  return PL_OK;
}

/* ---- results ---- */

int pl_cascade_bob_key(pl_cascade_bob *bob, pl_secret *out) {
  uint8_t *bytes = pl_secret_bytes(out);
  if (!bytes || pl_secret_bits(out) != bob->pub.layout.bits) return PL_E_ARGUMENT;
  for (int i = 0; i < bob->pub.layout.frames; i++) {
    const bob_frame *f = &bob->frame[i];
    for (int w = 0; w < f->words; w++) bob->scratch[w] = f->pass[0].cell[w].key;
    cc_frame_store(&bob->pub.layout, i, bob->scratch, bytes);
  }
  return PL_OK;
}

int64_t pl_cascade_bob_error_positions(pl_cascade_bob *bob, int64_t *out, int64_t capacity) {
  int64_t n = 0, bits = bob->pub.layout.bits;
  pl_secret *now;
  int status = pl_secret_new(&now, bits);
  if (status != PL_OK) return status;
  pl_cascade_bob_key(bob, now);
  const uint8_t *bytes = pl_secret_bytes(now);
  for (int64_t i = 0; i < bits; i++)
    if ((bytes[i >> 3] ^ bob->original[i >> 3]) >> (7 - (i & 7)) & 1) {
      if (n < capacity) out[n] = i;
      n++;
    }
  pl_secret_free(now);
  return n <= capacity ? n : PL_E_CAPACITY;
}

int64_t pl_cascade_bob_errors(pl_cascade_bob *bob) {
  int64_t n = 0;
  for (int f = 0; f < bob->pub.layout.frames; f++) n += bob->frame[f].errors;
  return n;
}
