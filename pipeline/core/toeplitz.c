/* Toeplitz hashing of a secret: y_i = XOR_j seed[i-j+n-1] x_j, a middle product of polynomials. */
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "secret.h"
#include "toeplitz.h"

/* Bit strings are read as big-endian words: string position p is bit 63 - p%64 of word p/64.
 * The product of two such words then has its coefficient k at position k + 1 of the 128-bit
 * result, and so has the product of two strings: c_k = XOR_j s[k-j] x_j is at position k + 1. */

/* Below this many products of 64 x 64 bits the transform does not pay. */
enum { DIRECT_PRODUCTS = 4096 };

int pl_toeplitz_new(pl_toeplitz **out) {
  *out = calloc(1, sizeof **out);
  if (!*out) return PL_E_MEMORY;
  (*out)->products = pl_gf128_kernels(pl_simd());
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

int pl_toeplitz_reserve(pl_toeplitz *context, size_t secret_words, size_t open_words) {
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

static void load_words(uint64_t *words, size_t n_words, const uint8_t *bytes, int64_t n_bits) {
  memset(words, 0, 8 * n_words);
  pl_bits_copy((uint8_t *)words, 0, bytes, 0, n_bits);
  for (size_t i = 0; i < n_words; i++) words[i] = __builtin_bswap64(words[i]);
}

/* XORs y_i = XOR_j seed[i-j+n-1] x[x_start+j] into y: the obvious way, on words. */
static int direct(pl_toeplitz *context, uint8_t *y, int64_t n_out, const uint8_t *x,
                  int64_t x_start, int64_t n, const uint8_t *seed) {
  size_t nx = ((size_t)n + 127) / 128 * 2, ns = ((size_t)(n + n_out - 1) + 63) / 64;
  size_t ny = ((size_t)n_out + 63) / 64 + 2, pad = nx;
  int status = pl_toeplitz_reserve(context, 2 * nx + pad + ns + ny + 2, 0);
  if (status != PL_OK) return status;
  uint64_t *xr = context->secret, *xf = xr + nx, *s = xf + nx + pad, *out = s + ns + 2;
  memset(xf, 0, 8 * nx);
  pl_bits_copy((uint8_t *)xf, 0, x, x_start, n);
  for (size_t j = 0; j < nx; j++) xr[nx - 1 - j] = __builtin_bswap64(xf[j]);
  memset(s - pad, 0, 8 * pad);
  load_words(s, ns + 2, seed, n + n_out - 1);
  /* word t of the product: high half of sum_j s[t-j] x[j] xor low half of the sum for t - 1 */
  size_t first = (size_t)n / 64;
  memset(out, 0, 8 * ny);
  for (size_t i = 0; i < ny; i++) {
    if (i + first > ns + 1) break; /* beyond the seed every wanted bit was already covered */
    pl_u128 sum = context->products->dot(s + first + i + 1 - nx, xr, nx);
    out[i] ^= sum.hi;
    if (i + 1 < ny) out[i + 1] ^= sum.lo;
  }
  if (first > 0) out[0] ^= context->products->dot(s + first - nx, xr, nx).lo;
  int shift = (int)(n % 64);
  for (int64_t i = 0; 64 * i < n_out; i++) {
    uint64_t word = shift ? out[i] << shift | out[i + 1] >> (64 - shift) : out[i];
    if (n_out - 64 * i < 64) word &= ~(uint64_t)0 << (64 - (n_out - 64 * i));
    uint64_t old;
    memcpy(&old, y + 8 * i, 8); /* reaches into the slack after y, whose zeros stay zero */
    old ^= __builtin_bswap64(word);
    memcpy(y + 8 * i, &old, 8);
  }
  return PL_OK;
}

int pl_toeplitz_hash(pl_toeplitz *context, pl_secret *y, const pl_secret *x, const uint8_t *seed,
                     int64_t seed_bytes, int modified) {
  uint8_t *out = pl_secret_bytes(y);
  const uint8_t *in = pl_secret_bytes(x);
  if (!context || !out || !in) return PL_E_STATE;
  int64_t n = pl_secret_bits(x), n_out = pl_secret_bits(y);
  if (x == y || n_out > n) return PL_E_ARGUMENT;
  int64_t seed_bits = modified ? n - 1 : n + n_out - 1;
  if (seed_bits < 0) seed_bits = 0;
  if (seed_bytes != (seed_bits + 7) / 8) return PL_E_ARGUMENT;
  if (pl_secret_wipe(y, 0, n_out) != PL_OK) return PL_E_STATE;
  if (modified) pl_bits_copy(out, 0, in, 0, n_out);
  int64_t start = modified ? n_out : 0;
  n -= start;
  if (n == 0 || n_out == 0) return PL_OK;
  bool small = (n >> 6) * (n_out >> 6) <= DIRECT_PRODUCTS;
  int status = small ? direct(context, out, n_out, in, start, n, seed)
                     : pl_toeplitz_fast(context, out, n_out, in, start, n, seed);
  if (context->secret) explicit_bzero(context->secret, 8 * context->secret_words);
  if (status == PL_OK) return PL_OK;
  return pl_secret_wipe(y, 0, n_out) == PL_OK ? status : PL_E_STATE; /* nothing half-written */
}
