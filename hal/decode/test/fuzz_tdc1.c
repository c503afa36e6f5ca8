#define FORMAT PL_FORMAT_TDC1
#include "fuzz_decoder.h"

/* 27-bit time, dummy bit, pattern. */
static void put_record(uint8_t *out, uint64_t units, unsigned kind) {
  put_le(out, units << 5 | (kind ? kind & 31 : 1u << (units & 3)), 4);
}
