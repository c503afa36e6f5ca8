/* LDPC in C: every kernel gives the portable one's bits, for all values that can occur; codes and
 * plans keep what the kernels rely on; decoding finds an error pattern from its syndrome. */
#include "../ldpc.h"

#include <stdio.h>
#include <stdlib.h>

#include "../cpu.h"
#include "../secret.h"

#define CHECK(condition)                                              \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      return 1;                                                       \
    }                                                                 \
  } while (0)

enum { MOST = LDPC_MAX_LIFT + LDPC_LANES };

static uint64_t next(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/* Values of every size, many of them at and around the ends of the range. */
static int8_t awkward(uint64_t *state) {
  static const int8_t ends[] = {-128, -127, -32, -31, -1, 0, 1, 30, 31, 32, 126, 127};
  uint64_t x = next(state);
  if (x & 1) return (int8_t)(x >> 8);
  return x & 2 ? ends[(x >> 8) % sizeof ends] : (int8_t)((x >> 8) % 40);
}

typedef struct {
  int8_t in[LDPC_MAX_DEGREE][MOST], out[LDPC_MAX_DEGREE][MOST];
  int8_t messages[LDPC_MAX_DEGREE * LDPC_MAX_LIFT], sign[LDPC_MAX_LIFT];
} row;

static void fill(row *r, int degree, int lift, uint64_t *state) {
  memset(r, 0, sizeof *r);
  for (int j = 0; j < degree; j++) {
    for (int t = 0; t < lift; t++) r->in[j][t] = awkward(state);
    memcpy(r->in[j] + lift, r->in[j], LDPC_LANES);
  }
  for (int i = 0; i < degree * lift; i++) r->messages[i] = (int8_t)(next(state) % 63) - 31;
  for (int t = 0; t < lift; t++) r->sign[t] = (int8_t)-(int)(next(state) & 1);
}

static int run(ldpc_row_kernel *kernel, row *r, int degree, int lift, const int *shift) {
  ldpc_line line[LDPC_MAX_DEGREE];
  for (int j = 0; j < degree; j++) line[j] = (ldpc_line){r->in[j], r->out[j], shift[j]};
  return kernel(line, degree, lift, r->messages, r->sign);
}

static int test_kernels(ldpc_row_kernel *kernel) {
  row *a = malloc(sizeof *a), *b = malloc(sizeof *b);
  uint64_t state = 1;
  CHECK(a && b);
  for (int round = 0; round < 300; round++) {
    int degree = 1 + (int)(next(&state) % LDPC_MAX_DEGREE), lift = 64 << next(&state) % 5;
    int shift[LDPC_MAX_DEGREE];
    for (int j = 0; j < degree; j++) shift[j] = (int)(next(&state) % (unsigned)lift);
    fill(a, degree, lift, &state);
    if (round % 10 == 0) memset(a->sign, 0, sizeof a->sign); /* rounds without a violation, too */
    if (round % 10 == 0) memset(a->in, 5, sizeof a->in);
    memcpy(b, a, sizeof *a);
    int expected = run(ldpc_row_portable, a, degree, lift, shift);
    CHECK(round % 10 || expected == 0);
    CHECK(run(kernel, b, degree, lift, shift) == expected);
    CHECK(memcmp(a, b, sizeof *a) == 0);
  }
  free(a);
  free(b);
  return 0;
}

static int test_codes(void) {
  const uint8_t seed[32] = {1, 2, 3};
  for (int c = 0; c < LDPC_CODES; c++) {
    const ldpc_code *code = &ldpc_codes[c];
    CHECK(code->rows <= LDPC_MAX_ROWS && code->columns <= LDPC_MAX_COLUMNS);
    ldpc_plan plan;
    CHECK(ldpc_plan_fixed(&plan, 8192, 0.02, c, code->columns, 1024, 1, seed) == PL_OK);
    CHECK(plan.row_start[code->rows] <= LDPC_MAX_EDGES);
    for (int r = 0; r < code->rows; r++) {
      CHECK(plan.row_start[r + 1] - plan.row_start[r] <= LDPC_MAX_DEGREE);
      for (int e = plan.row_start[r] + 1; e < plan.row_start[r + 1]; e++)
        CHECK(plan.edge[e].column > plan.edge[e - 1].column); /* each at most once in a row */
    }
  }
  return 0;
}

static int test_plans(void) {
  uint8_t seed[32] = {0};
  ldpc_plan plan;
  for (int64_t bits = PL_LDPC_MIN_BITS; bits < 3000000; bits = bits * 5 / 4 + 1)
    for (double qber = 0; qber < 0.126; qber += 0.0125) {
      seed[0]++;
      CHECK(ldpc_plan_init(&plan, bits, qber, seed) == PL_OK);
      CHECK(plan.payload <= (int64_t)plan.columns * plan.lift);
      CHECK(plan.payload * plan.frames >= bits);
      for (int64_t p = 0; p < bits; p += bits / 50) {
        int64_t index = ldpc_key_index(&plan, p);
        CHECK(index >= 0 && index < bits && ldpc_order_position(&plan, index) == p);
      }
    }
  CHECK(ldpc_plan_init(&plan, PL_LDPC_MIN_BITS - 1, 0.02, seed) == PL_E_ARGUMENT);
  CHECK(ldpc_plan_init(&plan, PL_LDPC_MAX_BITS + 1, 0.02, seed) == PL_E_ARGUMENT);
  CHECK(ldpc_plan_init(&plan, 10000, -0.01, seed) == PL_E_ARGUMENT);
  CHECK(ldpc_plan_init(&plan, 10000, 0.13, seed) == PL_E_ARGUMENT);
  CHECK(ldpc_plan_init(&plan, 10000, 0.0 / 0.0, seed) == PL_E_ARGUMENT);
  return 0;
}

static int test_decoding(void) {
  const uint8_t seed[32] = {7};
  ldpc_plan plan;
  CHECK(ldpc_plan_fixed(&plan, 16384, 0.02, 5, 128, 128, 1, seed) == PL_OK);
  ldpc_decoder *decoder = ldpc_decoder_new(ldpc_row_for(pl_simd()));
  uint64_t error[256] = {0}, known[256] = {0}, found[256], state = 5;
  uint64_t target[LDPC_MAX_ROWS * LDPC_MAX_LIFT / 64] = {0};
  CHECK(decoder);
  for (int i = 0; i < 300; i++) {
    uint64_t x = next(&state) % 16384;
    error[x / 64] |= 1ull << (x & 63);
  }
  ldpc_syndrome_add(&plan, error, target);
  CHECK(ldpc_decode(decoder, &plan, target, known, 100, found) > 0);
  CHECK(memcmp(error, found, sizeof error) == 0);
  target[0] ^= 1; /* now an error that few patterns explain */
  memset(known, 0xff, sizeof known);
  CHECK(ldpc_decode(decoder, &plan, target, known, 5, found) == 0);
  ldpc_decoder_free(decoder);
  return 0;
}

/* A whole conversation at an error rate above the estimate, so that bits are asked for. */
static int test_conversation(int64_t bits, double rate, double estimate) {
  uint8_t seed[32] = {9};
  pl_secret *a = NULL, *b = NULL;
  pl_ldpc_alice *alice = NULL;
  pl_ldpc_bob *bob = NULL;
  uint64_t state = (uint64_t)bits;
  CHECK(pl_secret_new(&a, bits) == PL_OK && pl_secret_randomize(a) == PL_OK);
  CHECK(pl_secret_new(&b, bits) == PL_OK && pl_secret_copy(b, 0, a, 0, bits) == PL_OK);
  for (int64_t i = 0; i < bits; i++)
    if ((double)(next(&state) >> 11) * 0x1p-53 < rate)
      pl_secret_bytes(b)[i >> 3] ^= (uint8_t)(0x80 >> (i & 7));
  CHECK(pl_ldpc_alice_new(&alice, a, estimate, seed, INT64_MAX / 2) == PL_OK);
  CHECK(pl_ldpc_bob_new(&bob, b, estimate, seed) == PL_OK);
  size_t room = (size_t)pl_ldpc_alice_message_bytes(alice) + 4 * (size_t)bits;
  uint8_t *message = malloc(room), *answer = malloc(room);
  CHECK(message && answer);
  CHECK(pl_ldpc_alice_syndrome(alice, message, 8) == PL_E_CAPACITY);
  int64_t size = pl_ldpc_alice_syndrome(alice, message, room);
  CHECK(size == pl_ldpc_alice_message_bytes(alice));
  CHECK(pl_ldpc_bob_decode(bob, message, (size_t)size - 1) == PL_E_DATA);
  int open = pl_ldpc_bob_decode(bob, message, (size_t)size), rounds = 0;
  for (; open > 0 && rounds < 30; rounds++) {
    size = pl_ldpc_bob_request(bob, message, room);
    CHECK(size > 0);
    size = pl_ldpc_alice_disclose(alice, message, (size_t)size, answer, room);
    CHECK(size > 0);
    open = pl_ldpc_bob_receive(bob, answer, (size_t)size);
  }
  CHECK(open == 0 && (rounds > 0) == (rate > estimate));
  CHECK(pl_ldpc_bob_key(bob, b) == PL_OK && pl_secret_equal(a, b) == 1);
  pl_ldpc_alice_free(alice);
  pl_ldpc_bob_free(bob);
  pl_secret_free(a);
  pl_secret_free(b);
  free(message);
  free(answer);
  return 0;
}

int main(void) {
  if (test_kernels(ldpc_row_portable) || test_codes() || test_plans() || test_decoding()) return 1;
  if (test_conversation(60000, 0.02, 0.03) || test_conversation(60001, 0.06, 0.05)) return 1;
#if defined(__x86_64__)
  if (pl_simd_machine() >= PL_SIMD_AVX2 && test_kernels(ldpc_row_avx2)) return 1;
#endif
  return 0;
}
