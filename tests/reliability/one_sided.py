"""The conversation ends at every message, in every way, at one or both ends, late, out of order.

    python tests/reliability/one_sided.py [--every N]

Message types of a real conversation x {line cut before, after; refused; receiver crashed} x {Alice,
Bob, both} x {at once, 3 s late, overtaken}: keys must not differ, no pad may be used for two tags,
a block without a tag must use no pad, and both ends must make equal key again. CI runs every 31st.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pipeline"))

import aborts
from link import narrow_clock_search


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    chosen = parser.parse_args().every
    begun, failed = time.monotonic(), []
    with narrow_clock_search():
        cases = aborts.cases(aborts.script())[::chosen]
        for case in cases:
            try:
                aborts.run(case)
            except Exception as error:  # noqa: BLE001 - every exception is a finding
                failed.append(case)
                print(f"{case}: {type(error).__name__}: {error}", flush=True)
    seconds = time.monotonic() - begun
    print(f"{len(cases)} cases, {len(failed)} failed, {seconds:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
