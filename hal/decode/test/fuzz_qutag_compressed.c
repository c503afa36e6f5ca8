#define FORMAT PL_FORMAT_QUTAG_PACKED
#include "fuzz_decoder.h"

/* 37-bit time, 3-bit channel. */
static void put_record(uint8_t *out, uint64_t units, unsigned kind) {
  put_le(out, (units & 0x1fffffffff) | (uint64_t)((units ^ kind) & 7) << 37, 5);
}
