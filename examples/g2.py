"""g²(τ) between two inputs of a time tagger, as text; with matplotlib (extra: plot) as a picture::

python examples/g2.py bench.toml 1 2 --sim [g2.png]
"""

from __future__ import annotations

import sys

import numpy as np

import photonlink

SECONDS, BIN_PS = 2.0, 2000
station, start, stop = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

with photonlink.bench(station, sim="--sim" in sys.argv) as table, table.light("examples/g2.py", 60):
    rates = table.rates(1.0)
    delay_ps, pairs = table.correlate(start, stop, SECONDS, bin_ps=BIN_PS)

# pairs per bin of uncorrelated light at these rates
expected = rates[start] * rates[stop] * BIN_PS * 1e-12 * SECONDS
g2 = pairs / expected
for delay, value, n in zip(delay_ps, g2, pairs, strict=True):
    print(f"{delay / 1e3:+7.1f} ns  {value:6.2f} ± {np.sqrt(max(n, 1)) / expected:.2f}")

if sys.argv[-1].endswith(".png"):
    import matplotlib.pyplot as plt

    plt.errorbar(delay_ps / 1e3, g2, np.sqrt(pairs) / expected, fmt=".")
    plt.xlabel("delay / ns")
    plt.ylabel("g²")
    plt.savefig(sys.argv[-1])
