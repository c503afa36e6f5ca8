#define FORMAT PL_FORMAT_A0
#include "fuzz_decoder.h"

/* Two lines of 8 hexadecimal digits, low half first. */
static void put_record(uint8_t *out, uint64_t units, unsigned kind) {
  char text[19];
  uint64_t word = units << 10 | (kind ? kind & 1023 : 1u << (units & 3));
  snprintf(text, sizeof text, "%08x\n%08x\n", (unsigned)word, (unsigned)(word >> 32));
  memcpy(out, text, 18);
}
