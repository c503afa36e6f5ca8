#define FORMAT PL_FORMAT_QUTAG
#include "fuzz_decoder.h"

/* int64 time, uint16 channel. */
static void put_record(uint8_t *out, uint64_t units, unsigned kind) {
  put_le(out, kind % 5 == 1 ? ~units : units, 8);
  put_le(out + 8, kind ? kind & 0x1ff : units & 7, 2);
}
