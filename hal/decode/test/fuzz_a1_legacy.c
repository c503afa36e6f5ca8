#define FORMAT PL_FORMAT_A1_LEGACY
#include "fuzz_decoder.h"

/* 54-bit time, five bits unused, dummy bit, pattern. */
static void put_record(uint8_t *out, uint64_t units, unsigned kind) {
  uint64_t word = units << 10 | (kind ? kind & 1023 : 1u << (units & 3));
  put_le(out, word << 32 | word >> 32, 8);
}
