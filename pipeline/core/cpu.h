/* Which vector instructions the kernels of this process may use; decided once. */
#ifndef PHOTONLINK_CPU_H
#define PHOTONLINK_CPU_H
#include "core.h"

/* The level in force, always a valid enum pl_simd: an unusable PHOTONLINK_SIMD gives the
 * portable kernels here and an error from pl_simd_level(). */
int pl_simd(void);

/* The machine's best level, independent of the environment variable. */
int pl_simd_machine(void);
#endif
