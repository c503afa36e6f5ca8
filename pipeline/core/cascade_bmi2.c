/* Cascade's inner loops for x86-64 with AVX2, BMI2 and POPCNT. */
#if defined(__x86_64__)
#define HOT(name) cc_bmi2_##name
#define HOT_TARGET __attribute__((target("avx2,bmi,bmi2,popcnt")))
#include "cascade_hot.h"
#else
typedef int cc_no_bmi2; /* ISO C wants something in every file */
#endif
