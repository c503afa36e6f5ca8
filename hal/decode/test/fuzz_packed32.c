#define FORMAT PL_FORMAT_PACKED32
#include "fuzz_decoder.h"

/* A high word now and then, or 3-bit channel, slope, 27-bit time. */
static void put_record(uint8_t *out, uint64_t units, unsigned kind) {
  put_le(out, kind % 4 == 1 ? 1u << 31 | units >> 27 : ((units ^ kind) & 15) << 27 | (units & 0x7ffffff), 4);
}
