/* ChaCha20 (Bernstein, "ChaCha, a variant of Salsa20", 2008), eight blocks side by side: word w of
 * block b is lane b of vector w. Bit for bit what Monocypher gives (test_seal.c). */
#include "chacha20.h"

#include <string.h>

#include "cpu.h"
#include "vendor/monocypher/monocypher.h"

#if defined(__x86_64__)
#include <immintrin.h>

typedef __m256i vec;
#define AVX2 __attribute__((target("avx2")))
enum { LANES = 8, WORDS = 16, STEP = 64 * LANES };

AVX2 static inline vec turned(vec v, int by) {
  return _mm256_or_si256(_mm256_slli_epi32(v, by), _mm256_srli_epi32(v, 32 - by));
}

AVX2 static inline vec turned16(vec v) {
  const vec order = _mm256_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13,  //
                                     2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
  return _mm256_shuffle_epi8(v, order);
}

AVX2 static inline vec turned8(vec v) {
  const vec order = _mm256_setr_epi8(3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14,  //
                                     3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14);
  return _mm256_shuffle_epi8(v, order);
}

AVX2 static inline void quarter(vec *a, vec *b, vec *c, vec *d) {
  *a = _mm256_add_epi32(*a, *b), *d = turned16(_mm256_xor_si256(*d, *a));
  *c = _mm256_add_epi32(*c, *d), *b = turned(_mm256_xor_si256(*b, *c), 12);
  *a = _mm256_add_epi32(*a, *b), *d = turned8(_mm256_xor_si256(*d, *a));
  *c = _mm256_add_epi32(*c, *d), *b = turned(_mm256_xor_si256(*b, *c), 7);
}

/* Rows become columns: v[i] holds eight words of block i afterwards. */
AVX2 static inline void transpose(vec v[LANES]) {
  vec p[LANES], q[LANES];
  for (int i = 0; i < LANES; i += 2) {
    p[i] = _mm256_unpacklo_epi32(v[i], v[i + 1]);
    p[i + 1] = _mm256_unpackhi_epi32(v[i], v[i + 1]);
  }
  for (int i = 0; i < LANES; i += 4)
    for (int k = 0; k < 2; k++) {
      q[i + 2 * k] = _mm256_unpacklo_epi64(p[i + k], p[i + 2 + k]);
      q[i + 2 * k + 1] = _mm256_unpackhi_epi64(p[i + k], p[i + 2 + k]);
    }
  for (int i = 0; i < 4; i++) {
    v[i] = _mm256_permute2x128_si256(q[i], q[4 + i], 0x20);
    v[4 + i] = _mm256_permute2x128_si256(q[i], q[4 + i], 0x31);
  }
}

AVX2 static inline void counters(vec *low, vec *high, uint64_t first) {
  uint32_t l[LANES], h[LANES];
  for (int i = 0; i < LANES; i++) {
    l[i] = (uint32_t)(first + (uint64_t)i);
    h[i] = (uint32_t)((first + (uint64_t)i) >> 32);
  }
  *low = _mm256_loadu_si256((const vec *)l);
  *high = _mm256_loadu_si256((const vec *)h);
}

AVX2 static inline void eight_blocks(uint8_t *out, const uint8_t *in, vec start[WORDS],
                                     vec v[WORDS], uint64_t counter) {
  counters(&start[12], &start[13], counter);
  memcpy(v, start, WORDS * sizeof *v);
  for (int round = 0; round < 10; round++) {
    for (int i = 0; i < 4; i++) quarter(&v[i], &v[4 + i], &v[8 + i], &v[12 + i]);
    for (int i = 0; i < 4; i++)
      quarter(&v[i], &v[4 + (i + 1) % 4], &v[8 + (i + 2) % 4], &v[12 + (i + 3) % 4]);
  }
  for (int i = 0; i < WORDS; i++) v[i] = _mm256_add_epi32(v[i], start[i]);
  transpose(v);
  transpose(v + LANES);
  for (int b = 0; b < LANES; b++)
    for (int half = 0; half < 2; half++) {
      const vec text = _mm256_loadu_si256((const vec *)(in + 64 * b + 32 * half));
      _mm256_storeu_si256((vec *)(out + 64 * b + 32 * half),
                          _mm256_xor_si256(text, v[LANES * half + b]));
    }
}

/* Bytes done: whole steps. */
AVX2 static size_t many_blocks(uint8_t *out, const uint8_t *in, size_t n, const uint8_t key[32],
                               const uint8_t nonce[8], uint64_t counter) {
  uint32_t words[WORDS] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
  memcpy(words + 4, key, 32);
  memcpy(words + 14, nonce, 8);
  vec start[WORDS], v[WORDS]; /* hold the key: wiped */
  for (int i = 0; i < WORDS; i++) start[i] = _mm256_set1_epi32((int)words[i]);
  size_t done = 0;
  for (; n - done >= STEP; done += STEP)
    eight_blocks(out + done, in + done, start, v, counter + done / 64);
  explicit_bzero(words, sizeof words);
  explicit_bzero(start, sizeof start);
  explicit_bzero(v, sizeof v);
  return done;
}
#endif

void pl_chacha20(uint8_t *out, const uint8_t *in, size_t n, const uint8_t key[32],
                 const uint8_t nonce[8], uint64_t counter) {
  size_t done = 0;
#if defined(__x86_64__)
  if (pl_simd() >= PL_SIMD_AVX2) done = many_blocks(out, in, n, key, nonce, counter);
#endif
  if (done < n) crypto_chacha20_djb(out + done, in + done, n - done, key, nonce, counter + done / 64);
}
