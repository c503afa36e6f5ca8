/* Which kernels the decoders and the merge use: chosen once from the CPU and PHOTONLINK_SIMD. */
#ifndef PHOTONLINK_PL_DECODE_LEVEL_H
#define PHOTONLINK_PL_DECODE_LEVEL_H
#include "pl_status.h"

enum pl_decode_level { PL_DECODE_PORTABLE = 0, PL_DECODE_AVX2 = 1, PL_DECODE_AVX512 = 2 };
PL_MUST_CHECK int pl_decode_level_get(void);
#endif
