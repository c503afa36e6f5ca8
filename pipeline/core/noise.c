/* Discrete Laplace noise from ChaCha20 (RFC 8439, with a 64-bit counter and stream number as in
 * Bernstein's original, 2008).
 *
 * A geometric magnitude is a number of whole steps and a rest, which are independent: steps are
 * geometric, the rest is geometric and cut. Each comes from a table by inversion. Boundaries are
 * known to 2^-117, and a draw uses as many bits of them as it needs (32, or in one of some
 * 10^6 draws 128), so the law is exact to less than 2^-106 of total variation per draw. */
#include "noise.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu.h"
#include "secret.h"

typedef uint32_t lanes __attribute__((vector_size(4 * NOISE_LANES)));
typedef uint8_t bytes __attribute__((vector_size(4 * NOISE_LANES)));
#define INLINE static inline __attribute__((always_inline))

/* x = (x ^ y) rotated. By whole bytes a shuffle is one instruction where there is no rotation. */
INLINE void mix(lanes *x, const lanes *y, int k, int shuffle) {
  *x ^= *y;
#if defined(__x86_64__)
  if (shuffle && k % 8 == 0) {
    bytes from;
    for (int b = 0; b < 4 * NOISE_LANES; b++) from[b] = (uint8_t)((b & ~3) | ((b - k / 8) & 3));
    *x = (lanes)__builtin_shuffle((bytes)*x, from);
    return;
  }
#endif
  (void)shuffle;
  *x = *x << k | *x >> (32 - k);
}

INLINE void quarter(lanes *a, lanes *b, lanes *c, lanes *d, int shuffle) {
  *a += *b, mix(d, a, 16, shuffle);
  *c += *d, mix(b, c, 12, shuffle);
  *a += *b, mix(d, a, 8, shuffle);
  *c += *d, mix(b, c, 7, shuffle);
}

/* The next NOISE_LANES blocks. */
INLINE void blocks(noise_source *source, int shuffle) {
  static const uint32_t constants[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
  lanes start[16], x[16], low;
  for (int w = 0; w < 4; w++) start[w] = (lanes){0} + constants[w];
  for (int w = 4; w < 12; w++) start[w] = (lanes){0} + source->key[w - 4];
  for (int lane = 0; lane < NOISE_LANES; lane++) low[lane] = (uint32_t)lane;
  start[12] = low + (uint32_t)source->counter; /* no carry: it counts in whole groups */
  start[13] = (lanes){0} + (uint32_t)(source->counter >> 32);
  start[14] = (lanes){0} + (uint32_t)source->stream;
  start[15] = (lanes){0} + (uint32_t)(source->stream >> 32);
  for (int w = 0; w < 16; w++) x[w] = start[w];
  for (int round = 0; round < 10; round++) {
    for (int k = 0; k < 4; k++) quarter(&x[k], &x[4 + k], &x[8 + k], &x[12 + k], shuffle);
    for (int k = 0; k < 4; k++)
      quarter(&x[k], &x[4 + (k + 1) % 4], &x[8 + (k + 2) % 4], &x[12 + (k + 3) % 4], shuffle);
  }
  for (int w = 0; w < 16; w++) {
    x[w] += start[w];
    memcpy(source->words + w * NOISE_LANES, &x[w], sizeof x[w]);
  }
  source->counter += NOISE_LANES;
}

static void blocks_portable(noise_source *source) { blocks(source, 0); }
#if defined(__x86_64__)
__attribute__((target("avx2"))) static void blocks_avx2(noise_source *source) {
  blocks(source, 1);
}
__attribute__((target("avx512f,avx512vl"))) static void blocks_avx512(noise_source *source) {
  blocks(source, 0); /* it rotates */
}
#endif

void pl_noise_refill(pl_noise *noise) {
#if defined(__x86_64__)
  if (pl_simd() >= PL_SIMD_AVX512)
    blocks_avx512(noise->source);
  else if (pl_simd() >= PL_SIMD_AVX2)
    blocks_avx2(noise->source);
  else
#endif
    blocks_portable(noise->source);
  noise->used = 0;
}

/* The first 32 bits are those of the boundary above `cell`: 96 more decide. */
size_t pl_noise_extended(pl_noise *noise, const noise_table *table, size_t cell, uint32_t head) {
  pl_u128x u = head;
  for (int k = 0; k < 3; k++) u = u << 32 | noise_word(noise);
  while (cell < table->last && u >= table->below[cell]) cell++;
  return cell;
}

/* ---- fractions as 128 bits behind the point ---- */

static const pl_u128x HALF = (pl_u128x)1 << 127;

static pl_u128x product(pl_u128x a, pl_u128x b) {
  const uint64_t a1 = (uint64_t)(a >> 64), a0 = (uint64_t)a;
  const uint64_t b1 = (uint64_t)(b >> 64), b0 = (uint64_t)b;
  const pl_u128x low = (pl_u128x)a0 * b0, x = (pl_u128x)a1 * b0, y = (pl_u128x)a0 * b1;
  const pl_u128x middle = (low >> 64) + (uint64_t)x + (uint64_t)y;
  return (pl_u128x)a1 * b1 + (x >> 64) + (y >> 64) + (middle >> 64);
}

static pl_u128x quotient(pl_u128x a, pl_u128x b) { /* a < b */
  pl_u128x q = 0;
  for (int bit = 0; bit < 128; bit++) {
    const int carry = (int)(a >> 127);
    a <<= 1;
    q <<= 1;
    if (carry || a >= b) {
      a -= b;
      q |= 1;
    }
  }
  return q;
}

/* exp(-1 / scale), its series; 1 is 0 modulo 2^128. */
static pl_u128x decay(uint64_t scale) {
  pl_u128x sum = 0, term = ~(pl_u128x)0 / scale;
  for (uint64_t k = 1; term; k++) {
    sum = k % 2 ? sum - term : sum + term;
    term /= scale * (k + 1);
  }
  return sum;
}

static void finish_table(noise_table *table, size_t cells) {
  table->last = (uint16_t)(cells - 1);
  table->below[cells - 1] = ~(pl_u128x)0;
  size_t cell = 0;
  for (size_t i = 0; i < cells; i++) table->head[i] = (uint32_t)(table->below[i] >> 96);
  for (uint32_t top = 0; top < 1u << NOISE_GUIDE_BITS; top++) {
    while (table->head[cell] < top << (32 - NOISE_GUIDE_BITS)) cell++;
    table->guide[top] = (uint16_t)cell;
  }
}

/* Powers p^j of p below 1: `power` is p^(j - 1) on entry, but 1 at j = 1. */
static pl_u128x next_power(pl_u128x power, pl_u128x p, size_t j) {
  return j == 1 ? p : product(power, p);
}

/* The rest: cell j of 2^step_bits with weight p^j. Below it: (1 - p^(j + 1)) / (1 - p^cells). */
static pl_u128x make_rest(noise_table *table, pl_u128x p, size_t cells) {
  pl_u128x power = 0;
  for (size_t j = 1; j <= cells; j++) {
    power = next_power(power, p, j);
    table->below[j - 1] = -power; /* 1 - p^j */
  }
  const pl_u128x all = -power;
  for (size_t j = 0; j + 1 < cells; j++) table->below[j] = quotient(table->below[j], all);
  finish_table(table, cells);
  return power;
}

/* Steps k with weight q^k, each split into up, 1 / (1 + p), and down, p / (1 + p). */
static void make_whole(noise_table *table, pl_u128x p, pl_u128x q, size_t steps) {
  pl_u128x power = 0, up = quotient(HALF, HALF + (p >> 1)), before = 0;
  for (size_t k = 1; k <= steps; k++) {
    power = next_power(power, q, k);
    table->below[2 * k - 1] = -power;
  }
  const pl_u128x all = -power;
  for (size_t k = 0; k < steps; k++) {
    const pl_u128x end =
        k + 1 < steps ? quotient(table->below[2 * k + 1], all) : ~(pl_u128x)0;
    table->below[2 * k] = before + product(end - before, up);
    table->below[2 * k + 1] = before = end;
  }
  finish_table(table, 2 * steps);
}

int pl_noise_new(pl_noise **out, const uint8_t *seed, uint64_t stream, int64_t scale_ps,
                 int64_t bound_ps) {
  *out = NULL;
  if (scale_ps < 0 || scale_ps > PL_NOISE_MAX_SCALE_PS) return PL_E_ARGUMENT;
  if (bound_ps < scale_ps || bound_ps > PL_NOISE_MAX_TAILS * scale_ps) return PL_E_ARGUMENT;
  pl_noise *noise = calloc(1, sizeof *noise);
  if (noise == NULL) return PL_E_MEMORY;
  noise->source = pl_locked_alloc(sizeof *noise->source);
  if (noise->source == NULL) {
    free(noise);
    return PL_E_MEMORY;
  }
  memcpy(noise->source->key, seed, PL_NOISE_SEED_BYTES); /* little-endian only, see secret.h */
  noise->source->stream = stream;
  noise->owner = getpid();
  noise->used = NOISE_WORDS;
  if (scale_ps > 0) {
    int bits = 0;
    while ((2 << bits) <= scale_ps && 2 << bits <= NOISE_STEPS) bits++;
    const int64_t step = (int64_t)1 << bits, steps = (bound_ps + step - 1) / step;
    const pl_u128x p = decay((uint64_t)scale_ps);
    make_whole(&noise->whole, p, make_rest(&noise->rest, p, (size_t)step), (size_t)steps);
    noise->step_bits = bits;
    noise->bound = steps * step;
  }
  *out = noise;
  return PL_OK;
}

void pl_noise_free(pl_noise *noise) {
  if (noise == NULL) return;
  pl_locked_free(noise->source, sizeof *noise->source);
  free(noise);
}

int64_t pl_noise_bound(const pl_noise *noise) { return noise->bound; }

int pl_noise_add(pl_noise *noise, int64_t *time_ps, size_t n) {
  if (noise->owner != getpid()) return PL_E_STATE;
  size_t used = noise->used;
  for (size_t k = 0; noise->bound && k < n; k++) time_ps[k] += noise_draw(noise, &used);
  noise->used = used;
  return PL_OK;
}

int pl_noise_words(pl_noise *noise, uint32_t *out, size_t n) {
  if (noise->owner != getpid()) return PL_E_STATE;
  for (size_t k = 0; k < n; k++) out[k] = noise_word(noise);
  return PL_OK;
}
