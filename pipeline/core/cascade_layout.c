/* Frames, permutations and random subsets: everything about a block that is public.
 *
 * A key is padded with zeros to units of 4,096 bits; unit u belongs to frame u mod frames and is
 * transposed on loading, so that a burst of errors is spread over the words of its unit. */
#include "cascade_kernels.h"
#include "cpu.h"

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
static rng rng_new(const uint8_t seed[PL_SEED_BYTES], uint64_t stream) {
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

int cc_public_init(cc_public *pub, int64_t bits, const uint8_t seed[PL_SEED_BYTES]) {
  if (bits < 1 || bits > (int64_t)1 << 31) return PL_E_ARGUMENT;
  cc_layout *l = &pub->layout;
  pub->kernels = &cc_portable_kernels;
#if defined(__x86_64__)
  if (pl_simd() >= PL_SIMD_AVX2) pub->kernels = &cc_bmi2_kernels;
#endif
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

static int64_t first_word(const cc_layout *l, int frame, int unit) {
  return ((int64_t)unit * l->frames + frame) * CC_UNIT_WORDS;
}

/* 64 key bits from word index w on, the first as the most significant; zeros beyond the end. */
static uint64_t load_word(const cc_layout *l, const uint8_t *key, int64_t w) {
  uint64_t x = 0;
  int64_t left = l->bits - 64 * w;
  const uint8_t *p = key + 8 * w;
  if (left <= 0) return 0;
  if (left >= 64)
    return (uint64_t)p[0] << 56 | (uint64_t)p[1] << 48 | (uint64_t)p[2] << 40 |
           (uint64_t)p[3] << 32 | (uint64_t)p[4] << 24 | (uint64_t)p[5] << 16 |
           (uint64_t)p[6] << 8 | p[7];
  for (int i = 0; 8 * i < left; i++) x |= (uint64_t)p[i] << (56 - 8 * i);
  return x >> (64 - left) << (64 - left);
}

static void store_word(uint64_t x, uint8_t *p, int bytes) {
  if (bytes < 8) {
    for (int b = 0; b < bytes; b++) p[b] = (uint8_t)(x >> (56 - 8 * b));
    return;
  }
  p[0] = (uint8_t)(x >> 56);
  p[1] = (uint8_t)(x >> 48);
  p[2] = (uint8_t)(x >> 40);
  p[3] = (uint8_t)(x >> 32);
  p[4] = (uint8_t)(x >> 24);
  p[5] = (uint8_t)(x >> 16);
  p[6] = (uint8_t)(x >> 8);
  p[7] = (uint8_t)x;
}

void cc_frame_load(const cc_public *pub, int frame, const uint8_t *key, uint64_t *words) {
  const cc_layout *l = &pub->layout;
  for (int u = 0; u < cc_frame_units(l, frame); u++, words += 64) {
    int64_t first = first_word(l, frame, u);
    for (int i = 0; i < 64; i++) words[i] = load_word(l, key, first + i);
    pub->kernels->transpose(words);
  }
}

void cc_frame_store(const cc_public *pub, int frame, uint64_t *words, uint8_t *key) {
  const cc_layout *l = &pub->layout;
  for (int u = 0; u < cc_frame_units(l, frame); u++, words += 64) {
    int64_t first = first_word(l, frame, u);
    pub->kernels->transpose(words);
    for (int i = 0; i < 64 && first + i < l->words; i++) {
      int64_t at = 8 * (first + i), left = (l->bits + 7) / 8 - at;
      store_word(words[i], key + at, left < 8 ? (int)left : 8);
    }
  }
}

int cc_frame_real(const cc_public *pub, int frame, uint64_t *words) {
  const cc_layout *l = &pub->layout;
  int units = cc_frame_units(l, frame);
  if (l->bits - 64 * first_word(l, frame, units - 1) >= CC_UNIT_BITS) return 0;
  for (int u = 0; u < units; u++, words += 64) {
    for (int i = 0; i < 64; i++) {
      int64_t left = l->bits - 64 * (first_word(l, frame, u) + i);
      words[i] = left >= 64 ? ~(uint64_t)0 : left <= 0 ? 0 : ~(uint64_t)0 << (64 - left);
    }
    pub->kernels->transpose(words);
  }
  return 1;
}
