/* Pairs that were told one by one or as bitmaps, taken apart. Nothing here is secret. */
#include "core.h"

static int are_flags(const uint8_t *same, const uint8_t *basis, const uint8_t *marks, size_t n) {
  unsigned flags = 0, marked = 0;
  for (size_t k = 0; k < n; k++) {
    flags |= same[k] | basis[k];
    marked |= marks[k];
  }
  return flags <= 1 && marked <= 3;
}

int64_t pl_sift_pairs(const uint8_t *same, const uint8_t *basis, const uint8_t *marks,
                      const int8_t *steps, size_t n, uint8_t *hv, uint8_t *da, uint8_t *open,
                      uint8_t *open_basis, int8_t *open_steps, int64_t *marked) {
  if (!are_flags(same, basis, marks, n)) return PL_E_ARGUMENT;
  int64_t opened = 0, bits[2] = {0, 0};
  for (size_t k = 0; k < n; k += 8) {
    const size_t count = n - k < 8 ? n - k : 8;
    unsigned agree = 0, in_da = 0;
    for (size_t i = 0; i < count; i++) {
      const unsigned s = same[k + i], b = basis[k + i], m = marks[k + i];
      agree |= s << (7 - i);
      in_da |= b << (7 - i);
      bits[b] += (int64_t)(s * (m - (m >> 1))); /* how many of two are set */
      open_basis[opened] = (uint8_t)b;
      open_steps[opened] = steps[k + i];
      opened += !s;
    }
    const unsigned all = 0xff00u >> count & 0xff;
    hv[k / 8] = (uint8_t)(agree & ~in_da);
    da[k / 8] = (uint8_t)(agree & in_da);
    open[k / 8] = (uint8_t)(all & ~agree);
  }
  marked[0] = bits[0];
  marked[1] = bits[1];
  return opened;
}

static uint64_t load_be(const uint8_t *from, size_t bytes) {
  uint64_t word = 0;
  for (size_t i = 0; i < bytes; i++) word |= (uint64_t)from[i] << (56 - 8 * i);
  return word;
}

int64_t pl_bitmap_places(const uint8_t *bitmap, size_t n, int64_t from, int64_t *places) {
  if (n % 8 && bitmap[n / 8] & 0xff >> n % 8) return PL_E_DATA;
  int64_t found = 0;
  for (size_t k = 0; k < n; k += 64) {
    const size_t left = (n - k + 7) / 8;
    for (uint64_t word = load_be(bitmap + k / 8, left < 8 ? left : 8); word;) {
      const int at = __builtin_clzll(word);
      places[found++] = from + (int64_t)k + at;
      word &= ~((uint64_t)1 << 63 >> at);
    }
  }
  return found;
}
