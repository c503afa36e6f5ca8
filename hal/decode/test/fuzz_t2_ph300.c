#define FORMAT PL_FORMAT_T2_PH300
#include "fuzz_decoder.h"

/* 4-bit channel, 28-bit time; channel 15 is special, with a marker mask in the low bits. */
static void put_record(uint8_t *out, uint64_t units, unsigned kind) {
  uint64_t tag = kind % 3 == 1 ? units & 0xffffff0 : units & 0xfffffff;
  put_le(out, (kind ? 15 : units & 7) << 28 | tag, 4);
}
