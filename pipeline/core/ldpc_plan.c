/* Choice of the code for a key, division into frames, mixing, and the syndrome of a frame. */
#include "ldpc.h"

#include <math.h>

enum { LEAST_LIFT = 128, MOST_LIFT = 768 }; /* a larger lift would not fit the second-level cache */

/* Leak over n h(q) that a frame is planned for. Short frames need more, and low rates, where the
 * number of errors in a frame varies most. */
static double planned_f(double qber, int lift) {
  double f = 1.16 + 0.00035 / (qber < 0.005 ? 0.005 : qber);
  return f * (1 + 0.05 * (512.0 / lift - 1));
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

static void mix(ldpc_plan *plan, const uint8_t seed[PL_SEED_BYTES]) {
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
              (ldpc_edge){(uint16_t)column, (uint16_t)((*e & 1023) % plan->lift)};
  }
  plan->row_start[code->rows] = edges;
}

int ldpc_plan_fixed(ldpc_plan *plan, int64_t bits, double qber, int code, int columns, int lift,
                    int frames, const uint8_t seed[PL_SEED_BYTES]) {
  if (bits < 2 || code < 0 || code >= LDPC_CODES || columns < 1 ||
      columns > ldpc_codes[code].columns || lift < LDPC_LANES || lift > LDPC_MAX_LIFT ||
      lift % LDPC_LANES || bits > (int64_t)frames * columns * lift)
    return PL_E_ARGUMENT;
  /* Rounded up: a step less and the first answers of a crowded check are all zero. */
  double p = qber < 0.001 ? 0.001 : qber;
  *plan = (ldpc_plan){.code = &ldpc_codes[code],
                      .channel = (int)ceil(LDPC_UNIT * log((1 - p) / p)),
                      .bits = bits,
                      .payload = (bits + frames - 1) / frames,
                      .frames = frames,
                      .lift = lift,
                      .columns = columns};
  mix(plan, seed);
  sort_edges(plan);
  return PL_OK;
}

typedef struct {
  double cost;
  int code, columns, lift, frames;
} choice;

/* The best lift for so many frames of this code, if any is. */
static void consider(choice *best, int64_t bits, double qber, int code, int frames) {
  const ldpc_code *c = &ldpc_codes[code];
  int64_t payload = (bits + frames - 1) / frames;
  for (int lift = LEAST_LIFT; lift <= MOST_LIFT; lift += LDPC_LANES) {
    int64_t columns = (payload + lift - 1) / lift;
    if (columns > c->columns) continue;
    double leak = (double)c->rows * lift * frames / (double)bits;
    double unused = 0.85 - (double)columns / c->columns; /* the degrees suit a nearly full code */
    if (unused < 0) unused = 0;
    if (leak < planned_f(qber, lift) * (1 + 0.25 * unused) * entropy(qber)) continue;
    double cost = leak * planned_f(qber, lift) * (1 + 0.3 * unused);
    if (cost < best->cost) *best = (choice){cost, code, (int)columns, lift, frames};
  }
}

int ldpc_plan_init(ldpc_plan *plan, int64_t bits, double qber, const uint8_t seed[PL_SEED_BYTES]) {
  if (bits < PL_LDPC_MIN_BITS || bits > PL_LDPC_MAX_BITS || !(qber >= 0 && qber <= 0.125))
    return PL_E_ARGUMENT;
  choice best = {.cost = INFINITY};
  double rate = qber < 0.001 ? 0.001 : qber;
  for (int code = 0; code < LDPC_CODES; code++) {
    int least = (int)(bits / ((int64_t)ldpc_codes[code].columns * MOST_LIFT)) + 1;
    for (int frames = least; frames < least + 8 + least / 2; frames++)
      consider(&best, bits, rate, code, frames);
  }
  return ldpc_plan_fixed(plan, bits, qber, best.code, best.columns, best.lift, best.frames, seed);
}

int64_t ldpc_key_index(const ldpc_plan *plan, int64_t position) {
  return (position * plan->step + plan->offset) % plan->bits;
}

int64_t ldpc_order_position(const ldpc_plan *plan, int64_t index) {
  return (index - plan->offset + plan->bits) % plan->bits * plan->inverse % plan->bits;
}

static inline uint64_t key_bit(const uint8_t *key, int64_t index) {
  return key[index >> 3] >> (7 - (index & 7)) & 1;
}

static inline int64_t further(int64_t index, int64_t step, int64_t bits) {
  index += step;
  return index < bits ? index : index - bits;
}

/* 64 bits from `index` on, as four independent walks of 16. */
static uint64_t load_word(const ldpc_plan *plan, const uint8_t *key, int64_t index,
                          int64_t step16) {
  int64_t step = plan->step, bits = plan->bits;
  int64_t a = index, b = further(a, step16, bits), c = further(b, step16, bits);
  int64_t d = further(c, step16, bits);
  uint64_t word = 0;
  for (int k = 0; k < 16; k++) {
    word |= key_bit(key, a) << k | key_bit(key, b) << (k + 16) | key_bit(key, c) << (k + 32) |
            key_bit(key, d) << (k + 48);
    a = further(a, step, bits);
    b = further(b, step, bits);
    c = further(c, step, bits);
    d = further(d, step, bits);
  }
  return word;
}

void ldpc_frame_load(const ldpc_plan *plan, int frame, const uint8_t *key, uint64_t *words) {
  int64_t n = ldpc_frame_bits(plan, frame), step16 = plan->step * 16 % plan->bits;
  int64_t start = (int64_t)frame * plan->payload;
  memset(words, 0, (size_t)ldpc_frame_words(plan) * 8);
  for (int64_t w = 0; w < n / 64; w++)
    words[w] = load_word(plan, key, ldpc_key_index(plan, start + 64 * w), step16);
  for (int64_t x = n / 64 * 64; x < n; x++)
    words[x / 64] |= key_bit(key, ldpc_key_index(plan, start + x)) << (x & 63);
}

void ldpc_syndrome_add(const ldpc_plan *plan, const uint64_t *words, uint64_t *syndrome) {
  int per = ldpc_words(plan);
  for (int row = 0; row < plan->code->rows; row++, syndrome += per)
    for (int e = plan->row_start[row]; e < plan->row_start[row + 1]; e++) {
      const uint64_t *block = words + plan->edge[e].column * per;
      int whole = plan->edge[e].shift / 64, part = plan->edge[e].shift % 64;
      for (int w = 0; w < per; w++) {
        int at = ldpc_wrap(w + whole, per);
        uint64_t low = block[at], high = block[ldpc_wrap(at + 1, per)];
        syndrome[w] ^= part ? low >> part | high << (64 - part) : low;
      }
    }
}

int ldpc_key_keep(pl_secret **kept, const pl_secret *key) {
  int64_t bits = pl_secret_bits(key);
  if (!*kept || pl_secret_bits(*kept) < bits) {
    pl_secret *longer;
    int status = pl_secret_new(&longer, bits);
    if (status != PL_OK) return status;
    pl_secret_free(*kept);
    *kept = longer;
  }
  int status = pl_secret_wipe(*kept, bits, pl_secret_bits(*kept));
  return status == PL_OK ? pl_secret_copy(*kept, 0, key, 0, bits) : status;
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
