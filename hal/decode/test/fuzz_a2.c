#define FORMAT PL_FORMAT_A2
#include "fuzz_decoder.h"

/* A line of 16 hexadecimal digits. */
static void put_record(uint8_t *out, uint64_t units, unsigned kind) {
  char text[18];
  uint64_t word = units << 10 | (kind ? kind & 1023 : 1u << (units & 3));
  snprintf(text, sizeof text, "%08x%08x\n", (unsigned)(word >> 32), (unsigned)word);
  memcpy(out, text, 17);
}
