/* Which kernels the core uses (cpu.c). */
#ifndef PHOTONLINK_PL_SIMD_H
#define PHOTONLINK_PL_SIMD_H
#include "pl_status.h"

/* Each level includes the lower ones; numbering starts again for each architecture. */
enum pl_simd {
  PL_SIMD_PORTABLE = 0,
  PL_SIMD_SSE = 1, /* x86-64 */
  PL_SIMD_AVX2 = 2,
  PL_SIMD_VPCLMUL = 3,
  PL_SIMD_AVX512 = 4,
  PL_SIMD_NEON = 1 /* 64-bit Arm, with PMULL */
};
/* The level in force. PHOTONLINK_SIMD forces one by name; PL_E_ARGUMENT when that names no level
 * or one the machine lacks (the kernels are then the portable ones). */
PL_MUST_CHECK int pl_simd_level(void);
/* Of a level of this architecture, as in PHOTONLINK_SIMD: portable sse avx2 vpclmul avx512, or
 * portable neon. NULL: it has no such level. */
const char *pl_simd_name(int level);
#endif
