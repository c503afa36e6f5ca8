/* The block row of ldpc_portable.c, 64 checks at once. */
#include "ldpc.h"

#if defined(__x86_64__)
#include <immintrin.h>

typedef __m256i vec;
#define AVX2 __attribute__((target("avx2")))

AVX2 static inline vec load(const int8_t *p) { return _mm256_loadu_si256((const vec *)p); }
AVX2 static inline void store(int8_t *p, vec v) { _mm256_storeu_si256((vec *)p, v); }

/* x * scale / 16, rounded down, for bytes up to 127. */
AVX2 static inline vec scaled(vec x, vec scale) {
  vec low = _mm256_and_si256(x, _mm256_set1_epi16(255)), high = _mm256_srli_epi16(x, 8);
  low = _mm256_srli_epi16(_mm256_mullo_epi16(low, scale), 4);
  high = _mm256_slli_epi16(_mm256_mullo_epi16(high, scale), 4);
  return _mm256_or_si256(low, _mm256_and_si256(high, _mm256_set1_epi16((short)0xff00)));
}

typedef struct {
  vec least, second, product, parity;
} summary;

AVX2 static inline vec gather(summary *s, vec value, vec message) {
  vec extrinsic = _mm256_subs_epi8(value, message), size = _mm256_abs_epi8(extrinsic);
  s->second = _mm256_min_epu8(s->second, _mm256_max_epu8(s->least, size));
  s->least = _mm256_min_epu8(s->least, size);
  s->product = _mm256_xor_si256(s->product, extrinsic);
  s->parity = _mm256_xor_si256(s->parity, value);
  return extrinsic;
}

AVX2 static inline vec answer(const summary *s, vec extrinsic, vec least, vec second) {
  vec is_least = _mm256_cmpeq_epi8(_mm256_abs_epi8(extrinsic), s->least);
  vec size = _mm256_blendv_epi8(least, second, is_least);
  vec sign = _mm256_xor_si256(s->product, extrinsic);
  return _mm256_sign_epi8(size, _mm256_or_si256(sign, _mm256_set1_epi8(1)));
}

AVX2 int ldpc_row_avx2(const ldpc_line *line, int degree, int lift, int8_t *messages,
                       const int8_t *sign, int scale) {
  _Alignas(64) int8_t fresh[LDPC_MAX_DEGREE * LDPC_LANES];
  vec violated = _mm256_setzero_si256(), factor = _mm256_set1_epi16((short)scale);
  for (int t = 0; t < lift; t += LDPC_LANES, messages += degree * LDPC_LANES) {
    const vec most = _mm256_set1_epi8(127);
    summary a = {most, most, load(sign + t), load(sign + t)};
    summary b = {most, most, load(sign + t + 32), load(sign + t + 32)};
    for (int j = 0; j < degree; j++) {
      const int8_t *in = line[j].in + ((t + line[j].shift) & (lift - 1));
      const int8_t *message = messages + j * LDPC_LANES;
      store(fresh + j * LDPC_LANES, gather(&a, load(in), load(message)));
      store(fresh + j * LDPC_LANES + 32, gather(&b, load(in + 32), load(message + 32)));
    }
    violated = _mm256_or_si256(violated, _mm256_or_si256(a.parity, b.parity));
    vec a1 = scaled(a.least, factor), a2 = scaled(a.second, factor);
    vec b1 = scaled(b.least, factor), b2 = scaled(b.second, factor);
    for (int j = 0; j < degree; j++) {
      int8_t *message = messages + j * LDPC_LANES, *out = line[j].out + t;
      vec x = load(fresh + j * LDPC_LANES), y = load(fresh + j * LDPC_LANES + 32);
      vec u = answer(&a, x, a1, a2), v = answer(&b, y, b1, b2);
      store(message, u);
      store(message + 32, v);
      store(out, _mm256_adds_epi8(x, u));
      store(out + 32, _mm256_adds_epi8(y, v));
    }
  }
  return _mm256_movemask_epi8(violated) != 0;
}
#endif
