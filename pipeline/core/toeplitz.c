/* Toeplitz hashing of a secret, y_i = XOR_j seed[i-j+n-1] x_j, by additive Fourier transforms: exact
 * for any lengths.
 *
 * Strings are cut into chunks of 32 bits, read as polynomials over GF(2) of degree < 32, which
 * multiply in GF(2^64) without wrapping. With N chunks a of x in reverse order, chunk i of the
 * result is the correlation y_i = XOR_j s_(i+j) a_j: the transpose of multiplication by a, hence
 * transforms of the length of s suffice where a product would need that of s and x together
 * (Tellegen's principle; Bostan, Lecerf, Schost, ISSAC 2003).
 *
 * A long correlation is cut into rows x columns pieces (squares, if there is more than one of
 * both), whose windows of s depend on row + column only; the columns are summed in the transform
 * domain. So there is no padding to a power of two beyond the last row and column.
 *
 * The input is transformed as it arrives, a column as soon as it is complete; the seed is asked for
 * at the end, so that it can be drawn when all of the input is fixed. */
#include "toeplitz.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu.h"
#include "secret.h"

static const int64_t MAX_BITS = (int64_t)1 << 40;

int pl_toeplitz_new(pl_toeplitz **out) {
  *out = calloc(1, sizeof **out);
  if (!*out) return PL_E_MEMORY;
  (*out)->kernel = pl_fft_kernels(pl_simd());
  (*out)->max_log = PL_FFT_MAX_LOG;
  return PL_OK;
}

void pl_toeplitz_free(pl_toeplitz *context) {
  if (!context) return;
  pl_locked_free(context->secret, 8 * context->secret_words);
  free(context->open);
  free(context->twiddles);
  free(context);
}

/* ---- the present block ---- */

static size_t chunks_of(int64_t bits) { return ((size_t)bits + 31) / 32; }

/* The bits that the matrix multiplies. */
static int64_t tail_bits(const pl_toeplitz_block *block) { return block->n - block->head; }

static size_t transform_words(const pl_toeplitz_block *block) {
  return block->plan.columns ? (size_t)1 << block->plan.log : 0;
}

/* The locked memory: the transforms of the columns, one of a row of the result, and the head. Input
 * that is not transformed yet lies in the place of the row. */
static uint64_t *row_of(const pl_toeplitz *context) {
  return context->secret + context->block.plan.columns * transform_words(&context->block);
}

static uint8_t *head_of(const pl_toeplitz *context) {
  return (uint8_t *)(row_of(context) + transform_words(&context->block));
}

static size_t words_used(const pl_toeplitz_block *block) {
  return (block->plan.columns + 1) * transform_words(block) + (size_t)block->head / 64 + 1;
}

static bool under_way(const pl_toeplitz *context) {
  return context && context->block.owner == getpid();
}

/* Ends the block and wipes what it left. */
static void forget(pl_toeplitz *context) {
  if (under_way(context)) explicit_bzero(context->secret, 8 * words_used(&context->block));
  context->block = (pl_toeplitz_block){0};
}

/* Grows the working memory; contents are lost. */
static int reserve(pl_toeplitz *context, size_t secret_words, size_t open_words) {
  if (secret_words > context->secret_words) {
    pl_locked_free(context->secret, 8 * context->secret_words);
    context->secret = pl_locked_alloc(8 * secret_words);
    context->secret_words = context->secret ? secret_words : 0;
  }
  if (open_words > context->open_words) {
    free(context->open);
    context->open = pl_large_alloc(8 * open_words);
    context->open_words = context->open ? open_words : 0;
  }
  bool enough = context->secret_words >= secret_words && context->open_words >= open_words;
  return enough ? PL_OK : PL_E_MEMORY;
}

static int prepare(pl_toeplitz *context, const pl_toeplitz_block *block) {
  const pl_toeplitz_plan *p = &block->plan;
  size_t windows = p->columns ? p->rows + p->columns - 1 : 0;
  int status = reserve(context, words_used(block), windows * transform_words(block));
  if (status != PL_OK || windows == 0 || context->twiddle_log == p->log) return status;
  free(context->twiddles);
  context->twiddles = pl_large_alloc(8 * (transform_words(block) / 2));
  context->twiddle_log = context->twiddles ? p->log : 0;
  if (!context->twiddles) return PL_E_MEMORY;
  pl_fft_twiddles(context->twiddles, p->log);
  return PL_OK;
}

int pl_toeplitz_begin(pl_toeplitz *context, int64_t n, int64_t n_out, int modified) {
  if (!context) return PL_E_STATE;
  if (n < 0 || n > MAX_BITS || n_out < 0 || n_out > n) return PL_E_ARGUMENT;
  forget(context);
  pl_toeplitz_block block = {.owner = getpid(), .n = n, .n_out = n_out};
  if (modified) block.head = n_out;
  if (n_out > 0 && tail_bits(&block) > 0)
    block.plan = pl_toeplitz_best_plan(chunks_of(n_out), chunks_of(tail_bits(&block)),
                                       context->max_log);
  int status = prepare(context, &block);
  if (status == PL_OK) context->block = block;
  return status;
}

/* ---- the input ---- */

/* Transform of the n chunks in `chunks`, which has room for 2^log, continued with zeros. */
static void transform(const pl_toeplitz *context, enum pl_fft_mode mode, uint64_t *out,
                      uint32_t *chunks, size_t n) {
  int log = context->block.plan.log, used = 0;
  size_t size = (size_t)1 << log;
  while ((size_t)1 << used < n) used++;
  memset(chunks + n, 0, 4 * (size - n));
  /* Forward the change of basis is triangular: coefficients beyond the last one stay zero. */
  context->kernel->basis_32(mode, chunks, mode == PL_FFT_FORWARD ? used : log);
  for (size_t i = 0; i < size; i++) out[i] = chunks[i];
  pl_fft(context->kernel, mode, out, log, context->twiddles);
}

/* Bytes as they were copied -> chunks in reverse order. */
static void reverse(uint32_t *chunks, size_t n) {
  for (size_t i = 0; i < n / 2; i++) {
    uint32_t held = __builtin_bswap32(chunks[i]);
    chunks[i] = __builtin_bswap32(chunks[n - 1 - i]);
    chunks[n - 1 - i] = held;
  }
  if (n % 2) chunks[n / 2] = __builtin_bswap32(chunks[n / 2]);
}

/* Columns count from the end of the input. Takes what belongs to the one at bit `at` of the tail:
 * how much that was. */
static int64_t take(pl_toeplitz *context, int64_t at, const uint8_t *bits, int64_t start,
                    int64_t count) {
  const pl_toeplitz_plan *p = &context->block.plan;
  int64_t tail = tail_bits(&context->block);
  size_t chunks = chunks_of(tail), column = (chunks - 1 - (size_t)at / 32) / p->column;
  size_t last = chunks - column * p->column, first = last > p->column ? last - p->column : 0;
  int64_t end = column == 0 ? tail : 32 * (int64_t)last;
  uint32_t *waiting = (uint32_t *)row_of(context);
  if (count > end - at) count = end - at;
  pl_bits_copy((uint8_t *)waiting, at - 32 * (int64_t)first, bits, start, count);
  if (at + count < end) return count;
  size_t n = last - first;
  reverse(waiting, n);
  if (column == 0) waiting[0] &= ~(uint32_t)0 << (-tail & 31);
  transform(context, PL_FFT_FORWARD, context->secret + (column << p->log), waiting, n);
  return count;
}

int pl_toeplitz_add(pl_toeplitz *context, const pl_secret *x, int64_t start, int64_t count) {
  const uint8_t *bits = pl_secret_bytes(x);
  if (!bits || !under_way(context)) return PL_E_STATE;
  if (start < 0 || count < 0 || count > pl_secret_bits(x) - start) return PL_E_RANGE;
  pl_toeplitz_block *block = &context->block;
  if (count > block->n - block->taken) return PL_E_LIMIT;
  while (count > 0) {
    int64_t took = count;
    if (block->taken < block->head) {
      if (took > block->head - block->taken) took = block->head - block->taken;
      pl_bits_copy(head_of(context), block->taken, bits, start, took);
    } else if (block->plan.columns) {
      took = take(context, block->taken - block->head, bits, start, count);
    }
    block->taken += took;
    start += took;
    count -= took;
  }
  return PL_OK;
}

/* ---- the result ---- */

/* The 2^log chunks of the seed from bit `from` on, which is negative for the first window. */
static size_t load_seed(uint32_t *chunks, size_t size, const uint8_t *seed, int64_t from,
                        int64_t bits) {
  int64_t to = from < 0 ? -from : 0, n = 32 * (int64_t)size - to;
  if (n > bits - (from + to)) n = bits - (from + to);
  size_t used = chunks_of(to + n);
  chunks[0] = chunks[used - 1] = 0;
  pl_bits_copy((uint8_t *)chunks, to, seed, from + to, n);
  for (size_t i = 0; i < used; i++) chunks[i] = __builtin_bswap32(chunks[i]);
  return used;
}

/* Adds chunk products, each overlapping the one before by half, to the big-endian chunks of y. */
static void emit(uint8_t *y, size_t n, const uint64_t *products, uint32_t last_mask) {
  for (size_t i = 0; i < n; i++) {
    uint32_t chunk = (uint32_t)products[i] ^ (uint32_t)(products[i + 1] >> 32), old;
    if (i == n - 1) chunk &= last_mask;
    memcpy(&old, y + 4 * i, 4);
    old ^= __builtin_bswap32(chunk);
    memcpy(y + 4 * i, &old, 4); /* reaches into the slack after y, whose zeros stay zero */
  }
}

/* XORs the product with the matrix into y. The windows begin one chunk early: the first chunk of a
 * row needs the lower half of the product before it. Its first bit is position `tail` of the product
 * of seed and input, so there are 32 * chunks - tail zeros before the seed. */
static void multiply(pl_toeplitz *context, uint8_t *y, const uint8_t *seed) {
  const pl_toeplitz_block *block = &context->block;
  const pl_toeplitz_plan *p = &block->plan;
  size_t size = transform_words(block), chunks_out = chunks_of(block->n_out);
  size_t stride = p->rows > 1 ? p->row : p->column;
  int64_t tail = tail_bits(block), early = 32 * (int64_t)chunks_of(tail) - tail;
  uint64_t *row = row_of(context);
  uint32_t *chunks = (uint32_t *)row;
  for (size_t w = 0; w < p->rows + p->columns - 1; w++) {
    size_t n = load_seed(chunks, size, seed, 32 * (int64_t)(w * stride) - early,
                         tail + block->n_out - 1);
    transform(context, PL_FFT_SEED, context->open + w * size, chunks, n);
  }
  for (size_t r = 0; r < p->rows; r++) {
    size_t from = r * p->row, left = chunks_out - from, count = left < p->row ? left : p->row;
    int used = 0;
    while ((size_t)1 << used < count + 1) used++;
    context->kernel->multiply(row, context->secret, context->open + r * size, p->columns, size);
    pl_fft(context->kernel, PL_FFT_OUT, row, p->log, context->twiddles);
    context->kernel->basis_64(PL_FFT_OUT, row, used); /* triangular the other way round */
    emit(y + 4 * from, count, row, ~(uint32_t)0 << (count == left ? -block->n_out & 31 : 0));
  }
}

static int64_t seed_bytes_for(int64_t n, int64_t n_out, int64_t head) {
  int64_t bits = n - head + n_out - 1;
  return bits > 0 ? (bits + 7) / 8 : 0;
}

int pl_toeplitz_finish(pl_toeplitz *context, pl_secret *y, const uint8_t *seed,
                       int64_t seed_bytes) {
  uint8_t *out = pl_secret_bytes(y);
  if (!out || !under_way(context)) return PL_E_STATE;
  const pl_toeplitz_block *block = &context->block;
  if (block->taken < block->n) return PL_E_STATE;
  if (pl_secret_bits(y) != block->n_out) return PL_E_ARGUMENT;
  if (seed_bytes != seed_bytes_for(block->n, block->n_out, block->head)) return PL_E_ARGUMENT;
  memset(out, 0, ((size_t)block->n_out + 7) / 8);
  pl_bits_copy(out, 0, head_of(context), 0, block->head);
  if (block->plan.columns) multiply(context, out, seed);
  forget(context);
  return PL_OK;
}

int pl_toeplitz_hash(pl_toeplitz *context, pl_secret *y, const pl_secret *x, const uint8_t *seed,
                     int64_t seed_bytes, int modified) {
  int64_t n = pl_secret_bits(x), n_out = pl_secret_bits(y);
  if (n < 0 || n_out < 0) return PL_E_STATE;
  if (seed_bytes != seed_bytes_for(n, n_out, modified ? n_out : 0)) return PL_E_ARGUMENT;
  int status = pl_toeplitz_begin(context, n, n_out, modified);
  if (status != PL_OK) return status;
  status = pl_toeplitz_add(context, x, 0, n);
  if (status == PL_OK) status = pl_toeplitz_finish(context, y, seed, seed_bytes);
  if (status != PL_OK) forget(context);
  return status;
}
