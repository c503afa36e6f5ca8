"""Draws lines over the previous ones on a terminal; prints them plainly in a pipe."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence


class Screen:
    """live: standard output is a terminal. plain: it cannot show block characters."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()
        self.plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
        self._drawn = 0

    def draw(self, lines: Sequence[str]) -> None:
        """Replace the last picture; a line is cut at the terminal's width."""
        if not self.live:
            print("\n".join(lines), flush=True)
            return
        width = shutil.get_terminal_size().columns
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        text = "".join(f"{line[: width - 1]}\x1b[K\n" for line in lines)
        sys.stdout.write(f"{up}{text}\x1b[J")
        sys.stdout.flush()
        self._drawn = len(lines)
