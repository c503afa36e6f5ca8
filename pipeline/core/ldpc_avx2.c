/* The block row of ldpc_portable.c, 64 checks at once. */
#include "ldpc.h"

#if defined(__x86_64__)
#include <immintrin.h>

typedef __m256i vec;
#define AVX2 __attribute__((target("avx2")))

AVX2 static inline vec load(const int8_t *p) { return _mm256_loadu_si256((const vec *)p); }
AVX2 static inline void store(int8_t *p, vec v) { _mm256_storeu_si256((vec *)p, v); }
AVX2 static inline vec table(const void *sixteen) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(sixteen));
}

typedef struct {
  vec least, second, product, parity, even, odd;
} summary;

AVX2 static inline summary start(const int8_t *sign) {
  vec cap = _mm256_set1_epi8(LDPC_CAP), zero = _mm256_setzero_si256(), s = load(sign);
  return (summary){cap, cap, s, s, zero, zero};
}

AVX2 static inline vec gather(summary *s, vec value, vec message) {
  vec extrinsic = _mm256_subs_epi8(value, message), size = _mm256_abs_epi8(extrinsic);
  s->second = _mm256_min_epu8(s->second, _mm256_max_epu8(s->least, size));
  s->least = _mm256_min_epu8(s->least, size);
  s->product = _mm256_xor_si256(s->product, extrinsic);
  s->parity = _mm256_xor_si256(s->parity, value);
  return extrinsic;
}

AVX2 static inline vec fall_of(const summary *s, const int8_t *fresh, vec fall) {
  vec above = _mm256_subs_epu8(_mm256_abs_epi8(load(fresh)), s->least);
  return _mm256_shuffle_epi8(fall, _mm256_min_epu8(above, _mm256_set1_epi8(15)));
}

AVX2 static inline vec logarithm(vec sum) {
  static const int8_t fine[16] = LDPC_LOG_FINE, middle[16] = LDPC_LOG_MIDDLE,
                      coarse[16] = LDPC_LOG_COARSE;
  vec nibble = _mm256_set1_epi8(15);
  vec fourth = _mm256_and_si256(_mm256_srli_epi16(sum, 4), nibble);
  vec second = _mm256_and_si256(_mm256_srli_epi16(sum, 2), nibble);
  vec a = _mm256_shuffle_epi8(table(fine), _mm256_and_si256(sum, nibble));
  vec b = _mm256_shuffle_epi8(table(middle), second);
  vec c = _mm256_shuffle_epi8(table(coarse), fourth);
  vec below16 = _mm256_cmpeq_epi8(fourth, _mm256_setzero_si256());
  vec below64 = _mm256_cmpeq_epi8(_mm256_min_epu8(sum, _mm256_set1_epi8(63)), sum);
  return _mm256_blendv_epi8(_mm256_blendv_epi8(c, b, below64), a, below16);
}

AVX2 static inline void conclude(const summary *s, vec *others, vec *own) {
  vec sum = _mm256_avg_epu8(s->even, s->odd), zero = _mm256_setzero_si256();
  vec more = logarithm(_mm256_subs_epu8(sum, _mm256_set1_epi8(1)));
  vec less = logarithm(_mm256_subs_epu8(sum, _mm256_set1_epi8(LDPC_ONE)));
  more = _mm256_max_epi8(_mm256_subs_epi8(s->least, more), zero);
  less = _mm256_max_epi8(_mm256_subs_epi8(s->least, less), zero);
  *others = _mm256_min_epi8(more, s->least);
  *own = _mm256_min_epi8(less, s->second);
}

AVX2 static inline vec answer(const summary *s, vec extrinsic, vec others, vec own) {
  vec is_least = _mm256_cmpeq_epi8(_mm256_abs_epi8(extrinsic), s->least);
  vec size = _mm256_blendv_epi8(others, own, is_least);
  vec sign = _mm256_xor_si256(s->product, extrinsic);
  return _mm256_sign_epi8(size, _mm256_or_si256(sign, _mm256_set1_epi8(1)));
}

AVX2 int ldpc_row_avx2(const ldpc_line *line, int degree, int lift, int8_t *messages,
                       const int8_t *sign) {
  static const uint8_t falls[16] = LDPC_FALL;
  _Alignas(64) int8_t fresh[(LDPC_MAX_DEGREE + 1) * LDPC_LANES];
  vec violated = _mm256_setzero_si256(), fall = table(falls);
  for (int t = 0; t < lift; t += LDPC_LANES, messages += degree * LDPC_LANES) {
    summary a = start(sign + t), b = start(sign + t + 32);
    for (int j = 0; j < degree; j++) {
      const int8_t *in = line[j].in + ldpc_wrap(t + line[j].shift, lift);
      const int8_t *message = messages + j * LDPC_LANES;
      store(fresh + j * LDPC_LANES, gather(&a, load(in), load(message)));
      store(fresh + j * LDPC_LANES + 32, gather(&b, load(in + 32), load(message + 32)));
    }
    violated = _mm256_or_si256(violated, _mm256_or_si256(a.parity, b.parity));
    memset(fresh + degree * LDPC_LANES, LDPC_CERTAIN, LDPC_LANES);
    /* the last one, without a partner, is certain and adds nothing */
    for (int j = 0; j < degree; j += 2) {
      const int8_t *x = fresh + j * LDPC_LANES, *y = x + LDPC_LANES;
      a.even = _mm256_adds_epu8(a.even, fall_of(&a, x, fall));
      b.even = _mm256_adds_epu8(b.even, fall_of(&b, x + 32, fall));
      a.odd = _mm256_adds_epu8(a.odd, fall_of(&a, y, fall));
      b.odd = _mm256_adds_epu8(b.odd, fall_of(&b, y + 32, fall));
    }
    vec a1, a2, b1, b2;
    conclude(&a, &a1, &a2);
    conclude(&b, &b1, &b2);
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
