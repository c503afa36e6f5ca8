#include "core.h"

#include <string.h>

int pl_pair_table(const uint8_t *alice, const uint8_t *bob, const int64_t *residual_ps, size_t n,
                  size_t parts, int64_t *counts, int64_t *sums, double *squares) {
  if (parts == 0 || parts > n || n > (size_t)1 << 40) return PL_E_ARGUMENT;
  unsigned seen = 0;
  for (size_t k = 0; k < n; k++) seen |= alice[k] | bob[k];
  if (seen > 3) return PL_E_ARGUMENT;
  memset(counts, 0, 16 * parts * sizeof *counts);
  memset(sums, 0, 16 * parts * sizeof *sums);
  double all = 0;
  size_t k = 0;
  for (size_t part = 0; part < parts; part++) {
    const size_t end = ((part + 1) * n + parts - 1) / parts;
    int64_t *count = counts + 16 * part, *sum = sums + 16 * part;
    for (; k < end; k++) {
      const unsigned cell = 4u * alice[k] + bob[k];
      const double x = (double)residual_ps[k];
      count[cell]++;
      sum[cell] += residual_ps[k];
      all += x * x;
    }
  }
  *squares = all;
  return PL_OK;
}
