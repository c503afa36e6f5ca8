"""The exit statuses of all commands; ``photonlink --help`` prints them as well."""

from __future__ import annotations

import enum


class ExitStatus(enum.IntEnum):
    """One meaning per number, for all commands."""

    SUCCESS = 0  # done; where key was to be made: there is key
    FAILURE = 1  # refused or failed, with a named reason
    USAGE = 2  # wrong options or arguments
    NO_KEY = 3  # everything ran, and there is no key
    INTERRUPTED = 130  # stopped by the user before it was done


EPILOG = (
    "Exit status: 0 done, 1 failed with a named reason, 2 wrong usage, 3 ran but made no key, "
    "130 interrupted."
)
