"""The command ``photonlink``: imports the rest where an interruption is already expected."""

from __future__ import annotations

import sys


def main() -> None:
    """Ctrl-C while Python is still importing ends as quietly as any other."""
    try:
        from photonlink.pipeline.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)
