/* Common parts of the fuzzers here. */
#ifndef PHOTONLINK_FUZZ_H
#define PHOTONLINK_FUZZ_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "secret.h"
#include "require.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

/* Memory of exactly this size, so that AddressSanitizer sees one byte more. */
static inline void *exactly(size_t bytes) {
  void *memory = malloc(bytes ? bytes : 1);
  REQUIRE(memory);
  return memory;
}

static inline uint8_t *exact_copy(const uint8_t *data, size_t size) {
  uint8_t *copy = exactly(size);
  if (size) memcpy(copy, data, size);
  return copy;
}

static inline uint32_t next(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return *state >> 8;
}

/* The input, read byte after byte; zeros beyond its end. */
typedef struct {
  const uint8_t *data;
  size_t size, at;
} source;

static inline uint64_t take(source *s, int bytes) {
  uint64_t word = 0;
  for (int i = 0; i < bytes; i++)
    word |= (uint64_t)(s->at < s->size ? s->data[s->at++] : 0) << (8 * i);
  return word;
}

/* A repeatable key; the same `state` gives the same bits. */
static inline pl_secret *key_of(int64_t n_bits, uint32_t state) {
  pl_secret *key;
  REQUIRE(pl_secret_new(&key, n_bits) == PL_OK);
  for (int64_t i = 0; i < n_bits / 8; i++) pl_secret_bytes(key)[i] = (uint8_t)next(&state);
  return key;
}
#endif
