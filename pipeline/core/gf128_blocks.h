/* The kernels of gf128.h on vectors, once per instruction set. The including file defines TARGET,
 * INLINE and, for its type `block` of 128 bits: to_block, from_block, load_bytes (16, big endian),
 * add, up and down (times and by x^64), and the carry-less products low_product, high_product (of
 * those halves of both) and cross_product (a.lo b.hi + a.hi b.lo). */

/* An unreduced product of 256 bits in three overlapping parts. */
typedef struct {
  block low, middle, high;
} triple;

INLINE triple nothing(void) {
  const block zero = to_block((pl_u128){0, 0});
  return (triple){zero, zero, zero};
}

INLINE void accumulate(triple *sum, block a, block b) {
  sum->low = add(sum->low, low_product(a, b));
  sum->high = add(sum->high, high_product(a, b));
  sum->middle = add(sum->middle, cross_product(a, b));
}

INLINE block reduce(triple t) {
  const block tail = to_block((pl_u128){0x87, 0x87});
  block low = add(t.low, up(t.middle)), high = add(t.high, down(t.middle));
  block top = high_product(high, tail);
  high = add(high, down(top));
  low = add(low, up(top));
  return add(low, low_product(high, tail));
}

/* n <= 8 blocks with one reduction: (hash ^ b1) k^n ^ b2 k^(n-1) ^ ... ^ bn k. */
INLINE block absorb_some(block hash, const block *powers, const uint8_t *data, size_t n) {
  triple t = nothing();
  accumulate(&t, add(hash, load_bytes(data)), powers[n - 1]);
  for (size_t i = 1; i < n; i++) accumulate(&t, load_bytes(data + 16 * i), powers[n - 1 - i]);
  return reduce(t);
}

TARGET static pl_u128 multiply(pl_u128 a, pl_u128 b) {
  triple t = nothing();
  accumulate(&t, to_block(a), to_block(b));
  return from_block(reduce(t));
}

TARGET static pl_u128 absorb(pl_u128 hash, const pl_u128 powers[PL_GF128_POWERS],
                             const uint8_t *data, size_t blocks) {
  block h = to_block(hash), power[8];
  for (int i = 0; i < 8; i++) power[i] = to_block(powers[i]);
  for (; blocks >= 8; blocks -= 8, data += 128) h = absorb_some(h, power, data, 8);
  if (blocks > 0) h = absorb_some(h, power, data, blocks);
  return from_block(h);
}
