#define FORMAT PL_FORMAT_FLAT64
#include "fuzz_decoder.h"

/* 3-bit channel, slope, 60-bit time. */
static void put_record(uint8_t *out, uint64_t units, unsigned kind) {
  put_le(out, (units & 0xfffffffffffffff) | (uint64_t)((units ^ kind) & 15) << 60, 8);
}
