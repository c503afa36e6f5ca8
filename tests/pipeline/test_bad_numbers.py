"""Every option of every command that is a number, with what is no number: wrong usage, by name."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator

import pytest
import typer
from typer.models import OptionInfo
from typer.testing import CliRunner

from photonlink.pipeline.cli.exit_status import ExitStatus
from photonlink.pipeline.cli.main import app

LATER = {"--from", "--to"}  # compared with each other once both are read, then refused


def _commands(group: typer.Typer, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Words of a command and one of its options that takes a real number."""
    for command in group.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__.replace("_", "-")
        hints = typing.get_type_hints(command.callback, include_extras=True)
        for parameter in inspect.signature(command.callback).parameters:
            kind, *more = typing.get_args(hints[parameter]) or (None,)
            option = next((m for m in more if isinstance(m, OptionInfo)), None)
            if option is not None and (kind is float or float in typing.get_args(kind)):
                decls = [d for d in option.param_decls or () if d.startswith("--")]
                yield (*words, name, (decls or ["--" + parameter.replace("_", "-")])[0])
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        name = inner.name or inner.typer_instance.info.name
        assert isinstance(name, str)
        yield from _commands(inner.typer_instance, (*words, name))


NUMBERS = sorted(set(_commands(app)))


def test_the_search_finds_options() -> None:
    assert ("node", "--duration") in NUMBERS
    assert len(NUMBERS) > 12


@pytest.mark.row("bad input of any kind to any command")
@pytest.mark.row("--duration inf accepted")
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400", "true", "text"])
@pytest.mark.parametrize("words", NUMBERS, ids=" ".join)
def test_what_is_no_number_is_wrong_usage(words: tuple[str, ...], value: str) -> None:
    option = words[-1]
    if option in LATER:
        done = CliRunner().invoke(app, ["keyrate", "gys2004", "--points", "2", option, value])
    else:
        done = CliRunner().invoke(app, [*words, value])
    assert done.exit_code != ExitStatus.SUCCESS
    said = done.output + str(done.exception)
    assert option in said, said
    assert "Missing" not in said
    if option not in LATER:
        assert done.exit_code == ExitStatus.USAGE
