#define FORMAT PL_FORMAT_SWABIAN16
#include "fuzz_decoder.h"

/* Type, missed events, int32 channel, int64 time; kinds 1..4 open, count and close losses. */
static void put_record(uint8_t *out, uint64_t units, unsigned kind) {
  put_le(out, kind % 6 | (uint64_t)(kind & 0xffff) << 16, 4);
  put_le(out + 4, kind % 7 == 1 ? kind - 100 : (units & 7) + 1, 4);
  put_le(out + 8, units, 8);
}
