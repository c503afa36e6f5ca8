#define FORMAT PL_FORMAT_T3_HH1
#include "fuzz_decoder.h"

/* Special bit, channel, 15-bit dtime, 10-bit sync count; channel 63 is an overflow. */
static void put_record(uint8_t *out, uint64_t units, unsigned kind) {
  unsigned field = kind % 3 ? 63 : kind & 63;
  uint64_t head = (uint64_t)(kind != 0) << 31 | (kind ? field : units & 3) << 25;
  put_le(out, head | (units * 40503 & 0x7fff) << 10 | (units >> 4 & 0x3ff), 4);
}
