/* Which code a key gets, how it is cut into frames and mixed, and the syndrome of a frame. */
#include "ldpc.h"

#include <math.h>

/* Leak over n h(q) that a frame is planned for, by lift: shorter frames need more. */
static double planned_f(double qber, int lift) {
  double f = qber < 0.015 ? 1.17 : 1.16;
  return lift >= 1024 ? f : lift == 512 ? f * 1.02 : lift == 256 ? f * 1.05 : f * 1.1;
}

static double entropy(double p) { return -p * log2(p) - (1 - p) * log2(1 - p); }

static int64_t greatest_divisor(int64_t a, int64_t b) {
  while (b) {
    int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

static uint64_t get64(const uint8_t *p) {
  uint64_t v = 0;
  for (int i = 7; i >= 0; i--) v = v << 8 | p[i];
  return v;
}

/* a^-1 mod n by Euclid; a and n coprime. */
static int64_t inverse_of(int64_t a, int64_t n) {
  int64_t r0 = n, r1 = a, t0 = 0, t1 = 1;
  while (r1) {
    int64_t quotient = r0 / r1, rest = r0 % r1, t = t0 - quotient * t1;
    r0 = r1;
    r1 = rest;
    t0 = t1;
    t1 = t;
  }
  return t0 < 0 ? t0 + n : t0;
}

static void mix(ldpc_plan *plan, const uint8_t seed[32]) {
  uint64_t n = (uint64_t)plan->bits;
  uint64_t step = (get64(seed) ^ get64(seed + 16)) % n;
  while (greatest_divisor((int64_t)step, plan->bits) != 1) step = (step + 1) % n;
  plan->step = (int64_t)step;
  plan->inverse = inverse_of(plan->step, plan->bits);
  plan->offset = (int64_t)((get64(seed + 8) ^ get64(seed + 24)) % n);
}

static void sort_edges(ldpc_plan *plan) {
  const ldpc_code *code = plan->code;
  int edges = 0;
  for (int row = 0; row < code->rows; row++) {
    plan->row_start[row] = edges;
    const uint16_t *e = code->edge;
    for (int column = 0; column < plan->columns; column++)
      for (int k = 0; k < code->degree[column]; k++, e++)
        if (*e >> 10 == row)
          plan->edge[edges++] =
              (ldpc_edge){(uint16_t)column, (uint16_t)((*e & 1023) & (plan->lift - 1))};
  }
  plan->row_start[code->rows] = edges;
}

int ldpc_plan_fixed(ldpc_plan *plan, int64_t bits, int code, int columns, int lift, int frames,
                    const uint8_t seed[32]) {
  if (bits < 2 || code < 0 || code >= LDPC_CODES || columns < 1 ||
      columns > ldpc_codes[code].columns || lift < LDPC_LANES || lift > LDPC_MAX_LIFT ||
      (lift & (lift - 1)) || bits > (int64_t)frames * columns * lift)
    return PL_E_ARGUMENT;
  *plan = (ldpc_plan){.code = &ldpc_codes[code],
                      .bits = bits,
                      .payload = (bits + frames - 1) / frames,
                      .frames = frames,
                      .lift = lift,
                      .columns = columns};
  mix(plan, seed);
  sort_edges(plan);
  return PL_OK;
}

int ldpc_plan_init(ldpc_plan *plan, int64_t bits, double qber, const uint8_t seed[32]) {
  if (bits < PL_LDPC_MIN_BITS || bits > PL_LDPC_MAX_BITS || !(qber >= 0 && qber <= 0.125))
    return PL_E_ARGUMENT;
  double h = entropy(qber < 0.001 ? 0.001 : qber);
  int64_t least = INT64_MAX;
  int best_code = 0, best_columns = 0, best_lift = 0, best_frames = 0;
  for (int lift = LDPC_MAX_LIFT; lift >= 128; lift /= 2)
    for (int c = 0; c < LDPC_CODES; c++) {
      const ldpc_code *code = &ldpc_codes[c];
      int64_t most = (int64_t)(code->rows / (planned_f(qber, lift) * h)); /* columns */
      most = most > code->columns ? code->columns : most;
      if (most * 3 < code->columns * 2 && c + 1 < LDPC_CODES) continue;
      int64_t frames = (bits + most * lift - 1) / (most * lift);
      int64_t leak = frames * code->rows * lift;
      if (leak >= least) continue;
      least = leak;
      best_code = c;
      best_lift = lift;
      best_frames = (int)frames;
      best_columns = (int)(((bits + frames - 1) / frames + lift - 1) / lift);
    }
  return ldpc_plan_fixed(plan, bits, best_code, best_columns, best_lift, best_frames, seed);
}

int64_t ldpc_key_index(const ldpc_plan *plan, int64_t position) {
  return (position * plan->step + plan->offset) % plan->bits;
}

int64_t ldpc_order_position(const ldpc_plan *plan, int64_t index) {
  return (index - plan->offset + plan->bits) % plan->bits * plan->inverse % plan->bits;
}

void ldpc_frame_load(const ldpc_plan *plan, int frame, const uint8_t *key, uint64_t *words) {
  int64_t n = ldpc_frame_bits(plan, frame), bits = plan->bits, step = plan->step;
  int64_t index = ldpc_key_index(plan, (int64_t)frame * plan->payload);
  memset(words, 0, (size_t)ldpc_frame_words(plan) * 8);
  for (int64_t x = 0; x < n; x += 64) {
    int64_t m = n - x < 64 ? n - x : 64;
    uint64_t word = 0;
    for (int64_t k = 0; k < m; k++) {
      word |= (uint64_t)(key[index >> 3] >> (7 - (index & 7)) & 1) << k;
      index += step;
      index -= index >= bits ? bits : 0;
    }
    words[x / 64] = word;
  }
}

void ldpc_syndrome_add(const ldpc_plan *plan, const uint64_t *words, uint64_t *syndrome) {
  int per = ldpc_words(plan);
  for (int row = 0; row < plan->code->rows; row++, syndrome += per)
    for (int e = plan->row_start[row]; e < plan->row_start[row + 1]; e++) {
      const uint64_t *block = words + plan->edge[e].column * per;
      int whole = plan->edge[e].shift / 64, part = plan->edge[e].shift % 64;
      for (int w = 0; w < per; w++) {
        uint64_t low = block[(w + whole) & (per - 1)], high = block[(w + whole + 1) & (per - 1)];
        syndrome[w] ^= part ? low >> part | high << (64 - part) : low;
      }
    }
}

int64_t ldpc_message_bytes(const ldpc_plan *plan) {
  return LDPC_HEADER + (int64_t)plan->frames * ldpc_syndrome_words(plan) * 8;
}

void ldpc_header(const ldpc_plan *plan, uint8_t out[LDPC_HEADER]) {
  out[0] = 1; /* of this format */
  out[1] = (uint8_t)(plan->code - ldpc_codes);
  out[2] = (uint8_t)plan->columns;
  out[3] = (uint8_t)(plan->lift / 64);
  for (int i = 0; i < 4; i++) out[4 + i] = (uint8_t)((uint64_t)plan->bits >> 8 * i);
}
