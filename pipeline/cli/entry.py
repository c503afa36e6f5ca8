"""The command ``photonlink``: imports the rest where an interruption is already expected."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Ctrl-C while Python is still importing ends as quietly as any other."""
    gc.disable()  # until a command runs: looking through what is imported costs a tenth of --help
    try:
        from photonlink.pipeline.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)
