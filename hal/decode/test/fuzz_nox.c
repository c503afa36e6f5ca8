#define FORMAT PL_FORMAT_NOX
#include "fuzz_decoder.h"

/* Type, 36-bit coarse time, 4 bits blank, channel, 12-bit fine time. */
static void put_record(uint8_t *out, uint64_t units, unsigned kind) {
  out[0] = kind % 8 == 1 ? 0x25 : 0x24;
  for (int i = 0; i < 4; i++) out[1 + i] = (uint8_t)(units >> (40 - 8 * i));
  out[5] = (uint8_t)(units >> 12 & 15) << 4;
  out[6] = (uint8_t)(((kind ? kind : units) & 15) << 4 | (units >> 8 & 15));
  out[7] = (uint8_t)units;
}
