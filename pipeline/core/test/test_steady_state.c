/* No allocation per block: once warm, a context serves block after block, shorter ones among them,
 * without asking for memory, locked or not. Every allocation of the process is counted. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core.h"
#include "require.h"

#define EXPORTED __attribute__((visibility("default"), used))
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#endif

static long allocations; /* one thread */

#if defined(SANITIZED)
EXPORTED void __sanitizer_malloc_hook(const volatile void *memory, size_t size);
void __sanitizer_malloc_hook(const volatile void *memory, size_t size) {
  (void)memory, (void)size;
  allocations++;
}
#elif defined(__GLIBC__)
void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
EXPORTED void *malloc(size_t n) { return allocations++, __libc_malloc(n); }
EXPORTED void *calloc(size_t n, size_t m) { return allocations++, __libc_calloc(n, m); }
EXPORTED void *realloc(void *p, size_t n) { return allocations++, __libc_realloc(p, n); }
EXPORTED void *aligned_alloc(size_t a, size_t n) { return allocations++, __libc_memalign(a, n); }
EXPORTED int posix_memalign(void **out, size_t a, size_t n) {
  allocations++;
  *out = __libc_memalign(a, n);
  return *out ? 0 : ENOMEM;
}
#endif
EXPORTED int mlock(const void *memory, size_t size) { /* every secret buffer passes here */
  allocations++;
  return (int)syscall(SYS_mlock, memory, size);
}

enum { BITS = 90000, SHORT = 20001, ROOM = 1 << 18, SLOTS = 2 };
static pl_secret *key[2], *noisy[2], *out[2]; /* long, short */
static uint8_t message[ROOM], answer[ROOM], seed[BITS / 8];

static void make_keys(void) {
  const int64_t bits[2] = {BITS, SHORT};
  for (int k = 0; k < 2; k++) {
    static uint8_t bytes[BITS / 8];
    size_t n = (size_t)(bits[k] + 7) / 8;
    for (int copy = 0; copy < 2; copy++) {
      srand(5);
      for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(rand() >> 7);
      for (int64_t i = 20; copy && i < bits[k]; i += 10 + rand() % 50)
        bytes[i / 8] ^= (uint8_t)(0x80 >> i % 8);
      pl_secret **secret = copy ? &noisy[k] : &key[k];
      REQUIRE(pl_secret_new(secret, bits[k]) == PL_OK);
      REQUIRE(pl_secret_import(*secret, bytes, (int64_t)n) == PL_OK);
    }
    REQUIRE(pl_secret_new(&out[k], bits[k]) == PL_OK);
  }
  for (size_t i = 0; i < sizeof seed; i++) seed[i] = (uint8_t)(rand() >> 7);
}

static void cascade(int k) {
  static pl_cascade_alice *alice;
  static pl_cascade_bob *bob;
  if (!alice) REQUIRE(pl_cascade_alice_new(&alice, key[k], seed, BITS) == PL_OK);
  if (!bob) REQUIRE(pl_cascade_bob_new(&bob, noisy[k], seed, 0.03) == PL_OK);
  REQUIRE(pl_cascade_alice_restart(alice, key[k], seed, BITS) == PL_OK);
  REQUIRE(pl_cascade_bob_restart(bob, noisy[k], seed, 0.03) == PL_OK);
  for (int64_t n; (n = pl_cascade_bob_request(bob, message, ROOM)) > 0;) {
    n = pl_cascade_alice_answer(alice, message, (size_t)n, answer, ROOM);
    REQUIRE(n > 0 && pl_cascade_bob_receive(bob, answer, (size_t)n) == PL_OK);
  }
  REQUIRE(pl_cascade_bob_key(bob, out[k]) == PL_OK);
}

static void cascade_many(int k) {
  static pl_cascade_alices *alices;
  static pl_cascade_bobs *bobs;
  if (!alices) REQUIRE(pl_cascade_alices_new(&alices, SLOTS) == PL_OK);
  if (!bobs) REQUIRE(pl_cascade_bobs_new(&bobs, SLOTS, 0) == PL_OK);
  const int64_t bits = pl_secret_bits(key[k]), start[] = {0, 16000, bits};
  for (int s = 0; s < SLOTS; s++) {
    int64_t n = start[s + 1] - start[s];
    REQUIRE(pl_cascade_alices_start(alices, s, key[k], start[s], n, seed, BITS) == PL_OK);
    REQUIRE(pl_cascade_bobs_start(bobs, s, noisy[k], start[s], n, seed, 0.03) == PL_OK);
  }
  size_t used, size = 0;
  for (int64_t n = 1; n > 0 || size;) {
    n = pl_cascade_bobs_step(bobs, answer, size, &used, message, ROOM, 99);
    REQUIRE(n >= 0 && used == size);
    n = pl_cascade_alices_step(alices, message, (size_t)n, &used, answer, ROOM, 99);
    REQUIRE(n >= 0);
    size = (size_t)n;
  }
  for (int s; (s = pl_cascade_bobs_finished(bobs)) > 0;)
    REQUIRE(pl_cascade_bobs_store(bobs, s - 1, out[k], start[s - 1],
                                  start[s] - start[s - 1]) == PL_OK);
}

static void ldpc(int k) {
  static pl_ldpc_alice *alice;
  static pl_ldpc_bob *bob;
  if (!alice) REQUIRE(pl_ldpc_alice_new(&alice, key[k], 0.02, seed, 2 * BITS) == PL_OK);
  if (!bob) REQUIRE(pl_ldpc_bob_new(&bob, noisy[k], 0.02, seed) == PL_OK);
  REQUIRE(pl_ldpc_alice_restart(alice, key[k], 0.02, seed, 2 * BITS) == PL_OK);
  REQUIRE(pl_ldpc_bob_restart(bob, noisy[k], 0.02, seed) == PL_OK);
  int64_t n = pl_ldpc_alice_syndrome(alice, answer, ROOM);
  REQUIRE(n > 0);
  int open = pl_ldpc_bob_decode(bob, answer, (size_t)n);
  REQUIRE(open > 0); /* the estimate is too low, so that bits are asked for */
  while (open > 0) {
    n = pl_ldpc_bob_request(bob, message, ROOM);
    REQUIRE(n > 0);
    n = pl_ldpc_alice_disclose(alice, message, (size_t)n, answer, ROOM);
    REQUIRE(n > 0);
    open = pl_ldpc_bob_receive(bob, answer, (size_t)n);
  }
  REQUIRE(pl_ldpc_bob_key(bob, out[k]) == PL_OK);
}

static void hashes(int k) {
  static pl_toeplitz *context;
  static pl_polymac *mac;
  static pl_secret *half, *mac_key;
  if (!context) REQUIRE(pl_toeplitz_new(&context) == PL_OK);
  if (!mac_key) REQUIRE(pl_secret_new(&mac_key, 128) == PL_OK);
  if (!mac) REQUIRE(pl_polymac_new(&mac, mac_key) == PL_OK);
  if (!half) REQUIRE(pl_secret_new(&half, BITS / 2) == PL_OK);
  /* one length: the constants of a transform are made again when its size changes */
  REQUIRE(pl_toeplitz_hash(context, half, key[0], seed, BITS / 8, 1) == PL_OK);
  REQUIRE(pl_verification_hash(key[k], seed, 64, answer) == PL_OK);
  REQUIRE(pl_polymac_update(mac, seed, 5000) == PL_OK);
  REQUIRE(pl_polymac_tag(mac, key[k], 0, answer) == PL_OK);
  REQUIRE(pl_secret_copy(out[k], 0, key[k], 0, pl_secret_bits(key[k])) == PL_OK);
}

int main(void) {
  void (*const works[])(int) = {cascade, cascade_many, ldpc, hashes};
  make_keys();
  for (size_t w = 0; w < sizeof works / sizeof *works; w++) {
    long before = allocations;
    for (int k = 1; k >= 0; k--) works[w](k);
    REQUIRE(allocations > before); /* else nothing is counted here */
    before = allocations;
    for (int turn = 0; turn < 4; turn++) {
      works[w](turn % 2);
      REQUIRE(pl_secret_equal(out[turn % 2], key[turn % 2]) == 1);
    }
    if (allocations != before) {
      fprintf(stderr, "work %zu: %ld allocations\n", w, allocations - before);
      return 1;
    }
  }
  return 0;
}
