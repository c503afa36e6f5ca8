/* Normalised min-sum on one block row, plainly: what every other kernel must equal bit for bit. */
#include "ldpc.h"

typedef struct {
  uint8_t least, second;
  int8_t product; /* sign bit: of the product of all */
} summary;

static int8_t clamp(int v) { return (int8_t)(v < -128 ? -128 : v > 127 ? 127 : v); }

/* Chen and Fossorier, IEEE Trans. Commun. 50, 406 (2002), normalised; the layers of Hocevar 2004. */
int ldpc_row_portable(const ldpc_line *line, int degree, int lift, int8_t *messages,
                      const int8_t *sign, int scale) {
  int8_t fresh[LDPC_MAX_DEGREE];
  int violated = 0;
  for (int t = 0; t < lift; t++) {
    int8_t *message = messages + (t & -LDPC_LANES) * degree + (t & (LDPC_LANES - 1));
    summary s = {127, 127, sign[t]};
    int8_t parity = sign[t];
    for (int j = 0; j < degree; j++) {
      int8_t value = line[j].in[(t + line[j].shift) & (lift - 1)];
      int8_t extrinsic = clamp(value - message[j * LDPC_LANES]);
      uint8_t size = (uint8_t)(extrinsic < 0 ? -extrinsic : extrinsic);
      uint8_t greater = size > s.least ? size : s.least;
      s.second = greater < s.second ? greater : s.second;
      s.least = size < s.least ? size : s.least;
      s.product ^= extrinsic;
      parity ^= value;
      fresh[j] = extrinsic;
    }
    violated |= parity < 0;
    for (int j = 0; j < degree; j++) {
      uint8_t size = (uint8_t)(fresh[j] < 0 ? -fresh[j] : fresh[j]);
      int other = (size == s.least ? s.second : s.least) * scale >> 4;
      if ((int8_t)(s.product ^ fresh[j]) < 0) other = -other;
      message[j * LDPC_LANES] = (int8_t)other;
      line[j].out[t] = clamp(fresh[j] + other);
    }
  }
  return violated;
}
