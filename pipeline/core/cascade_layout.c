/* Frames, permutations and random subsets: everything about a block that is public.
 *
 * A key is padded with zeros to units of 4,096 bits; unit u belongs to frame u mod frames and is
 * transposed on loading, so that a burst of errors is spread over the words of its unit. */
#include "cascade.h"

#include <string.h>

/* xoshiro256** (Blackman and Vigna, ACM TOMS 47, 36, 2021). The numbers are public. */
typedef struct {
  uint64_t s[4];
} rng;

static uint64_t rotl(uint64_t x, int k) { return x << (k & 63) | x >> (-k & 63); }

static uint64_t rng_next(rng *r) {
  uint64_t *s = r->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotl(s[3], 45);
  return result;
}

static uint64_t splitmix(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

/* Stream number `stream` of the seed: its four little-endian words, each run through SplitMix64
 * together with the stream number. */
static rng rng_new(const uint8_t seed[32], uint64_t stream) {
  rng r;
  uint64_t state = stream;
  for (int i = 0; i < 4; i++) {
    uint64_t word = 0;
    for (int b = 7; b >= 0; b--) word = word << 8 | seed[8 * i + b];
    state ^= word;
    r.s[i] = splitmix(&state);
  }
  if (!(r.s[0] | r.s[1] | r.s[2] | r.s[3])) r.s[0] = 1;
  return r;
}

/* Fisher-Yates; the bias of the multiply-shift is below n / 2^32. */
static void shuffle(rng *r, int n, uint16_t *from, uint16_t *to) {
  for (int i = 0; i < n; i++) from[i] = (uint16_t)i;
  for (int i = n - 1; i > 0; i--) {
    int j = (int)((rng_next(r) >> 32) * (uint64_t)(i + 1) >> 32);
    uint16_t x = from[i];
    from[i] = from[j];
    from[j] = x;
  }
  for (int i = 0; i < n; i++) to[from[i]] = (uint16_t)i;
}

static void perm_init(cc_perm *p, int words, rng r) {
  shuffle(&r, words, p->from1, p->to1);
  for (int i = 0; i < words; i++) p->rotate[i] = (uint8_t)(rng_next(&r) >> 58);
  shuffle(&r, words, p->from2, p->to2);
}

int cc_public_init(cc_public *pub, int64_t bits, const uint8_t seed[32]) {
  if (bits < 1 || bits > (int64_t)1 << 31) return PL_E_ARGUMENT;
  cc_layout *l = &pub->layout;
  l->bits = bits;
  l->words = (bits + 63) / 64;
  l->units = (bits + CC_UNIT_BITS - 1) / CC_UNIT_BITS;
  l->frames = (int)((l->units + CC_MAX_UNITS - 1) / CC_MAX_UNITS);
  int base = (int)(l->units / l->frames), more = l->units % l->frames != 0;
  for (int kind = 0; kind <= more; kind++)
    for (int pass = 1; pass < CC_PASSES; pass++)
      perm_init(&pub->perm[kind][pass - 1], (base + kind) * CC_UNIT_WORDS,
                rng_new(seed, (uint64_t)(2 * pass + kind)));
  rng r = rng_new(seed, 0);
  for (int i = 0; i < CC_MAX_WORDS; i++) pub->random[i] = rng_next(&r);
  return PL_OK;
}

int cc_frame_units(const cc_layout *l, int frame) {
  return (int)(l->units / l->frames) + (frame < l->units % l->frames);
}

void cc_transpose64(const uint64_t in[64], uint64_t out[64]) {
  memcpy(out, in, 64 * sizeof *out);
  uint64_t mask = 0xffffffffu;
  for (int j = 32; j; j >>= 1, mask ^= mask << j)
    for (int k = 0; k < 64; k = ((k | j) + 1) & ~j) {
      uint64_t t = (out[k] >> j ^ out[k | j]) & mask;
      out[k] ^= t << j;
      out[k | j] ^= t;
    }
}

void cc_permute(const cc_perm *p, int words, const uint64_t *in, uint64_t *out, int stride) {
  uint64_t a[64], t[64];
  for (int g = 0; g < words; g += 64) {
    for (int i = 0; i < 64; i++) a[i] = rotl(in[p->from1[g + i] * stride], p->rotate[g + i]);
    cc_transpose64(a, t);
    for (int i = 0; i < 64; i++) out[p->to2[g + i] * stride] = t[i];
  }
  explicit_bzero(a, sizeof a);
  explicit_bzero(t, sizeof t);
}

static int64_t first_word(const cc_layout *l, int frame, int unit) {
  return ((int64_t)unit * l->frames + frame) * CC_UNIT_WORDS;
}

/* 64 key bits from word index w on, the first as the least significant; zeros beyond the end. */
static uint64_t load_word(const cc_layout *l, const uint8_t *key, int64_t w) {
  uint64_t x = 0;
  int64_t bytes = (l->bits + 7) / 8 - 8 * w;
  for (int64_t i = 0; i < 8 && i < bytes; i++) x |= (uint64_t)key[8 * w + i] << (8 * i);
  x = (x >> 1 & 0x5555555555555555u) | (x & 0x5555555555555555u) << 1;
  x = (x >> 2 & 0x3333333333333333u) | (x & 0x3333333333333333u) << 2;
  x = (x >> 4 & 0x0f0f0f0f0f0f0f0fu) | (x & 0x0f0f0f0f0f0f0f0fu) << 4;
  int64_t left = l->bits - 64 * w;
  return left >= 64 ? x : left <= 0 ? 0 : x & (((uint64_t)1 << left) - 1);
}

void cc_frame_load(const cc_layout *l, int frame, const uint8_t *key, uint64_t *words) {
  uint64_t a[64];
  for (int u = 0; u < cc_frame_units(l, frame); u++) {
    int64_t first = first_word(l, frame, u);
    for (int i = 0; i < 64; i++)
      a[i] = first + i < l->words ? load_word(l, key, first + i) : 0;
    cc_transpose64(a, words + 64 * u);
  }
  explicit_bzero(a, sizeof a);
}

void cc_frame_store(const cc_layout *l, int frame, const uint64_t *words, uint8_t *key) {
  uint64_t a[64];
  for (int u = 0; u < cc_frame_units(l, frame); u++) {
    int64_t first = first_word(l, frame, u);
    cc_transpose64(words + 64 * u, a);
    for (int i = 0; i < 64 && first + i < l->words; i++) {
      uint64_t x = a[i];
      x = (x >> 1 & 0x5555555555555555u) | (x & 0x5555555555555555u) << 1;
      x = (x >> 2 & 0x3333333333333333u) | (x & 0x3333333333333333u) << 2;
      x = (x >> 4 & 0x0f0f0f0f0f0f0f0fu) | (x & 0x0f0f0f0f0f0f0f0fu) << 4;
      int64_t at = 8 * (first + i), end = (l->bits + 7) / 8;
      for (int b = 0; b < 8 && at + b < end; b++) key[at + b] = (uint8_t)(x >> (8 * b));
    }
  }
  explicit_bzero(a, sizeof a);
}

int cc_frame_real(const cc_layout *l, int frame, uint64_t *words) {
  uint64_t a[64];
  int some_missing = 0;
  for (int u = 0; u < cc_frame_units(l, frame); u++) {
    for (int i = 0; i < 64; i++) {
      int64_t left = l->bits - 64 * (first_word(l, frame, u) + i);
      a[i] = left >= 64 ? ~(uint64_t)0 : left <= 0 ? 0 : ((uint64_t)1 << left) - 1;
      some_missing |= left < 64;
    }
    cc_transpose64(a, words + 64 * u);
  }
  return some_missing;
}

int64_t cc_key_index(const cc_layout *l, int frame, int position) {
  int row = position >> 6 & 63; /* transposed: the word within the unit is the old bit */
  return 64 * (first_word(l, frame, position >> 12) + (position & 63)) + row;
}
