#define FORMAT PL_FORMAT_S15_FAST
#include "fuzz_decoder.h"

/* 26-bit time, status, dummy bit, pattern. */
static void put_record(uint8_t *out, uint64_t units, unsigned kind) {
  put_le(out, units << 6 | (kind ? kind & 63 : 1u << (units & 3)), 4);
}
