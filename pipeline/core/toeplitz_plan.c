/* How a long correlation is cut into transforms. */
#include "toeplitz.h"

static size_t pieces(size_t n, size_t size) { return (n + size - 1) / size; }

static pl_toeplitz_plan plan_for(int log, size_t n_out, size_t n_in) {
  size_t size = (size_t)1 << log, half = size / 2;
  pl_toeplitz_plan p = {log, 1, 1, n_out, n_in};
  if (n_out + n_in <= size) return p;
  if (n_out <= half) {
    p.column = size - n_out;
  } else if (n_in <= half) {
    p.row = size - n_in;
  } else {
    p.row = p.column = half;
  }
  p.rows = pieces(n_out, p.row);
  p.columns = pieces(n_in, p.column);
  return p;
}

/* The cheapest plan, in rough measured proportions. */
pl_toeplitz_plan pl_toeplitz_best_plan(size_t chunks_out, size_t chunks_in, int max_log) {
  pl_toeplitz_plan best = {0};
  double best_cost = 0;
  for (int log = max_log < 8 ? max_log : 8; log <= max_log; log++) {
    pl_toeplitz_plan p = plan_for(log, chunks_out, chunks_in);
    double size = (double)((size_t)1 << log), products = (double)(p.rows * p.columns);
    double transforms = (double)(2 * (p.rows + p.columns) - 1);
    double cost = size * (transforms * (log + 8) + 5 * products);
    if (best.log == 0 || cost < best_cost) {
      best = p;
      best_cost = cost;
    }
  }
  return best;
}
