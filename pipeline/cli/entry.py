"""The command ``photonlink``: imports the rest inside the handler of interruptions."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Ctrl-C while Python is still importing ends as quietly as any other."""
    # off until a command runs: collecting the imported modules costs a tenth of --help
    gc.disable()
    try:
        from photonlink.pipeline.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)
