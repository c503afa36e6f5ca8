/* Belief propagation over the frames' error pattern: layers, early end, hard decisions.
 *
 * Everything here follows from the error pattern and public data alone: the values start equal at
 * all positions, and the syndrome is that of the difference of the keys. */
#include "ldpc.h"

#include <stdlib.h>

#include "cpu.h"

enum { STRIDE = LDPC_MAX_LIFT + LDPC_LANES };

/* Room for every plan, so that one decoder serves many keys; unneeded memory is never touched. */
struct ldpc_decoder {
  _Alignas(64) int8_t values[2][LDPC_MAX_COLUMNS * STRIDE]; /* by block column, in one of both */
  int8_t messages[LDPC_MAX_EDGES * LDPC_MAX_LIFT];          /* per edge: lift values */
  int8_t sign[LDPC_MAX_ROWS * LDPC_MAX_LIFT];               /* per check */
  uint64_t syndrome[LDPC_MAX_ROWS * LDPC_MAX_LIFT / 64];
  uint32_t pinned[LDPC_MAX_COLUMNS * LDPC_MAX_LIFT];        /* positions known to hold no error */
  int n_pinned;
  ldpc_row_kernel *row;
  uint8_t current[LDPC_MAX_COLUMNS];
  uint16_t turn[LDPC_MAX_COLUMNS]; /* the column's value t belongs to its bit (t + turn) mod lift */
};

ldpc_row_kernel *ldpc_row_for(int simd) {
#if defined(__x86_64__)
  if (simd >= PL_SIMD_AVX2) return ldpc_row_avx2;
#endif
  (void)simd;
  return ldpc_row_portable;
}

ldpc_decoder *ldpc_decoder_new(ldpc_row_kernel *row) {
  ldpc_decoder *d = aligned_alloc(64, (sizeof *d + 63) & ~(size_t)63);
  if (d) d->row = row;
  return d;
}

void ldpc_decoder_free(ldpc_decoder *decoder) { free(decoder); }

/* Saturation could weaken the certain values: they are set again before every iteration. */
static void pin(ldpc_decoder *d, const ldpc_plan *plan) {
  for (int i = 0; i < d->n_pinned; i++) {
    int column = (int)d->pinned[i] / plan->lift, place = (int)d->pinned[i] % plan->lift;
    int8_t *value = d->values[d->current[column]] + (size_t)column * STRIDE;
    place = ldpc_wrap(place + plan->lift - d->turn[column], plan->lift);
    value[place] = LDPC_CERTAIN;
    if (place < LDPC_LANES) value[place + plan->lift] = LDPC_CERTAIN;
  }
}

static void begin(ldpc_decoder *d, const ldpc_plan *plan, const uint64_t *target,
                  const uint64_t *known) {
  int checks = plan->code->rows * plan->lift;
  d->n_pinned = 0;
  for (int w = 0; w < ldpc_frame_words(plan); w++)
    for (uint64_t left = known[w]; left; left &= left - 1)
      d->pinned[d->n_pinned++] = (uint32_t)(64 * w + __builtin_ctzll(left));
  for (int c = 0; c < plan->columns; c++)
    memset(d->values[0] + (size_t)c * STRIDE, plan->channel, (size_t)plan->lift + LDPC_LANES);
  for (int i = 0; i < checks; i++) d->sign[i] = (int8_t)-(int)(target[i >> 6] >> (i & 63) & 1);
  memset(d->messages, 0, (size_t)plan->row_start[plan->code->rows] * (size_t)plan->lift);
  memset(d->current, 0, sizeof d->current);
  memset(d->turn, 0, sizeof d->turn);
}

/* All block rows once; whether any check was violated when its turn came. */
static int iterate(ldpc_decoder *d, const ldpc_plan *plan) {
  int violated = 0;
  pin(d, plan);
  for (int row = 0; row < plan->code->rows; row++) {
    int first = plan->row_start[row], degree = plan->row_start[row + 1] - first;
    ldpc_line line[LDPC_MAX_DEGREE];
    for (int j = 0; j < degree; j++) {
      ldpc_edge e = plan->edge[first + j];
      size_t at = (size_t)e.column * STRIDE;
      int now = d->current[e.column];
      line[j] = (ldpc_line){d->values[now] + at, d->values[!now] + at,
                            ldpc_wrap(e.shift + plan->lift - d->turn[e.column], plan->lift)};
      d->current[e.column] = (uint8_t)!now;
      d->turn[e.column] = e.shift;
    }
    violated |= d->row(line, degree, plan->lift, d->messages + (size_t)first * (size_t)plan->lift,
                       d->sign + row * plan->lift);
    for (int j = 0; j < degree; j++) memcpy(line[j].out + plan->lift, line[j].out, LDPC_LANES);
  }
  return violated;
}

/* Sign bits of 64 values, the first least significant. */
static uint64_t signs(const int8_t *value) {
  uint64_t word = 0;
  for (int k = 0; k < 8; k++) {
    uint64_t eight;
    memcpy(&eight, value + 8 * k, 8);
    word |= ((eight >> 7 & 0x0101010101010101u) * 0x0102040810204080u) >> 56 << 8 * k;
  }
  return word;
}

static void decide(const ldpc_decoder *d, const ldpc_plan *plan, uint64_t *error) {
  int per = ldpc_words(plan);
  for (int c = 0; c < plan->columns; c++) {
    const int8_t *value = d->values[d->current[c]] + (size_t)c * STRIDE;
    int back = plan->lift - d->turn[c];
    for (int w = 0; w < per; w++)
      error[c * per + w] = signs(value + (64 * w + back) % plan->lift);
  }
}

static int agrees(ldpc_decoder *d, const ldpc_plan *plan, const uint64_t *target,
                  const uint64_t *error) {
  size_t bytes = (size_t)ldpc_syndrome_words(plan) * 8;
  memcpy(d->syndrome, target, bytes);
  ldpc_syndrome_add(plan, error, d->syndrome);
  uint64_t rest = 0;
  for (int w = 0; w < ldpc_syndrome_words(plan); w++) rest |= d->syndrome[w];
  return rest == 0;
}

int ldpc_decode(ldpc_decoder *d, const ldpc_plan *plan, const uint64_t *target,
                const uint64_t *known, int limit, uint64_t *error) {
  begin(d, plan, target, known);
  for (int i = 1; i <= limit; i++) {
    if (iterate(d, plan) && i < limit) continue;
    decide(d, plan, error);
    if (agrees(d, plan, target, error)) return i;
  }
  return 0;
}

int ldpc_doubt(ldpc_decoder *d, const ldpc_plan *plan, uint8_t *doubt) {
  int lift = plan->lift, violated = 0;
  for (int c = 0; c < plan->columns; c++) {
    const int8_t *value = d->values[d->current[c]] + (size_t)c * STRIDE;
    for (int t = 0; t < lift; t++) {
      int v = value[t] < 0 ? -value[t] : value[t];
      doubt[c * lift + ldpc_wrap(t + d->turn[c], lift)] = (uint8_t)((128 - v) / 2);
    }
  }
  for (int row = 0; row < plan->code->rows; row++) /* d->syndrome: what `agrees` left over */
    for (int t = 0; t < lift; t++) {
      if (!(d->syndrome[(row * lift + t) / 64] >> (t & 63) & 1)) continue;
      violated++;
      for (int e = plan->row_start[row]; e < plan->row_start[row + 1]; e++) {
        uint8_t *p =
            doubt + plan->edge[e].column * lift + ldpc_wrap(t + plan->edge[e].shift, lift);
        *p = (uint8_t)(*p > 191 ? 255 : *p + 64);
      }
    }
  return violated;
}
