/* Which kernels a decoder uses, and those in plain C. */
#include "kernels.h"

#include <pthread.h>
#include <stdlib.h>

#if defined(__x86_64__)
#include <cpuid.h>

/* What is in the CPU, with its registers kept by the operating system. __builtin_cpu_supports is
 * not used: it answers no under some compilers. The core asks the same (pl_simd_machine). */
int pl_cpu_level(void) {
  unsigned a, b, c, d, low, high;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return PL_DECODE_PORTABLE;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  (void)high;
  if ((low & 6) != 6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2))
    return PL_DECODE_PORTABLE;
  const unsigned avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
  const unsigned more = bit_AVX512VBMI2 | bit_VPCLMULQDQ | bit_GFNI;
  int wide = (b & avx512) == avx512 && (c & more) == more && (low & 0xe0) == 0xe0;
  return wide ? PL_DECODE_AVX512 : PL_DECODE_AVX2;
}

static int level_called(const char *name) {
  if (!strcmp(name, "avx512")) return PL_DECODE_AVX512;
  return strcmp(name, "avx2") && strcmp(name, "vpclmul") ? PL_DECODE_PORTABLE : PL_DECODE_AVX2;
}
#endif

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int decided = PL_DECODE_PORTABLE; /* written under `once`, constant afterwards */

/* The names are those of the core (pl_simd_level): sse has no kernel here, vpclmul adds none. */
static void decide(void) {
#if defined(__x86_64__)
  const char *forced = getenv("PHOTONLINK_SIMD");
  int machine = pl_cpu_level(), level = forced && *forced ? level_called(forced) : machine;
  if (level <= machine) decided = level;
#endif
}

int pl_decode_level_get(void) {
  pthread_once(&once, decide); /* asking the CPU takes 20 us on a virtual machine */
  return decided;
}

static pl_kernel plain_of(const pl_decoder *d) {
  int whole = d->den == 1;
  switch (d->format) {
  case PL_FORMAT_QUTAG: return whole ? pl_plain_qutag : NULL;
  case PL_FORMAT_QUTAG_PACKED: return whole && d->narrow ? pl_plain_qutag_packed : NULL;
  case PL_FORMAT_SWABIAN16: return pl_plain_swabian16;
  default: return NULL;
  }
}

pl_kernel pl_kernel_of(const pl_decoder *d, int level) {
#if defined(__x86_64__)
  /* products of two 32-bit numbers */
  int small = d->den == 1 && d->narrow && d->num <= UINT32_MAX && d->dnum <= UINT32_MAX;
  if (level >= PL_DECODE_AVX2) {
    switch (d->format) {
    case PL_FORMAT_TDC1: return pl_avx2_tdc1;
    case PL_FORMAT_A1:
    case PL_FORMAT_A1_LEGACY: return pl_avx2_a1;
    case PL_FORMAT_T2:
    case PL_FORMAT_T2_HH1:
      if (!small) return NULL;
      return level >= PL_DECODE_AVX512 ? pl_avx512_t2 : pl_avx2_t2;
    case PL_FORMAT_T3:
    case PL_FORMAT_T3_HH1: return small ? pl_avx2_t3 : NULL;
    default: break;
    }
  }
#else
  (void)level;
#endif
  return plain_of(d);
}

/* As in the AVX2 kernels. */
static inline void fetch_ahead(const uint8_t *p) { __builtin_prefetch(p + 2048); }

/* In order and no leap: one comparison, since a step back is a huge unsigned step. */
static inline int follows(int64_t t, int64_t last, int64_t leap) {
  return (uint64_t)t - (uint64_t)last <= (uint64_t)leap;
}

size_t pl_plain_qutag(pl_decoder *d, const uint8_t *p, size_t n, int64_t *t, uint8_t *c) {
  const int64_t num = d->num, limit = INT64_MAX / num, leap = d->leap;
  int64_t last = d->last;
  size_t i = 0;
  for (; i < n; i++, p += 10) {
    fetch_ahead(p);
    int64_t units = (int64_t)pl_u64(p), time = (int64_t)((uint64_t)units * (uint64_t)num);
    uint16_t channel = pl_u16(p + 8);
    if ((channel > UINT8_MAX) | (units < 0) | (units > limit) | !follows(time, last, leap)) break;
    t[i] = last = time;
    c[i] = (uint8_t)channel;
  }
  d->last = last;
  return i;
}

size_t pl_plain_qutag_packed(pl_decoder *d, const uint8_t *p, size_t n, int64_t *t, uint8_t *c) {
  const int64_t num = d->num, base = d->base + d->rest;
  /* after a wrap, a step to the end of the range is a late word */
  const uint64_t far = (uint64_t)(PL_PACKED_PERIOD - (d->units > 0 ? pl_packed_late(d) : 0));
  uint64_t previous = d->previous;
  size_t i = 0;
  for (; i < n; i++, p += 5) {
    fetch_ahead(p);
    uint64_t r = pl_u32(p) | (uint64_t)p[4] << 32, tag = r & (PL_PACKED_PERIOD - 1);
    if (tag - previous >= far) break; /* back is a huge unsigned step */
    previous = tag;
    t[i] = base + (int64_t)tag * num;
    c[i] = (uint8_t)(r >> 37);
  }
  if (i) d->last = t[i - 1];
  d->previous = previous;
  return i;
}

size_t pl_plain_swabian16(pl_decoder *d, const uint8_t *p, size_t n, int64_t *t, uint8_t *c) {
  const int64_t leap = d->leap;
  int64_t last = d->last;
  size_t i = 0;
  for (; i < n; i++, p += 16) {
    fetch_ahead(p);
    int64_t time = (int64_t)pl_u64(p + 8);
    uint32_t channel = pl_u32(p + 4);
    if ((p[0] != 0) | (channel - 1 > 126) | !follows(time, last, leap)) break;
    t[i] = last = time;
    c[i] = (uint8_t)channel;
  }
  d->last = last;
  return i;
}
