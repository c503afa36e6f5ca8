/* Toeplitz hashing by additive Fourier transforms, exact for any lengths.
 *
 * Strings are cut into chunks of 32 bits, read as polynomials over GF(2) of degree < 32, which
 * multiply in GF(2^64) without wrapping. With M chunks a of x in reverse order, chunk i of the
 * result is the correlation y_i = XOR_j s_(i+j) a_j: the transpose of multiplication by a, hence
 * transforms of the length of s suffice where a product would need that of s and x together
 * (Tellegen's principle; Bostan, Lecerf, Schost, ISSAC 2003).
 *
 * A long correlation is cut into rows x columns pieces (squares, if there is more than one of
 * both), whose windows of s depend on row + column only; the columns are summed in the transform
 * domain. So there is no padding to a power of two beyond the last row and column. */
#include <stdlib.h>
#include <string.h>

#include "secret.h"
#include "toeplitz.h"

typedef struct {
  int log;              /* transforms of 2^log chunks */
  size_t rows, columns; /* pieces of the result and of x */
  size_t row, column;   /* chunks per piece: row + column - 1 <= 2^log */
} plan;

static size_t pieces(size_t n, size_t size) { return (n + size - 1) / size; }

static plan plan_for(int log, size_t n_out, size_t n_in) {
  size_t size = (size_t)1 << log, half = size / 2;
  plan p = {log, 1, 1, n_out, n_in};
  if (n_out + n_in - 1 <= size) return p;
  if (n_out <= half) {
    p.column = size - n_out + 1;
  } else if (n_in <= half) {
    p.row = size - n_in + 1;
  } else {
    p.row = p.column = half;
  }
  p.rows = pieces(n_out, p.row);
  p.columns = pieces(n_in, p.column);
  return p;
}

/* The cheapest plan, in rough measured proportions. */
static plan best_plan(size_t n_out, size_t n_in, int max_log) {
  plan best = {0};
  double best_cost = 0;
  for (int log = max_log < 8 ? max_log : 8; log <= max_log; log++) {
    plan p = plan_for(log, n_out, n_in);
    double size = (double)((size_t)1 << log), products = (double)(p.rows * p.columns);
    double transforms = (double)(2 * (p.rows + p.columns) - 1);
    double cost = size * (transforms * (log + 8) + 2 * products);
    if (best.log == 0 || cost < best_cost) {
      best = p;
      best_cost = cost;
    }
  }
  return best;
}

/* Chunk i holds the 32 bits from bit `start + 32 i` on, zeros beyond `n` bits. */
static void load_chunks(uint32_t *chunks, size_t n_chunks, const uint8_t *bits, int64_t start,
                        int64_t n) {
  chunks[n_chunks - 1] = 0;
  pl_bits_copy((uint8_t *)chunks, 0, bits, start, n);
  for (size_t i = 0; i < n_chunks; i++) chunks[i] = __builtin_bswap32(chunks[i]);
}

static void reverse(uint32_t *chunks, size_t n) {
  for (size_t i = 0; i < n / 2; i++) {
    uint32_t held = chunks[i];
    chunks[i] = chunks[n - 1 - i];
    chunks[n - 1 - i] = held;
  }
}

/* Logarithm of the smallest power of two that is at least n. */
static int log_of(size_t n) {
  int log = 0;
  while ((size_t)1 << log < n) log++;
  return log;
}

/* Transform of chunks[0..n) padded with zeros; `scratch` holds 2^log chunks. */
static void into_transform(const pl_fft_kernel *kernel, enum pl_fft_mode mode, uint64_t *out,
                           const uint32_t *chunks, size_t n, int log, const uint64_t *twiddles,
                           uint32_t *scratch) {
  size_t size = (size_t)1 << log;
  memcpy(scratch, chunks, 4 * n);
  memset(scratch + n, 0, 4 * (size - n));
  /* Forward the change of basis is triangular: coefficients beyond the last one stay zero. */
  kernel->basis_32(mode, scratch, mode == PL_FFT_FORWARD ? log_of(n) : log);
  for (size_t i = 0; i < size; i++) out[i] = scratch[i];
  pl_fft(kernel, mode, out, log, twiddles);
}

/* Low half of the correlation just before the first: s[-1] a[0] + s[0] a[1] + ... */
static uint32_t chunk_before(const pl_gf128_kernel *kernel, const uint32_t *s, const uint32_t *a,
                             size_t n) {
  enum { TILE = 256 };
  uint64_t left[TILE], right[TILE], sum = 0;
  for (size_t at = 0; at < n; at += TILE) {
    size_t count = n - at < TILE ? n - at : TILE;
    for (size_t i = 0; i < count; i++) left[i] = s[(ptrdiff_t)(at + i) - 1];
    for (size_t i = 0; i < count; i++) right[i] = a[at + i];
    if (count % 2) left[count] = right[count] = 0;
    sum ^= kernel->dot(left, right, (count + 1) / 2 * 2).lo;
  }
  explicit_bzero(right, sizeof right);
  return (uint32_t)sum;
}

static int prepare(pl_toeplitz *context, const plan *p, size_t n_in, size_t n_s) {
  size_t size = (size_t)1 << p->log;
  size_t secret = (p->columns + 1) * size + size / 2 + n_in / 2 + 1;
  size_t open = (p->rows + p->columns - 1) * size + n_s / 2 + 2;
  int status = pl_toeplitz_reserve(context, secret, open);
  if (status != PL_OK || context->twiddle_log == p->log) return status;
  free(context->twiddles);
  context->twiddles = pl_large_alloc(8 * (size / 2));
  context->twiddle_log = context->twiddles ? p->log : 0;
  if (!context->twiddles) return PL_E_MEMORY;
  pl_fft_twiddles(context->twiddles, p->log);
  return PL_OK;
}

/* Adds chunk products, each overlapping the next by half, to the big-endian chunks of y. */
static uint32_t emit(uint8_t *y, size_t n, const uint64_t *products, uint32_t carry,
                     uint32_t last_mask) {
  for (size_t i = 0; i < n; i++) {
    uint32_t chunk = (uint32_t)(products[i] >> 32) ^ carry, old;
    carry = (uint32_t)products[i];
    if (i == n - 1) chunk &= last_mask;
    memcpy(&old, y + 4 * i, 4);
    old ^= __builtin_bswap32(chunk);
    memcpy(y + 4 * i, &old, 4);
  }
  return carry;
}

int pl_toeplitz_fast(pl_toeplitz *context, uint8_t *y, int64_t n_out, const uint8_t *x,
                     int64_t x_start, int64_t n, const uint8_t *seed) {
  size_t chunks_in = pieces((size_t)n, 32), chunks_out = pieces((size_t)n_out, 32);
  size_t chunks_s = chunks_in + chunks_out - 1;
  const plan p = best_plan(chunks_out, chunks_in, context->max_log);
  int status = prepare(context, &p, chunks_in, chunks_s);
  if (status != PL_OK) return status;
  const pl_fft_kernel *kernel = context->kernel;
  const uint64_t *twiddles = context->twiddles;
  size_t size = (size_t)1 << p.log;
  uint64_t *columns = context->secret, *result = columns + p.columns * size;
  uint32_t *scratch = (uint32_t *)(result + size), *a = scratch + size;
  uint64_t *windows = context->open;
  uint32_t *s = (uint32_t *)(windows + (p.rows + p.columns - 1) * size) + 1;

  /* Shifted so that the result starts with a chunk: its first bit is position n of the product,
   * and the bits of the seed before `skip` meet only the chunk before that. */
  int64_t skip = n - 32 * ((int64_t)chunks_in - 1);
  load_chunks(a, chunks_in, x, x_start, n);
  reverse(a, chunks_in);
  load_chunks(s, chunks_s, seed, skip, n + n_out - 1 - skip);
  load_chunks(s - 1, 1, seed, 0, skip);
  s[-1] >>= 32 - skip;
  uint32_t carry = chunk_before(context->products, s, a, chunks_in);

  for (size_t c = 0; c < p.columns; c++) {
    size_t from = c * p.column, left = chunks_in - from;
    into_transform(kernel, PL_FFT_FORWARD, columns + c * size, a + from,
                   left < p.column ? left : p.column, p.log, twiddles, scratch);
  }
  size_t stride = p.rows > 1 ? p.row : p.column;
  for (size_t w = 0; w < p.rows + p.columns - 1; w++) {
    size_t from = w * stride, left = chunks_s - from;
    into_transform(kernel, PL_FFT_SEED, windows + w * size, s + from, left < size ? left : size,
                   p.log, twiddles, scratch);
  }
  for (size_t r = 0; r < p.rows; r++) {
    size_t from = r * p.row, left = chunks_out - from, count = left < p.row ? left : p.row;
    kernel->multiply(result, columns, windows + r * size, p.columns, size);
    pl_fft(kernel, PL_FFT_OUT, result, p.log, twiddles);
    kernel->basis_64(PL_FFT_OUT, result, log_of(count)); /* triangular the other way round */
    bool last = count == left && n_out % 32;
    uint32_t mask = last ? ~0u << (32 - n_out % 32) : ~0u;
    carry = emit(y + 4 * from, count, result, carry, mask);
  }
  return PL_OK;
}
