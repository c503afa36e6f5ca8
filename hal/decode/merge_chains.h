/* The merging of runs by vectors, for inclusion by a kernel that says what it is compiled for
 * (TARGET, INLINE), how many keys a vector has (WIDE), what a vector is (vec), and
 *   vec load(const uint64_t *key);
 *   vec lower(vec x, vec y, vec *upper);   two ascending vectors to two that ascend as one
 *   void put_keys(vec keys, uint64_t *key);
 *   void put_tags(vec keys, int64_t first, int64_t *t, uint8_t *c);   see pl_key_origin
 *
 * Of the vector in hand and the next one of the run whose head is less, the lower half is final:
 * what is still to come is not less than that head, and at most WIDE - 1 keys taken from either run
 * are greater than what is to come. The upper half stays in hand. That takes no branch, but every
 * step waits for the one before; so four chains, which share the result evenly, run side by side.
 */
#include "merge.h"

enum { CHAINS = 4 };
_Static_assert((int)WIDE <= (int)PL_MERGE_PAD, "a load may begin at the end of a run");

/* State of a chain. */
typedef struct {
  vec hand;
  size_t at;    /* in a; the place in b is implied by what both have given */
  size_t begin; /* of its part of the result */
} chain;

/* The next keys of the run whose head is less. Sentinels are not less, so a is not overrun; b is
 * when both are at their ends, by one load. `both` is the sum of the places in a and b, counted
 * from the same key. Conditional moves by hand: compilers make this a branch, which would be missed
 * every other time. */
INLINE vec take(chain *s, const uint64_t *key, size_t both) {
  const size_t a = s->at;
  size_t from = both - a, next = a + WIDE;
  __asm__("cmp %[y], %[x]\n\tcmovb %[a], %[from]\n\tcmovnb %[a], %[next]"
          : [from] "+&r"(from), [next] "+&r"(next)
          : [a] "r"(a), [x] "r"(key[a]), [y] "r"(key[from])
          : "cc");
  s->at = next;
  return load(key + from);
}

/* As much of the next block as a step makes of this one. Past an end it is a no-op. */
INLINE void fetch(const pl_target *to, size_t step) {
  const pl_piece *p = to->next + step % to->streams;
  const uintptr_t i = step / to->streams * CHAINS * WIDE, t = (uintptr_t)p->t + i * sizeof *p->t;
  for (uintptr_t k = 0; k < CHAINS * WIDE * sizeof *p->t; k += 64)
    _mm_prefetch((const char *)(t + k), _MM_HINT_T0);
  _mm_prefetch((const char *)((uintptr_t)p->c + i), _MM_HINT_T0);
}

/* Every chain makes as many keys, a multiple of WIDE, and the last ends where the result does: they
 * overlap a little, and write the same there. */
INLINE void run(pl_keys a, pl_keys b, uint64_t *key, const pl_target *to) {
  const size_t n = a.n + b.n, each = (n / CHAINS + WIDE) / WIDE * WIDE;
  const size_t apart = (size_t)(b.key - a.key);
  chain s[CHAINS];
#pragma GCC unroll 4
  for (size_t k = 0; k < CHAINS; k++) {
    s[k].begin = (n - each) * k / (CHAINS - 1);
    s[k].at = pl_share(a, b, s[k].begin);
    s[k].hand = take(&s[k], a.key, s[k].begin + apart);
  }
  for (size_t i = 0; i < each; i += WIDE) {
    if (!key) fetch(to, i / WIDE);
#pragma GCC unroll 4
    for (size_t k = 0; k < CHAINS; k++) {
      vec next = take(&s[k], a.key, s[k].begin + apart + WIDE + i);
      vec keys = lower(s[k].hand, next, &s[k].hand);
      const size_t o = s[k].begin + i;
      if (key)
        put_keys(keys, key + o);
      else
        put_tags(keys, to->first, to->t + o, to->c + o);
    }
  }
}

TARGET static void merge(pl_keys a, pl_keys b, uint64_t *out) {
  if (a.n + b.n < WIDE)
    pl_merge_plain.merge(a, b, out);
  else
    run(a, b, out, NULL);
}

TARGET static void finish(pl_keys a, pl_keys b, uint64_t *spare, const pl_target *to) {
  if (a.n + b.n < WIDE)
    pl_merge_plain.finish(a, b, spare, to);
  else
    run(a, b, NULL, to);
}

