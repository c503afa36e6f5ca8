"""``emulate``, ``record-wire``, ``serve-wire``, ``compare-wire``: the emulators' own program.

They are started as programs, never imported: no code above the wire depends on an emulator.
"""

import os
import sys
from collections.abc import Callable

import typer

COMMANDS = {
    "emulate": "Start one emulated instrument for anybody's software, and print its address.",
    "record-wire": "Sit between a client and a device and write a cassette.",
    "serve-wire": "Stand in for the device of a cassette.",
    "compare-wire": "Ask an emulator what a cassette asked; show where it answers otherwise.",
}


def _command(name: str) -> Callable[[typer.Context], None]:
    def run(context: typer.Context) -> None:
        words = [sys.executable, "-m", "photonlink.firmware_sim", name, *context.args]
        os.execv(sys.executable, words)  # noqa: S606 - our own program, no shell

    return run


def add(app: typer.Typer) -> None:
    """Give ``app`` these commands; their options are the program's own."""
    for name, text in COMMANDS.items():
        app.command(
            name,
            help=text,
            add_help_option=False,
            context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        )(_command(name))
