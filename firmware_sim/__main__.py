"""``python -m photonlink.firmware_sim``: the emulated bench, single emulators, wire recordings."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from photonlink.firmware_sim import program
from photonlink.firmware_sim.config import (
    BenchFileError,
    default_bench,
    load_bench,
    parse_bench,
    with_models,
)
from photonlink.firmware_sim.control import ask, parse_words
from photonlink.firmware_sim.single import emulate
from photonlink.firmware_sim.text_file import reason
from photonlink.firmware_sim.wire_log.commands import compare, record, serve

PROG = "python -m photonlink.firmware_sim"


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog=PROG,
        description="Emulated optical bench. Prints one JSON line with the addresses when ready.",
        epilog="Other commands, each with --help: control SOCKET … · emulate MODEL · "
        "light REQUEST OUT · record-wire · serve-wire CASSETTE · compare-wire CASSETTE MODEL",
    )
    p.add_argument("bench", nargs="?", help="bench file (TOML); without it the default bench")
    p.add_argument("--run-dir", type=Path, help="for sockets and links (default: a new one)")
    p.add_argument("--seed", type=int, help="instead of the bench file's")
    p.add_argument(
        "--model", action="append", default=[], metavar="NAME=MODEL",
        help="another model where the bench file has NAME, at its defaults; may be repeated",
    )  # fmt: skip
    p.add_argument("--speed", type=float, default=1.0, help="bench seconds per second (default 1)")
    p.add_argument("--print-default", action="store_true", help="print the default bench file")
    p.add_argument("--until-stdin-closes", action="store_true", help="also stop at stdin's end")
    return p


def _control(words: list[str]) -> int:
    if not words:
        print(f"usage: {PROG} control SOCKET get|set|device|status|truth|stop …", file=sys.stderr)
        return 2
    try:
        reply = ask(words[0], parse_words(words[1:]))
    except (OSError, ValueError) as error:
        print(f"{words[0]}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(reply))
    return 0 if reply.get("ok") else 1


def _light(words: list[str]) -> int:
    from photonlink.firmware_sim.physics import eve_streams

    if len(words) != 2:
        print(f"usage: {PROG} light REQUEST.json OUT.npz", file=sys.stderr)
        return 2
    eve_streams.write(Path(words[0]), Path(words[1]))
    return 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "control": _control,
    "emulate": emulate,
    "light": _light,
    "record-wire": record,
    "serve-wire": serve,
    "compare-wire": compare,
}


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in COMMANDS:
        try:
            return COMMANDS[words[0]](words[1:])
        except KeyboardInterrupt:
            return 130
        except Exception as error:  # noqa: BLE001 - a command ends with one sentence
            print(f"{words[0]}: {_sentence(error)}", file=sys.stderr)
            return 1
    return _bench(words)


def _bench(words: list[str]) -> int:
    parser = _parser()
    args = parser.parse_args(words)
    if args.print_default:
        print(default_bench(), end="")
        return 0
    if not 0.01 <= args.speed <= 100:
        parser.error("--speed must lie in 0.01 … 100")
    if args.seed is not None and not 0 <= args.seed < 2**63:
        parser.error("--seed must lie in 0 … 2^63 - 1")
    try:
        config = load_bench(Path(args.bench)) if args.bench else parse_bench(default_bench())
        config = with_models(config, args.model)
        run_dir = args.run_dir or Path(tempfile.mkdtemp(prefix="photonlink-sim-"))
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        good = asyncio.run(
            program.run(
                config,
                run_dir.resolve(),
                seed=args.seed,
                speed=args.speed,
                until_stdin_closes=args.until_stdin_closes,
            )
        )
    except (BenchFileError, OSError, ValueError) as error:
        print(f"firmware_sim: {_sentence(error)}", file=sys.stderr)
        return 1
    return 0 if good else 1


def _sentence(error: BaseException) -> str:
    """An error as one sentence for a terminal: without error numbers and control characters."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, OSError):
        text = f"{error.filename}: {reason(error)}" if error.filename else reason(error)
    elif isinstance(error, ValueError):
        text = str(error)
    else:
        text = f"{type(error).__name__}: {error}"
    return "".join(
        c if c == "\n" or c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )


if __name__ == "__main__":
    sys.exit(main())
