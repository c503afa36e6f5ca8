/* Disclosed pairs counted by detectors, for the judgement of a bench (pair_table.c). */
#ifndef PHOTONLINK_PL_PAIR_TABLE_H
#define PHOTONLINK_PL_PAIR_TABLE_H
#include <stddef.h>
#include <stdint.h>

#include "pl_status.h"

/* Pair k of n, with detectors alice[k] and bob[k] (0..3) and a residual, belongs to part
 * floor(k * parts / n). counts, sums: 16 of each part, at 16 * part + 4 * alice + bob. *squares: sum
 * of all squared residuals. PL_E_ARGUMENT: no such detector, or parts that n does not fill. */
PL_MUST_CHECK int pl_pair_table(const uint8_t *alice, const uint8_t *bob,
                                const int64_t *residual_ps, size_t n, size_t parts,
                                int64_t *counts, int64_t *sums, double *squares);
#endif
