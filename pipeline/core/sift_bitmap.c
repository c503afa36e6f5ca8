/* Sifting of a pulsed link from bitmaps, one bit per gate: keep the bits of the gates that clicked
 * and in which both ends used one basis. Clicks and bases are public, the bits are not: nothing
 * here branches on them or uses them as an index.
 *
 * Bit i is byte i / 8, mask 0x80 >> i % 8, so words are loaded big endian and bits keep their
 * order from the top. PEXT takes 64 gates at a time; its timing depends on the (public) mask at
 * most. */
#include <string.h>

#include "cpu.h"
#include "secret.h"

typedef struct {
  const uint8_t *clicked, *mine, *theirs;
} bitmaps;

static inline uint64_t word_at(const uint8_t *p) {
  uint64_t x;
  memcpy(&x, p, sizeof x);
  return __builtin_bswap64(x);
}

/* The gates to keep of the 64 that begin at a byte. */
static inline uint64_t kept(const bitmaps *m, size_t byte) {
  return word_at(m->clicked + byte) & ~(word_at(m->mine + byte) ^ word_at(m->theirs + byte));
}

/* The last `gates` < 64, whose bytes may end with the buffer. */
static uint64_t kept_last(const bitmaps *m, size_t byte, int gates) {
  uint8_t tail[3][8] = {{0}};
  size_t n = (size_t)(gates + 7) / 8;
  memcpy(tail[0], m->clicked + byte, n);
  memcpy(tail[1], m->mine + byte, n);
  memcpy(tail[2], m->theirs + byte, n);
  bitmaps last = {tail[0], tail[1], tail[2]};
  return gates ? kept(&last, 0) & ~(uint64_t)0 << (64 - gates) : 0;
}

/* State of the output: whole words written, and the bits of the present word. */
typedef struct {
  uint8_t *at;
  uint64_t word;
  unsigned used;
  int64_t left; /* bits of room */
} sink;

/* Appends the low n bits of x; without a branch, since the fill of the word is unpredictable. */
static inline void append(sink *s, uint64_t x, unsigned n) {
  uint64_t top = x << (-n & 63);
  uint64_t word = s->word | top >> s->used;
  uint64_t out = __builtin_bswap64(word);
  memcpy(s->at, &out, sizeof out); /* past the end it is a word of zeros, into the slack */
  uint64_t rest = top << 1 << (63 - s->used);
  unsigned used = s->used + n, full = used >> 6;
  s->at += 8 * (size_t)full;
  s->word = full ? rest : word;
  s->used = used & 63;
}

/* The bits of x that mask marks, moved together at the low end. */
static inline uint64_t extract(uint64_t x, uint64_t mask) {
  uint64_t out = 0;
  for (unsigned k = 0; mask; k++, mask &= mask - 1)
    out |= (x >> __builtin_ctzll(mask) & 1) << k;
  return out;
}

/* One loop, built twice: PEXT and POPCNT, or neither. */
#define LOOPS(name, target, PEXT)                                                              \
  target static int64_t count_##name(const bitmaps *m, size_t words) {                         \
    int64_t n = 0;                                                                             \
    for (size_t i = 0; i < words; i++) n += __builtin_popcountll(kept(m, 8 * i));              \
    return n;                                                                                  \
  }                                                                                            \
  target static int sift_##name(sink *s, const uint8_t *bits, const bitmaps *m, size_t words) { \
    for (size_t i = 0; i < words; i++) {                                                       \
      uint64_t mask = kept(m, 8 * i);                                                          \
      unsigned n = (unsigned)__builtin_popcountll(mask);                                       \
      if ((s->left -= n) < 0) return PL_E_CAPACITY;                                            \
      append(s, PEXT(word_at(bits + 8 * i), mask), n);                                         \
    }                                                                                          \
    return PL_OK;                                                                              \
  }

LOOPS(portable, , extract)
#if defined(__x86_64__)
#include <immintrin.h>
#define BMI2 __attribute__((target("avx2,bmi,bmi2,popcnt")))
LOOPS(bmi2, BMI2, _pext_u64)
#else
#define count_bmi2 count_portable
#define sift_bmi2 sift_portable
#endif

int64_t pl_sift_count(const uint8_t *clicked, const uint8_t *mine, const uint8_t *theirs,
                      int64_t gates) {
  if (gates < 0) return PL_E_ARGUMENT;
  bitmaps m = {clicked, mine, theirs};
  size_t words = (size_t)gates / 64;
  int64_t n = pl_simd() >= PL_SIMD_AVX2 ? count_bmi2(&m, words) : count_portable(&m, words);
  return n + __builtin_popcountll(kept_last(&m, 8 * words, (int)(gates % 64)));
}

static int sift(uint8_t *target, int64_t room, const uint8_t *bits, const bitmaps *m,
                int64_t gates) {
  size_t words = (size_t)gates / 64;
  sink s = {.at = target, .left = room};
  int status = pl_simd() >= PL_SIMD_AVX2 ? sift_bmi2(&s, bits, m, words)
                                         : sift_portable(&s, bits, m, words);
  if (status < 0) return status;
  uint64_t mask = kept_last(m, 8 * words, (int)(gates % 64));
  unsigned n = (unsigned)__builtin_popcountll(mask);
  if (n > s.left) return PL_E_CAPACITY;
  append(&s, extract(word_at(bits + 8 * words), mask), n); /* a secret may be read 64 bytes on */
  uint64_t rest = __builtin_bswap64(s.word);
  memcpy(s.at, &rest, sizeof rest);
  return s.left == n ? PL_OK : PL_E_CAPACITY;
}

int pl_sift_bits(pl_secret *out, const pl_secret *bits, const uint8_t *clicked,
                 const uint8_t *mine, const uint8_t *theirs, int64_t gates) {
  uint8_t *target = pl_secret_bytes(out);
  const uint8_t *source = pl_secret_bytes(bits);
  if (!target || !source) return PL_E_STATE;
  if (out == bits || gates != pl_secret_bits(bits)) return PL_E_ARGUMENT;
  bitmaps m = {clicked, mine, theirs};
  int status = sift(target, pl_secret_bits(out), source, &m, gates);
  if (status < 0 && pl_secret_wipe(out, 0, pl_secret_bits(out)) != PL_OK) return PL_E_STATE;
  return status;
}
