/* Cascade's inner loops for x86-64 with AVX2, BMI2 and POPCNT. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>

#define HOT(name) cc_bmi2_##name
#define HOT_TARGET __attribute__((target("avx2,bmi,bmi2,popcnt,lzcnt")))
#define HOT_DEPOSIT(bits, places) _pdep_u64(bits, places)
#define HOT_EXTRACT(bits, places) _pext_u64(bits, places)
#define HOT_ROWS 16

/* Between rows `apart` registers apart: exchange what belongs to the other one. */
HOT_TARGET static inline void exchange(__m256i *m, int apart, __m256i mask) {
  for (int k = 0; k < 16; k++) {
    if (k & apart) continue;
    __m256i t = _mm256_and_si256(
        _mm256_xor_si256(_mm256_srli_epi64(m[k], apart), m[k + apart]), mask);
    m[k] = _mm256_xor_si256(m[k], _mm256_slli_epi64(t, apart));
    m[k + apart] = _mm256_xor_si256(m[k + apart], t);
  }
}

HOT_TARGET static void cc_bmi2_transpose_slots(uint64_t *slot) {
  const __m256i pairs = _mm256_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15, 0, 1,
                                         8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  __m256i m[16];
  for (int k = 0; k < 16; k++) { /* 4 rows of 4 x 16 bits */
    __m256i x = _mm256_loadu_si256((const __m256i *)(slot + 4 * k));
    m[k] = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(x, pairs), order);
  }
  exchange(m, 8, _mm256_set1_epi16(0x00ff));
  exchange(m, 4, _mm256_set1_epi8(0x0f));
  exchange(m, 2, _mm256_set1_epi8(0x33));
  exchange(m, 1, _mm256_set1_epi8(0x55));
  for (int k = 0; k < 16; k++) _mm256_storeu_si256((__m256i *)(slot + 4 * k), m[k]);
}
#include "cascade_hot.h"
#else
typedef int cc_no_bmi2; /* ISO C wants something in every file */
#endif
