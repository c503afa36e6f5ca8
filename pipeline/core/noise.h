/* Random words and noise, for C: drawn one by one while clicks are taken in. */
#ifndef PHOTONLINK_NOISE_H
#define PHOTONLINK_NOISE_H
#include <sys/types.h>

#include "core.h"

enum {
  NOISE_LANES = 8,                 /* blocks of ChaCha20 at once */
  NOISE_WORDS = 16 * NOISE_LANES,  /* 32-bit words in store */
  NOISE_STEPS = 1024,              /* finest part of a draw: at most this many values */
  NOISE_CELLS = NOISE_STEPS + 1,   /* of a table, at most */
  NOISE_GUIDE_BITS = 10
};
__extension__ typedef unsigned __int128 pl_u128x;

/* A law over cells 0..last: cell i holds u < below[i] and not less than below[i - 1], u evenly from
 * 0 to 2^128. Its first 32 bits almost always decide. guide: the first cell for the top bits. */
typedef struct {
  uint32_t head[NOISE_CELLS];
  uint16_t guide[1 << NOISE_GUIDE_BITS];
  uint16_t last;
  pl_u128x below[NOISE_CELLS];
} noise_table;

/* In locked memory. */
typedef struct {
  uint32_t words[NOISE_WORDS], key[8];
  uint64_t counter, stream;
} noise_source;

struct pl_noise {
  noise_source *source;
  pid_t owner; /* a forked child finds zeros in locked memory: it must not draw */
  size_t used;
  int64_t bound;
  int step_bits; /* a draw is whole steps of 2^step_bits and a rest */
  noise_table whole, rest;
};

void pl_noise_refill(pl_noise *noise);
size_t pl_noise_extended(pl_noise *noise, const noise_table *table, size_t cell, uint32_t head);

static inline uint32_t noise_word(pl_noise *noise) {
  if (noise->used == NOISE_WORDS) pl_noise_refill(noise);
  return noise->source->words[noise->used++];
}

/* `used` is noise->used in a register of the caller, who brings it back when he is done: it would
 * go through memory twice a draw. */
static inline size_t noise_cell(pl_noise *noise, const noise_table *table, size_t *used) {
  if (__builtin_expect(*used == NOISE_WORDS, 0)) {
    pl_noise_refill(noise);
    *used = 0;
  }
  const uint32_t u = noise->source->words[(*used)++];
  size_t cell = table->guide[u >> (32 - NOISE_GUIDE_BITS)];
  cell += u > table->head[cell]; /* as likely as not where a boundary lies in between */
  while (__builtin_expect(u > table->head[cell], 0)) cell++;
  if (__builtin_expect(u == table->head[cell], 0)) {
    noise->used = *used;
    cell = pl_noise_extended(noise, table, cell, u);
    *used = noise->used;
  }
  return cell;
}

/* Cells of `whole` alternate: 0 steps up, 0 steps down, 1 up, 1 down, ... A negative draw is
 * -1 - magnitude, so that zero is not counted twice. */
static inline int64_t noise_draw(pl_noise *noise, size_t *used) {
  const size_t whole = noise_cell(noise, &noise->whole, used);
  const int64_t rest = (int64_t)noise_cell(noise, &noise->rest, used);
  const int64_t magnitude = ((int64_t)(whole >> 1) << noise->step_bits) + rest;
  return magnitude ^ -(int64_t)(whole & 1); /* -1 - x is ~x */
}
#endif
