"""Open a bench, look at it, measure in the light. Runs on an emulated bench without changes::

photonlink station new bench.toml
python examples/bench.py bench.toml --sim
"""

from __future__ import annotations

import sys

import photonlink

with photonlink.bench(sys.argv[1], sim="--sim" in sys.argv) as table:
    print("instruments:", ", ".join(table.names), "(EMULATED)" if table.emulated else "")
    print("pump at", table.get("pump", "temperature_act_c"), "°C")
    with table.light("examples/bench.py", 30):
        for number, rate in table.rates(1.0).items():
            print(f"input {number}: {rate:,.0f} events/s")
    print("light is off:", table.get("pump", "emission") is False)
