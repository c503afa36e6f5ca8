#define FORMAT PL_FORMAT_TIMETAGGER4
#include "fuzz_decoder.h"

/* Two hits; now and then a header or the time of a start. */
static void put_record(uint8_t *out, uint64_t units, unsigned kind) {
  uint64_t hit = (units & 0xffffff) << 8 | (units & 3) | 0x10;
  if (kind % 4 == 1) hit = (uint64_t)(kind >> 4 & 3) << 32 | (uint64_t)(kind >> 8 & 63) << 24;
  if (kind % 4 == 2) hit = units;
  if (kind % 4 == 3) hit |= (uint64_t)kind << 32;
  put_le(out, hit, 8);
}
