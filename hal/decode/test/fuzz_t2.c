#define FORMAT PL_FORMAT_T2
#include "fuzz_decoder.h"

/* Special bit, channel, 25-bit time; kind 63 is an overflow. */
static void put_record(uint8_t *out, uint64_t units, unsigned kind) {
  unsigned field = kind % 3 ? 63 : kind & 63;
  put_le(out, (uint64_t)(kind != 0) << 31 | (kind ? field : units & 3) << 25 | (units & 0x1ffffff), 4);
}
