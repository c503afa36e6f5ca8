"""The driver base: its services for every driver, and the mapping of drivers' exceptions."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
from wire_peers import TcpPeer, tcp_peer

from photonlink.hal import opening
from photonlink.hal.codecs.lines import LineCodec, Probe
from photonlink.hal.driver import Driver, Off
from photonlink.hal.errors import (
    BenchError,
    DriverFault,
    InstrumentError,
    LimitError,
    LinkClosed,
    LinkDesync,
    LinkTimeout,
    ReadbackMismatch,
)
from photonlink.hal.facets import (
    LIGHT,
    Biased,
    Emits,
    Facet,
    HasOutput,
    Identity,
    Instrument,
    SafetyStep,
)
from photonlink.hal.opening import Bench, open_bench
from photonlink.hal.params import Param
from photonlink.hal.station import BenchStation, InstrumentEntry
from photonlink.hal.testing import dialogue, expected_dialogue, play


class Supply(Driver, HasOutput):
    """A supply with one output and an interlock."""

    PARAMS = (
        Param("output", bool, "output on", "out?", "out {}"),
        Param("level_v", float, "voltage", "lev?", "lev {}", "V", limits=(0.0, 30.0),
              tolerance=0.1, setting="level_v"),
        Param("interlock", bool, "interlock open", "il?", stops={True: "the interlock is open"}),
    )  # fmt: skip
    OFF = (Off("output", False, "output off"), Off("level_v", 0.0, "level at zero"))
    CODEC = partial(LineCodec, resync=Probe("id?", "SUPPLY.*"), question_end="\n", wake="")
    PACE_S = 0.0

    async def identify(self) -> Identity:
        return Identity("Acme", "Supply", await self.codec.ask("id?", str))

    async def set_output(self, on: bool, channel: int = 1) -> None:
        await self.set("output", on)

    async def output(self, channel: int = 1) -> bool:
        return bool(await self.get("output"))


class Box:
    """The far end: a dictionary behind a line protocol."""

    def __init__(self) -> None:
        self.values = {"out": "1", "lev": "5.0", "il": "0"}
        self.heard: list[str] = []
        self.frozen: set[str] = set()
        self.at: list[float] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := (await reader.readline()).decode().strip():
            self.heard.append(line)
            self.at.append(asyncio.get_running_loop().time())
            name, _, value = line.partition(" ")
            if name == "id?":
                writer.write(b"SUPPLY 7\n")
            elif name.endswith("?"):
                writer.write(f"{self.values[name[:-1]]}\n".encode())
            elif name not in self.frozen:
                self.values[name] = value


def driver(peer: TcpPeer, kind: type[Supply] = Supply, **settings: Any) -> Supply:
    return kind("supply", peer.uri, kind.Settings(reply_timeout_s=0.3, **settings))


async def test_open_identifies_makes_safe_and_configures() -> None:
    box = Box()
    async with tcp_peer(box) as peer:
        supply = driver(peer, level_v=12.0)
        assert (await supply.open()).serial == "SUPPLY 7"
        assert (box.values["out"], box.values["lev"]) == ("0", "0.0"), "the order is that of OFF"
        assert box.heard == ["id?", "out 0", "out?", "lev 0.0", "lev?"]
        await supply.configure()
        assert box.values["lev"] == "12.0"
        await supply.set_output(True)
        box.values["il"] = "1"
        values = await supply.snapshot()
        assert values == {"output": True, "level_v": 12.0, "interlock": True}
        assert [c.code for c in supply.conditions(values)] == ["interlock"]
        assert supply.deviation({**values, "level_v": 0.0}).startswith("level_v is 0.0 V")
        await supply.close()
        assert (box.values["out"], box.values["lev"]) == ("0", "0.0")
        assert not supply.is_open


async def test_a_step_that_fails_stops_no_other_and_is_reported() -> None:
    box = Box()
    async with tcp_peer(box) as peer:
        supply = driver(peer)
        await supply.open()
        await supply.set_output(True)
        box.frozen.add("out")
        steps = await supply.safe_state()
        assert [(s.action, s.ok) for s in steps] == [
            ("supply: output off", False),
            ("supply: level at zero", True),
        ]
        assert "reads back True" in steps[0].readback
        await supply.close()


async def test_what_cannot_be_made_safe_is_not_opened() -> None:
    box = Box()
    box.frozen.add("out")
    async with tcp_peer(box) as peer:
        supply = driver(peer)
        with pytest.raises(ReadbackMismatch):
            await supply.open()
        assert not supply.is_open


async def test_commands_come_no_faster_than_the_instrument_bears() -> None:
    class Slow(Supply):
        PACE_S = 0.06

    box = Box()
    async with tcp_peer(box) as peer:
        supply = driver(peer, Slow)
        await supply.open()
        await asyncio.gather(*(supply.get("output") for _ in range(3)))
        await supply.close()
    gaps = [later - earlier for earlier, later in itertools.pairwise(box.at)]
    assert min(gaps) >= 0.05


async def test_a_late_reply_is_never_credited_without_a_register_to_write() -> None:
    class Late(Box):
        async def __call__(
            self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            while line := (await reader.readline()).decode().strip():
                self.heard.append(line)
                await asyncio.sleep(0.45 if line == "lev?" else 0)
                reply = {"lev?": "5.0", "il?": "0", "id?": "SUPPLY 7"}.get(line)
                if reply is not None:
                    writer.write(f"{reply}\n".encode())

    async with tcp_peer(Late()) as peer:
        supply = driver(peer)
        await supply.connect()
        with pytest.raises(LinkTimeout):
            await supply.get("level_v")
        assert await supply.get("interlock") is False
        await supply.release()


async def test_emergency_off_and_the_guard_s_command_are_from_the_declaration() -> None:
    box = Box()
    async with tcp_peer(box) as peer:
        supply = driver(peer)
        command = supply.dark_command()
        assert command is not None
        assert command.address == peer.uri
        assert command.data == b"\r\nout 0\r\n\r\nlev 0.0\r\n"


def test_settings_are_typed_by_the_declaration() -> None:
    assert Supply.Settings(level_v=3).model_dump()["level_v"] == 3.0
    for wrong in (True, "3", float("nan"), 31.0, -1.0):
        with pytest.raises(ValueError, match="level_v"):
            Supply.Settings(level_v=wrong)
    narrow = {"level_v": (0.0, 5.0)}
    with pytest.raises(LimitError, match="0…5"):
        Supply("s", "tcp://h:1", Supply.Settings(level_v=6.0), limits=narrow)


def test_a_declaration_that_names_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown parameter 'bias'"):
        type("Wrong", (Supply,), {"OFF": (Off("bias", 0.0, "bias off"),)})


# ---- exceptions of drivers ----
class Broken(Instrument):
    """Raises the exceptions of vendor packages."""

    def __init__(self, error: Exception, **hang: bool) -> None:
        self.name, self.error, self.hang = "broken", error, hang

    async def open(self) -> Identity:
        return Identity("v", "m", "s")

    async def configure(self) -> None:
        if self.hang.get("configure"):
            await asyncio.sleep(60)
        raise self.error

    async def close(self) -> None: ...

    async def snapshot(self) -> Mapping[str, float]:
        raise self.error

    async def readings(self) -> Any:
        yield 1
        raise self.error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("vendor"), DriverFault),
        (ZeroDivisionError(), DriverFault),
        (TimeoutError("vendor"), LinkTimeout),
        (BrokenPipeError("vendor"), LinkClosed),
        (InstrumentError("ours"), InstrumentError),
    ],
)
async def test_foreign_exceptions_become_ours_in_one_place(
    error: Exception, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as caught:
        await Broken(error).snapshot()
    if kind is not InstrumentError:
        assert caught.value.__cause__ is error
    with pytest.raises(kind):
        async for _ in Broken(error).readings():
            pass


async def test_a_fault_of_a_program_is_logged_with_its_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(DriverFault):
        await Broken(ZeroDivisionError()).snapshot()
    assert "Traceback" in caplog.text


async def test_cancellation_is_never_mapped() -> None:
    class Sleeper(Broken):
        async def snapshot(self) -> Mapping[str, float]:
            await asyncio.sleep(60)
            return {}

    task = asyncio.create_task(Sleeper(ValueError()).snapshot())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def _station() -> BenchStation:
    entry = InstrumentEntry(driver="x.y", address="tcp://h:1", open_timeout_s=0.2)
    return BenchStation(schema=2, name="bench", instruments={"it": entry})


@pytest.mark.row("configure that hangs leaves open_bench as a bare ExceptionGroup")
@pytest.mark.parametrize("hang", [True, False])
async def test_configure_that_hangs_or_breaks_is_in_the_tree(
    monkeypatch: pytest.MonkeyPatch, hang: bool
) -> None:
    class Factory(Broken):
        Settings = Driver.Settings

        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(RuntimeError("vendor's own"), configure=hang)

    monkeypatch.setattr(opening, "load_driver", lambda name: Factory)
    with pytest.raises(BenchError) as caught:
        await open_bench(_station())
    assert "it:" in str(caught.value)
    assert ("was not configured within 0.2 s" if hang else "vendor's own") in str(caught.value)


async def test_a_constructor_that_breaks_is_in_the_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    class Factory(Broken):
        Settings = Driver.Settings

        def __init__(self, *args: Any, **more: Any) -> None:
            raise KeyError("vendor")

    monkeypatch.setattr(opening, "load_driver", lambda name: Factory)
    with pytest.raises(BenchError, match="KeyError: 'vendor'"):
        await open_bench(_station())


# ---- the safe state ----
class Amplifier(Facet):
    """An unknown facet."""

    safety_rank = 25


def _instrument(name: str, log: list[str], *facets: type[Facet]) -> Instrument:
    async def safe_state(self: Any) -> tuple[SafetyStep, ...]:
        log.append(name)
        return (SafetyStep(f"{name}: off", True, "off"),)

    body = {"safe_state": safe_state, "name": name}
    kind = type(name, (Instrument, *facets), body)
    kind.__abstractmethods__ = frozenset()
    return kind()  # type: ignore[no-any-return]


@pytest.mark.row("every instrument is made safe, not a list of kinds")
async def test_every_instrument_is_made_safe_in_the_order_of_its_rank() -> None:
    log: list[str] = []
    bench = Bench(
        {
            "meter": _instrument("meter", log),
            "diode": _instrument("diode", log, Biased),
            "amplifier": _instrument("amplifier", log, Amplifier),
            "laser": _instrument("laser", log, Emits),
            "supply": _instrument("supply", log, HasOutput),
        },
        {},
    )
    steps = await bench.safe_state()
    assert log == ["laser", "supply", "amplifier", "diode", "meter"]
    assert [step.action for step in steps] == [f"{name}: off" for name in log]
    assert bench.instruments["laser"].safety_rank == LIGHT
    assert set(bench.having(Amplifier)) == {"amplifier"}


# ---- conversations as text ----
TALK = r"""
# a supply is asked
> lev?\n
< 5.0\n
"""


async def test_a_dialogue_is_held_against_the_driver() -> None:
    async with expected_dialogue(Supply, TALK) as supply:
        await supply.connect()
        assert await supply.get("level_v") == 5.0


async def _say(text: str, name: str) -> None:
    async with expected_dialogue(Supply, text, reply_timeout_s=0.2) as supply:
        await supply.connect()
        await supply.get(name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TALK.replace("lev?", "lvl?"), r"line 3: expected b'lvl\?\\n', got b'lev"),
        (TALK + TALK, r"line 7 was never sent"),
        ("", r"after the last line came b'lev\?"),
    ],
)
async def test_a_dialogue_that_differs_is_told(text: str, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        await _say(text, "level_v")


async def test_the_same_dialogue_is_played_against_an_emulator() -> None:
    async with tcp_peer(Box()) as peer:
        assert await play(TALK, peer.uri) == []
        assert await play(TALK.replace("5.0", "…"), peer.uri) == []
        wrong = await play(TALK.replace("5.0", "6.0"), peer.uri, timeout_s=0.2)
        assert wrong == [r"line 4: expected b'6.0\n', got b'5.0\n'"]


def test_a_line_that_is_no_line_of_a_dialogue() -> None:
    with pytest.raises(ValueError, match="line 1"):
        dialogue("lev?")
    assert dialogue(r"> \x02\s\\ é")[0].data == b"\x02 \\ \xe9"


async def test_noise_is_no_answer() -> None:
    talk = r"""
    > lev?\n
    < \xff\xfe\n
    """
    with pytest.raises(LinkDesync):
        await _say(talk, "level_v")
