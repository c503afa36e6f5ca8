#define FORMAT PL_FORMAT_T3_PH300
#include "fuzz_decoder.h"

/* 4-bit channel, 12-bit dtime, 16-bit sync count; channel 15 is special. */
static void put_record(uint8_t *out, uint64_t units, unsigned kind) {
  uint64_t dtime = kind ? kind % 3 ? 0 : kind & 0x1f : units * 40503 & 0xfff;
  put_le(out, (kind ? 15 : units & 7) << 28 | dtime << 16 | (units >> 4 & 0xffff), 4);
}
