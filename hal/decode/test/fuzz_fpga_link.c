#define FORMAT PL_FORMAT_FPGA_LINK
#include "fuzz_decoder.h"

/* A tag word; now and then the words of a frame, by its number. */
static void put_record(uint8_t *out, uint64_t units, unsigned kind) {
  static const uint32_t header[] = {40, ~0u, ~0u, ~0u, 0x49539b80, 0x5454, 0};
  uint32_t word = 1u << 30 | (uint32_t)(units & 0x3f) << 24 | (uint32_t)(units & 0xffffff);
  if (kind) word = kind % 16 < 7 ? header[kind % 16] : kind % 16 < 9 ? (uint32_t)(units >> 24) : kind;
  put_le(out, word, 4);
}
