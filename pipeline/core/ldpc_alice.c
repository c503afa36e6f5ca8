/* Alice's end: her syndrome, and single bits that Bob asks for afterwards. Everything that she
 * sends is counted here first. No branch and no address depends on her key. */
#include <stdlib.h>

#include "ldpc.h"
#include "secret.h"

struct pl_ldpc_alice {
  ldpc_plan plan;
  pl_secret *key;  /* as many bits as the longest so far */
  uint64_t *words; /* one frame of the key, locked */
  int64_t leak, cap;
  int sent; /* the syndrome was sent; the same bits again are not counted twice */
};

void pl_ldpc_alice_free(pl_ldpc_alice *alice) {
  if (!alice) return;
  pl_secret_free(alice->key);
  pl_locked_free(alice->words, LDPC_FRAME_BYTES);
  free(alice);
}

int pl_ldpc_alice_restart(pl_ldpc_alice *alice, const pl_secret *key, double qber,
                          const uint8_t *seed, int64_t leak_cap) {
  if (!alice || !pl_secret_bytes(key)) return PL_E_STATE;
  if (!seed || leak_cap < 0) return PL_E_ARGUMENT;
  ldpc_plan plan;
  int status = ldpc_plan_init(&plan, pl_secret_bits(key), qber, seed);
  if (status == PL_OK) status = ldpc_key_keep(&alice->key, key);
  if (status != PL_OK) return status;
  alice->plan = plan;
  alice->cap = leak_cap;
  alice->leak = alice->sent = 0;
  return PL_OK;
}

int pl_ldpc_alice_new(pl_ldpc_alice **out, const pl_secret *key, double qber,
                      const uint8_t *seed, int64_t leak_cap) {
  if (!out) return PL_E_ARGUMENT;
  *out = NULL;
  pl_ldpc_alice *alice = calloc(1, sizeof *alice);
  if (!alice) return PL_E_MEMORY;
  alice->words = pl_locked_alloc(LDPC_FRAME_BYTES);
  int status = alice->words ? pl_ldpc_alice_restart(alice, key, qber, seed, leak_cap) : PL_E_MEMORY;
  if (status != PL_OK) {
    pl_ldpc_alice_free(alice);
    return status;
  }
  *out = alice;
  return PL_OK;
}

int64_t pl_ldpc_alice_syndrome(pl_ldpc_alice *alice, uint8_t *out, size_t capacity) {
  const uint8_t *key = alice ? pl_secret_bytes(alice->key) : NULL;
  if (!key) return PL_E_STATE;
  const ldpc_plan *plan = &alice->plan;
  int64_t bytes = ldpc_message_bytes(plan), leak = 8 * (bytes - LDPC_HEADER);
  if (!out || capacity < (size_t)bytes) return PL_E_CAPACITY;
  if (!alice->sent && alice->leak + leak > alice->cap) return PL_E_LIMIT;
  ldpc_header(plan, out);
  int n = ldpc_syndrome_words(plan);
  uint64_t syndrome[LDPC_MAX_ROWS * LDPC_MAX_LIFT / 64];
  for (int frame = 0; frame < plan->frames; frame++) {
    memset(syndrome, 0, (size_t)n * 8);
    ldpc_frame_load(plan, frame, key, alice->words);
    ldpc_syndrome_add(plan, alice->words, syndrome);
    memcpy(out + LDPC_HEADER + (size_t)frame * (size_t)n * 8, syndrome, (size_t)n * 8);
  }
  if (!alice->sent) alice->leak += leak;
  alice->sent = 1;
  return bytes;
}

int64_t pl_ldpc_alice_disclose(pl_ldpc_alice *alice, const uint8_t *request, size_t size,
                               uint8_t *out, size_t capacity) {
  const uint8_t *key = alice ? pl_secret_bytes(alice->key) : NULL;
  if (!key) return PL_E_STATE;
  if (!request || size % 4 || !size || size / 4 > (size_t)alice->plan.bits) return PL_E_DATA;
  size_t n = size / 4;
  int64_t last = -1;
  for (size_t i = 0; i < n; i++) {
    int64_t index = ldpc_get32(request + 4 * i);
    if (index <= last || index >= alice->plan.bits) return PL_E_DATA;
    last = index;
  }
  if (alice->leak + (int64_t)n > alice->cap) return PL_E_LIMIT;
  if (!out || capacity < (n + 7) / 8) return PL_E_CAPACITY;
  memset(out, 0, (n + 7) / 8);
  for (size_t i = 0; i < n; i++) {
    int64_t index = ldpc_get32(request + 4 * i);
    out[i >> 3] |= (uint8_t)((key[index >> 3] >> (7 - (index & 7)) & 1) << (i & 7));
  }
  alice->leak += (int64_t)n;
  return (int64_t)((n + 7) / 8);
}

int64_t pl_ldpc_alice_message_bytes(const pl_ldpc_alice *alice) {
  return alice ? ldpc_message_bytes(&alice->plan) : PL_E_STATE;
}

int64_t pl_ldpc_alice_leak(const pl_ldpc_alice *alice) { return alice ? alice->leak : PL_E_STATE; }
