/* AVX2 kernels. Each takes groups of eight records and stops before the first record that is not
 * plain (special, several detectors, a step back, a leap): the one-by-one decoder reads that one.
 * So the two can only differ in speed. */
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

/* Fresh bytes come from memory: fetching 2 KiB ahead gains a third (past the end it is a no-op). */
AVX2 static inline __m256i load(const uint8_t *p) {
  _mm_prefetch((const char *)p + 2048, _MM_HINT_T0);
  return _mm256_loadu_si256((const __m256i *)p);
}

/* Eight times as int64, in two halves. */
typedef struct {
  __m256i lo, hi;
} times8;

/* Eight uint32 times a factor plus what there is. */
AVX2 static inline times8 scale8(__m256i tag, __m256i num, times8 plus) {
  __m256i a = _mm256_cvtepu32_epi64(_mm256_castsi256_si128(tag));
  __m256i b = _mm256_cvtepu32_epi64(_mm256_extracti128_si256(tag, 1));
  return (times8){_mm256_add_epi64(_mm256_mul_epu32(a, num), plus.lo),
                  _mm256_add_epi64(_mm256_mul_epu32(b, num), plus.hi)};
}

AVX2 static inline times8 base_of(const pl_decoder *d) {
  __m256i base = _mm256_set1_epi64x(d->base + d->rest);
  return (times8){base, base};
}

AVX2 static inline void store8(int64_t *t, times8 x) {
  _mm256_storeu_si256((__m256i *)t, x.lo);
  _mm256_storeu_si256((__m256i *)(t + 4), x.hi);
}

/* The low bytes of eight dwords. */
AVX2 static inline void store_bytes(uint8_t *c, __m256i dwords) {
  const __m256i pick = _mm256_setr_epi32(0x0c080400, -1, -1, -1, -1, 0x0c080400, -1, -1);
  __m256i x = _mm256_shuffle_epi8(dwords, pick);
  __m128i both = _mm_or_si128(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  _mm_storel_epi64((__m128i *)c, both);
}

/* One bit per lane with its sign bit set. */
AVX2 static inline unsigned lanes8(__m256i x) {
  return (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(x));
}

AVX2 static inline unsigned lanes4(__m256i x) {
  return (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(x));
}

/* The group at i has been written; only what lies before the first marked lane counts. */
static inline size_t plain_until(pl_decoder *d, size_t i, unsigned stop, const int64_t *t) {
  i += (size_t)__builtin_ctz(stop);
  if (i) d->last = t[i - 1];
  return i;
}

/* x with `before` pushed in at the front: [before, x0 .. x6]. */
AVX2 static inline __m256i behind(__m256i x, __m256i before) {
  const __m256i down = _mm256_setr_epi32(0, 0, 1, 2, 3, 4, 5, 6);
  return _mm256_blend_epi32(_mm256_permutevar8x32_epi32(x, down), before, 1);
}

AVX2 static inline __m256i top(__m256i x) {
  return _mm256_permutevar8x32_epi32(x, _mm256_set1_epi32(7));
}

AVX2 size_t pl_avx2_t2(pl_decoder *d, const uint8_t *p, size_t n, int64_t *t, uint8_t *c) {
  if (n < 8 || pl_scale(d, pl_u32(p) & 0x1ffffff, 0) < d->last) return 0;
  const __m256i num = _mm256_set1_epi64x(d->num);
  const times8 base = base_of(d);
  const __m256i tags = _mm256_set1_epi32(0x1ffffff);
  __m256i before = _mm256_setzero_si256();
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    __m256i r = load(p + 4 * i), tag = _mm256_and_si256(r, tags);
    __m256i back = _mm256_cmpgt_epi32(behind(tag, before), tag);
    unsigned stop = lanes8(_mm256_or_si256(r, back));
    before = top(tag);
    store8(t + i, scale8(tag, num, base));
    store_bytes(c + i, _mm256_srli_epi32(r, 25));
    if (stop) return plain_until(d, i, stop, t);
  }
  if (i) d->last = t[i - 1];
  return i;
}

/* x with `before` pushed in at the front, for four int64. */
AVX2 static inline __m256i behind4(__m256i x, __m256i before) {
  return _mm256_blend_epi32(_mm256_permute4x64_epi64(x, 0x90), before, 3);
}

AVX2 static inline __m256i top4(__m256i x) { return _mm256_permute4x64_epi64(x, 0xff); }

AVX2 size_t pl_avx2_t3(pl_decoder *d, const uint8_t *p, size_t n, int64_t *t, uint8_t *c) {
  const __m256i num = _mm256_set1_epi64x(d->num), dnum = _mm256_set1_epi64x(d->dnum);
  const times8 base = base_of(d);
  const __m256i syncs = _mm256_set1_epi32(1023), dtimes = _mm256_set1_epi32(0x7fff);
  __m256i before = _mm256_set1_epi64x(d->last);
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    __m256i r = load(p + 4 * i);
    times8 x = scale8(_mm256_and_si256(r, syncs), num, base);
    x = scale8(_mm256_and_si256(_mm256_srli_epi32(r, 10), dtimes), dnum, x);
    unsigned stop = lanes8(r) | lanes4(_mm256_cmpgt_epi64(behind4(x.lo, before), x.lo)) |
                    lanes4(_mm256_cmpgt_epi64(behind4(x.hi, top4(x.lo)), x.hi)) << 4;
    before = top4(x.hi);
    store8(t + i, x);
    store_bytes(c + i, _mm256_srli_epi32(r, 25));
    if (stop) return plain_until(d, i, stop, t);
  }
  if (i) d->last = t[i - 1];
  return i;
}

/* Channel of a pattern with one detector, else 0; the dummy bit makes it 0 too. */
AVX2 static inline __m256i channel_of(__m256i words) {
  const __m256i lut = _mm256_setr_epi8(0, 1, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0,
                                       0, 1, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0);
  /* adding 112 moves bit 4 to bit 7, which makes pshufb write 0 */
  return _mm256_shuffle_epi8(lut, _mm256_add_epi8(words, _mm256_set1_epi8(112)));
}

AVX2 size_t pl_avx2_tdc1(pl_decoder *d, const uint8_t *p, size_t n, int64_t *t, uint8_t *c) {
  if (n < 8) return 0;
  const __m256i num = _mm256_set1_epi64x(d->num);
  const times8 base = base_of(d);
  const __m256i low = _mm256_set1_epi32(31), zero = _mm256_setzero_si256();
  __m256i before = _mm256_set1_epi32((int)d->previous);
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    __m256i w = load(p + 4 * i), tag = _mm256_srli_epi32(w, 5);
    __m256i channel = channel_of(_mm256_and_si256(w, low));
    __m256i other = _mm256_cmpeq_epi32(channel, zero);
    unsigned stop = lanes8(_mm256_or_si256(_mm256_cmpgt_epi32(behind(tag, before), tag), other));
    before = top(tag);
    store8(t + i, scale8(tag, num, base));
    store_bytes(c + i, channel);
    if (stop) {
      i += (size_t)__builtin_ctz(stop);
      break;
    }
  }
  if (i) {
    d->last = t[i - 1];
    d->previous = pl_u32(p + 4 * i - 4) >> 5;
  }
  return i;
}

/* tag * 125 / 32, rounded half up: 125 = 128 - 2 - 1. */
AVX2 static inline __m256i a1_ps(__m256i tag, __m256i base) {
  __m256i sum = _mm256_sub_epi64(_mm256_slli_epi64(tag, 7), _mm256_slli_epi64(tag, 1));
  sum = _mm256_add_epi64(_mm256_sub_epi64(sum, tag), _mm256_set1_epi64x(16));
  return _mm256_add_epi64(_mm256_srli_epi64(sum, 5), base);
}

/* Nonzero lanes where tag steps back or leaps. */
AVX2 static inline __m256i a1_step(__m256i tag, __m256i before, __m256i leap) {
  __m256i step = _mm256_sub_epi64(tag, behind4(tag, before));
  return _mm256_or_si256(step, _mm256_cmpgt_epi64(step, leap)); /* sign bit: back */
}

AVX2 size_t pl_avx2_a1(pl_decoder *d, const uint8_t *p, size_t n, int64_t *t, uint8_t *c) {
  /* after a late or damaged word, `previous` is not the present time */
  if (n < 8 || d->last != pl_scale(d, (int64_t)d->previous, 0)) return 0;
  const __m256i base = _mm256_set1_epi64x(d->base), zero = _mm256_setzero_si256();
  const __m256i leap = _mm256_set1_epi64x(d->leap / 125 * 32 - 1);
  const __m256i low = _mm256_set1_epi64x(31);
  const int swap = d->format == PL_FORMAT_A1_LEGACY;
  /* bytes 0, 8 and 1, 9 of each half, to where the eight channels come to lie in order */
  const __m256i gather =
      _mm256_setr_epi32((int)0xffff0800, (int)0xffff0901, -1, -1, 0x0800ffff, 0x0901ffff, -1, -1);
  __m256i before = _mm256_set1_epi64x((int64_t)d->previous);
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    __m256i w0 = load(p + 8 * i), w1 = load(p + 8 * i + 32);
    if (swap) {
      w0 = _mm256_shuffle_epi32(w0, 0xb1);
      w1 = _mm256_shuffle_epi32(w1, 0xb1);
    }
    __m256i t0 = _mm256_srli_epi64(w0, 10), t1 = _mm256_srli_epi64(w1, 10);
    __m256i c0 = channel_of(_mm256_and_si256(w0, low));
    __m256i c1 = channel_of(_mm256_and_si256(w1, low));
    __m256i off0 = _mm256_or_si256(a1_step(t0, before, leap), _mm256_cmpeq_epi64(c0, zero));
    __m256i off1 = _mm256_or_si256(a1_step(t1, top4(t0), leap), _mm256_cmpeq_epi64(c1, zero));
    unsigned stop = lanes4(off0) | lanes4(off1) << 4;
    before = top4(t1);
    store8(t + i, (times8){a1_ps(t0, base), a1_ps(t1, base)});
    __m256i x = _mm256_shuffle_epi8(_mm256_or_si256(c0, _mm256_slli_epi64(c1, 8)), gather);
    __m128i both = _mm_or_si128(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    _mm_storel_epi64((__m128i *)(c + i), both);
    if (stop) {
      i += (size_t)__builtin_ctz(stop);
      break;
    }
  }
  if (i) {
    d->last = t[i - 1];
    uint64_t w = pl_u64(p + 8 * i - 8);
    d->previous = (swap ? w >> 32 | w << 32 : w) >> 10;
  }
  return i;
}
#endif
