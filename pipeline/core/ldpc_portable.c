/* One block row of the decoder in plain C; every other kernel must give the same bits. */
#include "ldpc.h"

typedef struct {
  uint8_t least, second;
  uint8_t sum[2]; /* of LDPC_FALL over even and odd edges */
  int8_t product; /* sign bit: of the product of all */
} summary;

static int8_t clamp(int v) { return (int8_t)(v < -128 ? -128 : v > 127 ? 127 : v); }
static uint8_t size_of(int8_t v) { return (uint8_t)(v < 0 ? -v : v); }

static int logarithm(int sum) {
  static const int8_t fine[16] = LDPC_LOG_FINE, middle[16] = LDPC_LOG_MIDDLE,
                      coarse[16] = LDPC_LOG_COARSE;
  return sum < 16 ? fine[sum] : sum < 64 ? middle[sum >> 2] : coarse[sum >> 4];
}

static void add_falls(summary *s, const int8_t *fresh, int degree) {
  static const uint8_t fall[16] = LDPC_FALL;
  for (int j = 0; j < degree; j++) {
    int above = size_of(fresh[j]) - s->least;
    int sum = s->sum[j & 1] + fall[above < 0 ? 0 : above < 15 ? above : 15];
    s->sum[j & 1] = (uint8_t)(sum < 255 ? sum : 255);
  }
}

int ldpc_row_portable(const ldpc_line *line, int degree, int lift, int8_t *messages,
                      const int8_t *sign) {
  int8_t fresh[LDPC_MAX_DEGREE];
  int violated = 0;
  for (int t = 0; t < lift; t++) {
    int8_t *message = messages + (t & -LDPC_LANES) * degree + (t & (LDPC_LANES - 1));
    summary s = {LDPC_CAP, LDPC_CAP, {0, 0}, sign[t]};
    int8_t parity = sign[t];
    for (int j = 0; j < degree; j++) {
      int8_t value = line[j].in[ldpc_wrap(t + line[j].shift, lift)];
      fresh[j] = clamp(value - message[j * LDPC_LANES]);
      uint8_t size = size_of(fresh[j]), greater = size > s.least ? size : s.least;
      s.second = greater < s.second ? greater : s.second;
      s.least = size < s.least ? size : s.least;
      s.product ^= fresh[j];
      parity ^= value;
    }
    violated |= parity < 0;
    add_falls(&s, fresh, degree);
    int sum = (s.sum[0] + s.sum[1] + 1) / 2, less = sum < LDPC_ONE ? 0 : sum - LDPC_ONE;
    int others = s.least - logarithm(sum < 1 ? 0 : sum - 1), own = s.least - logarithm(less);
    others = others < 0 ? 0 : others > s.least ? s.least : others;
    own = own < 0 ? 0 : own > s.second ? s.second : own;
    for (int j = 0; j < degree; j++) {
      int other = size_of(fresh[j]) == s.least ? own : others;
      if ((int8_t)(s.product ^ fresh[j]) < 0) other = -other;
      message[j * LDPC_LANES] = (int8_t)other;
      line[j].out[t] = clamp(fresh[j] + other);
    }
  }
  return violated;
}
