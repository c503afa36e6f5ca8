"""Write pipeline/core/ldpc_tables*.c: base matrices of the quasi-cyclic codes, from fixed seeds.

python benchmarks/ldpc_design.py [--check]      a few seconds; --check only compares

Three steps, described in docs/ldpc.md: column degrees (found by benchmarks/ldpc_evolution.py,
written into CODES below), which rows a column meets (rows balanced, columns of degree 2 a
forest), and the circulant shifts (no cycle of length 4 where that is possible, few of length 6,
columns of low degree first).
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LIFT = 1024
LIFTS = (
    128,
    192,
    256,
    320,
    384,
    448,
    512,
    576,
    640,
    704,
    768,
    1024,
)  # without cycles of 4, if possible
CORE = Path(__file__).resolve().parents[1] / "pipeline" / "core"
IN_FIRST_FILE = 4  # codes; each file stays below 500 lines


@dataclass(frozen=True)
class Code:
    rows: int
    degrees: dict[int, int]  # column degree: number of columns
    seed: int

    @property
    def columns(self) -> int:
        return sum(self.degrees.values())


def _code(seed: int, rows: int, columns: int, shares: dict[int, float]) -> Code:
    """Column degrees nearest to the shares; degree 3 takes the remainder."""
    degrees = {degree: round(share * columns) for degree, share in sorted(shares.items())}
    degrees[3] = columns - sum(n for degree, n in degrees.items() if degree != 3)
    return Code(rows, degrees, seed)


CODES = [  # shares as benchmarks/ldpc_evolution.py printed them; rates 0.09, 0.108, 0.135 ...
    _code(0, 18, 216, {2: 0.072, 6: 0.018, 7: 0.079, 8: 0.025, 10: 0.052, 12: 0.037, 15: 0.056, 20: 0.085}),  # noqa: E501
    _code(1, 20, 200, {2: 0.086, 4: 0.021, 5: 0.021, 7: 0.056, 8: 0.032, 10: 0.008, 12: 0.047, 15: 0.103, 20: 0.063}),  # noqa: E501
    _code(2, 23, 184, {2: 0.108, 4: 0.018, 5: 0.028, 7: 0.013, 8: 0.042, 10: 0.016, 12: 0.09, 15: 0.051, 20: 0.069}),  # noqa: E501
    _code(3, 25, 160, {2: 0.107, 5: 0.009, 6: 0.005, 8: 0.098, 10: 0.017, 15: 0.071, 20: 0.085}),
    _code(4, 31, 160, {2: 0.132, 4: 0.021, 6: 0.019, 7: 0.011, 8: 0.037, 12: 0.049, 15: 0.083, 20: 0.055}),  # noqa: E501
    _code(5, 38, 160, {2: 0.163, 5: 0.018, 6: 0.014, 8: 0.027, 10: 0.019, 12: 0.022, 15: 0.095, 20: 0.051}),  # noqa: E501
    _code(6, 47, 160, {2: 0.205, 4: 0.014, 7: 0.004, 8: 0.026, 10: 0.015, 12: 0.03, 15: 0.089, 20: 0.044}),  # noqa: E501
    _code(7, 58, 160, {2: 0.221, 4: 0.014, 6: 0.005, 10: 0.004, 12: 0.041, 15: 0.126}),
    _code(8, 64, 144, {2: 0.287, 10: 0.027, 12: 0.04, 15: 0.091}),
]  # fmt: skip


def column_order(degrees: dict[int, int]) -> list[int]:
    """Order in which every prefix has nearly the same shares of degrees (a prefix is used)."""
    total = sum(degrees.values())
    given = dict.fromkeys(degrees, 0)
    order = []
    for i in range(total):
        best = max(degrees, key=lambda d: (degrees[d] * (i + 1) / total - given[d], d))
        given[best] += 1
        order.append(best)
    return order


def choose_rows(code: Code, rng: np.random.Generator) -> list[list[int]]:
    """Rows of each column: those with fewest entries; columns of degree 2 form no cycle."""
    filled = np.zeros(code.rows)
    root = list(range(code.rows))

    def find(row: int) -> int:
        while root[row] != row:
            row = root[row]
        return row

    columns, seen = [], set()
    for degree in column_order(code.degrees):
        for attempt in range(1000):
            key = filled + rng.random(code.rows) * (0.9 + 0.02 * attempt)
            rows = sorted(int(r) for r in np.argsort(key)[:degree])
            if degree == 2:
                if find(rows[0]) == find(rows[1]):
                    continue
                root[find(rows[0])] = find(rows[1])
            elif tuple(rows) in seen and attempt < 50:
                continue
            break
        else:
            raise RuntimeError("no rows for a column; too many of degree 2?")
        seen.add(tuple(rows))
        filled[rows] += 1
        columns.append(rows)
    return columns


def choose_shifts(
    code: Code, columns: list[list[int]], rng: np.random.Generator
) -> list[list[int]]:
    """Greedy: each new difference avoids those in use (cycles of 4), then the cheapest sums (6)."""
    m, every = code.rows, np.arange(LIFT)
    used = {lift: np.zeros((m, m, lift), bool) for lift in LIFTS}  # shift differences in a column
    spectrum = np.zeros((m, m, LIFT // 2 + 1), complex)  # their weighted indicator, transformed
    frequency = np.arange(LIFT // 2 + 1)
    shifts: list[list[int]] = [[] for _ in columns]
    for index in sorted(range(len(columns)), key=lambda i: len(columns[i])):
        rows, chosen = columns[index], [0]
        for k in range(1, len(rows)):
            cost = rng.random(LIFT) * 0.5
            for j in range(k):
                a, b = rows[k], rows[j]
                two = np.fft.irfft((spectrum[a] * spectrum[:, b]).sum(axis=0), LIFT)
                cost += np.roll(two, chosen[j])
                for lift in LIFTS:
                    cost += lift * used[lift][a, b, (every - chosen[j]) % lift]
            chosen.append(int(cost.argmin()))
        weight = min(1.0, 3.0 / len(rows))
        for k, a in enumerate(rows):
            for j, b in enumerate(rows):
                if k != j:
                    delta = chosen[k] - chosen[j]
                    for lift in LIFTS:
                        used[lift][a, b, delta % lift] = True
                    spectrum[a, b] += weight * np.exp(-2j * np.pi * frequency * delta / LIFT)
        shifts[index] = chosen
    return shifts


def cycles(columns: list[list[int]], shifts: list[list[int]], lift: int) -> tuple[int, int]:
    """Cycles of length 4 per position of a row, and a measure of those of length 6."""
    m = 1 + max(max(rows) for rows in columns)
    table = np.zeros((m, m, lift))
    for rows, shift in zip(columns, shifts, strict=True):
        for a, s in zip(rows, shift, strict=True):
            for b, t in zip(rows, shift, strict=True):
                if a != b:
                    table[a, b, (s - t) % lift] += 1
    four = int((table * (table - 1) / 2).sum() / 2)
    spectrum = np.fft.rfft(table, axis=2)
    six = 0.0
    for a in range(m):
        for b in range(a):
            two = np.fft.irfft((spectrum[a] * spectrum[:, b]).sum(axis=0), lift)
            six += float((two * table[a, b]).sum())
    within = sum(math.comb(len(rows), 3) for rows in columns)  # closed inside one column
    return four, round(six / 3) - within


def render(code: Code, index: int) -> tuple[str, str]:
    rng = np.random.default_rng([code.seed, 20260])
    columns = choose_rows(code, rng)
    shifts = choose_shifts(code, columns, rng)
    four, six = cycles(columns, shifts, LIFT)
    at_512 = cycles(columns, shifts, 512)[0]
    at_128 = cycles(columns, shifts, 128)[0]
    print(f"code {index}: {code.rows} x {code.columns}, {sum(map(len, columns))} edges, "
          f"4-cycles {four} (lift 512: {at_512}, 128: {at_128}), 6-cycles {six}, "
          f"fullest row {max(np.bincount([r for rows in columns for r in rows]))}")  # fmt: skip
    degrees = ",".join(str(len(rows)) for rows in columns)
    edges = ",".join(
        str(r << 10 | s)
        for rows, shift in zip(columns, shifts, strict=True)
        for r, s in zip(rows, shift, strict=True)
    )
    text = (
        f"const uint8_t ldpc_degree{index}[] = {{\n{wrap(degrees)}}};\n"
        f"const uint16_t ldpc_edge{index}[] = {{\n{wrap(edges)}}};\n"
    )
    entry = f"    {{{code.rows}, {code.columns}, ldpc_degree{index}, ldpc_edge{index}}},\n"
    return text, entry


def wrap(numbers: str) -> str:
    lines, line = [], "    "
    for number in numbers.split(","):
        if len(line) + len(number) + 1 > 100:
            lines.append(line)
            line = "    "
        line += number + ","
    return "\n".join([*lines, line])


def tables() -> dict[Path, str]:
    parts = [render(code, i) for i, code in enumerate(CODES)]
    head = (
        "/* Made by benchmarks/ldpc_design.py; do not edit. Columns in order of use: how many\n"
        " * rows each meets, and for each of these row << 10 | shift. */\n"
        '#include "ldpc.h"\n\n'
    )
    declared = "".join(
        f"extern const uint8_t ldpc_degree{i}[];\nextern const uint16_t ldpc_edge{i}[];\n"
        for i in range(len(CODES))
    )
    index = "const ldpc_code ldpc_codes[LDPC_CODES] = {\n" + "".join(e for _, e in parts) + "};\n"
    first, second = (
        "".join(text for text, _ in some) for some in (parts[:IN_FIRST_FILE], parts[IN_FIRST_FILE:])
    )
    return {
        CORE / "ldpc_tables.c": head + declared + first + index,
        CORE / "ldpc_tables_more.c": head + declared + second,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare the files, write nothing")
    options = parser.parse_args()
    for path, text in tables().items():
        if not options.check:
            path.write_text(text)
        elif path.read_text() != text:
            print(f"{path} differs")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
