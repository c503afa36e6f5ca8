/* Own cpuid and xgetbv: __builtin_cpu_supports answers 0 under some compilers. */
#include "cpu.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

static const char *const names[] = {"portable", "sse", "avx2", "vpclmul", "avx512"};

static uint64_t xcr0(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}

int pl_simd_machine(void) {
  unsigned a, b = 0, c = 0, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return PL_SIMD_PORTABLE;
  const unsigned sse = bit_SSE4_1 | bit_SSSE3 | bit_PCLMUL | bit_POPCNT;
  if ((c & sse) != sse) return PL_SIMD_PORTABLE;
  /* The operating system must save the upper halves of the registers (XCR0 bits 1 and 2). */
  if (!(c & bit_OSXSAVE) || !(c & bit_AVX) || (xcr0() & 6) != 6) return PL_SIMD_SSE;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return PL_SIMD_SSE;
  const unsigned avx2 = bit_AVX2 | bit_BMI | bit_BMI2;
  if ((b & avx2) != avx2) return PL_SIMD_SSE;
  if (!(c & bit_VPCLMULQDQ)) return PL_SIMD_AVX2;
  /* mask registers, upper halves, upper sixteen registers: bits 5 to 7 */
  const unsigned avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
  const unsigned more = bit_AVX512VBMI2 | bit_GFNI;
  int wide = (b & avx512) == avx512 && (c & more) == more && (xcr0() & 0xe0) == 0xe0;
  return wide ? PL_SIMD_AVX512 : PL_SIMD_VPCLMUL;
}
#elif defined(__aarch64__)
#include <sys/auxv.h>

static const char *const names[] = {"portable", "neon"};

int pl_simd_machine(void) {
  return getauxval(AT_HWCAP) & HWCAP_PMULL ? PL_SIMD_NEON : PL_SIMD_PORTABLE;
}
#else
static const char *const names[] = {"portable"};

int pl_simd_machine(void) { return PL_SIMD_PORTABLE; }
#endif

const char *pl_simd_name(int level) {
  return level >= 0 && level < (int)(sizeof names / sizeof *names) ? names[level] : NULL;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int decided; /* written under `once`, constant afterwards */

static void decide(void) {
  const char *wanted = getenv("PHOTONLINK_SIMD");
  int machine = pl_simd_machine();
  decided = machine;
  if (!wanted || !*wanted) return;
  decided = PL_E_ARGUMENT;
  for (int level = 0; level <= machine; level++)
    if (strcmp(wanted, names[level]) == 0) decided = level;
}

int pl_simd_level(void) {
  pthread_once(&once, decide);
  return decided;
}

int pl_simd(void) {
  int level = pl_simd_level();
  return level < 0 ? PL_SIMD_PORTABLE : level;
}
