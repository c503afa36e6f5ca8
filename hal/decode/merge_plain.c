/* The kernels of the merge in plain C. */
#include "merge.h"

enum { WALKS = 4 };

static int pack(const pl_piece *p, uint64_t from, uint64_t *key) {
  for (size_t i = 0; i < p->n; i++) key[i] = pl_key(p->t[i], i, p->c[i], from);
  return pl_ascends(p->t, p->n);
}

/* m steps of all walks without a branch; the place in b is implied by that in a. */
static void walk4(const uint64_t *restrict a, const uint64_t *restrict b, size_t *i,
                  const size_t *o, size_t m, uint64_t *restrict out) {
  size_t i0 = i[0], i1 = i[1], i2 = i[2], i3 = i[3];
  const uint64_t *b0 = b + o[0], *b1 = b + o[1], *b2 = b + o[2], *b3 = b + o[3];
  uint64_t *o0 = out + o[0], *o1 = out + o[1], *o2 = out + o[2], *o3 = out + o[3];
#define WALK(K)                                               \
  do {                                                        \
    uint64_t x = a[i##K], y = b##K[(ptrdiff_t)(s - i##K)];    \
    o##K[s] = x < y ? x : y;                                  \
    i##K += x < y;                                            \
  } while (0)
  for (size_t s = 0; s < m; s++) {
    WALK(0);
    WALK(1);
    WALK(2);
    WALK(3);
  }
#undef WALK
  i[0] = i0, i[1] = i1, i[2] = i2, i[3] = i3;
}

/* A two-way merge is one chain of dependent steps: four of them, a quarter of the way apart, run
 * side by side. A sentinel is not less than any key, so a walk may look past the end. */
static void merge(pl_keys a, pl_keys b, uint64_t *out) {
  const size_t n = a.n + b.n, quarter = n / WALKS;
  size_t i[WALKS], o[WALKS];
  for (size_t k = 0; k < WALKS; k++) {
    o[k] = quarter * k;
    i[k] = pl_share(a, b, o[k]);
  }
  walk4(a.key, b.key, i, o, quarter, out);
  size_t x = i[WALKS - 1];
  for (size_t end = quarter * WALKS; end < n; end++) {
    int first = a.key[x] < b.key[end - x];
    out[end] = first ? a.key[x] : b.key[end - x];
    x += (size_t)first;
  }
}

static void finish(pl_keys a, pl_keys b, uint64_t *restrict spare, const pl_target *to) {
  const uint64_t origin = pl_key_origin(to->first);
  int64_t *restrict t = to->t;
  uint8_t *restrict c = to->c;
  merge(a, b, spare);
  for (size_t i = 0; i < a.n + b.n; i++) {
    t[i] = (int64_t)((spare[i] >> PL_TIME_SHIFT) + origin);
    c[i] = (uint8_t)spare[i];
  }
}

const pl_merge_kernels pl_merge_plain = {pack, merge, finish};
