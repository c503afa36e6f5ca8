"""A station of twelve instruments: time to open it, and time until a loss is noticed.

``python benchmarks/station_times.py [TRIES]``. The emulators run in a program of their own, over
every kind of wire. Opening is timed in a fresh process, drivers not yet imported; then the
supervisor of a node watches, with a node's own intervals, while each instrument in turn is
unplugged (pulled serial line, far end closed) and falls silent, TRIES (5) times each at different
moments. Limits: opens within 3 s; an unplugged stream is noticed within 0.1 s, silence within two
poll intervals. Prints one JSON object; the status is 1 when a limit is missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from photonlink.firmware_sim.control import ask
from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.places import example_place
from photonlink.hal.opening import open_bench
from photonlink.hal.registry import registry
from photonlink.hal.station import BenchStation, parse_station
from photonlink.hal.supervisor import Event, Found, Lost, Notice, Supervisor

STATION = {
    "toptica.dlc_pro": "pump", "sfifteen.irspd1": "alice.h", "sfifteen.tdc1": "alice.tagger",
    "picoquant.multiharp150": "bob.tagger", "ozoptics.dd100mc": "", "thorlabs.mpc320": "",
    "swabian.pulse_streamer": "", "thorlabs.pm100d": "", "idquantique.quantis": "",
    "lakeshore.model336": "", "whiterabbit.switch": "", "chrony.chronyd": "",
}  # fmt: skip
"""Driver → its emulator's place on the optical table ("": any)."""
OPENS_S, UNPLUGGED_S = 3.0, 0.1
POLL_S, REPLY_S = 1.0, 1.0  # a node's poll interval, and the deadline of one question
GIVE_UP_S = 30.0


def name_of(driver: str) -> str:
    return driver.replace(".", "-").replace("_", "-")


def bench_file() -> str:
    text = 'name = "twelve"\nseed = 7\n[devices]\n'
    for driver, wanted in STATION.items():
        model = models()[registry().drivers[driver].emulator]
        place = wanted or (example_place(model.kind) if model.kind else "")
        at = f', place = "{place}"' if place else ""
        text += f'{name_of(driver)} = {{ model = "{model.model}"{at} }}\n'
    return text


@contextlib.contextmanager
def emulators(folder: Path) -> Iterator[dict[str, Any]]:
    """The ready line of a program with all twelve."""
    bench = folder / "bench.toml"
    bench.write_text(bench_file())
    command = [sys.executable, "-m", "photonlink.firmware_sim", str(bench), "--run-dir",
               str(folder / "run"), "--until-stdin-closes"]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdin is not None
        yield json.loads(program.stdout.readline())
        program.stdin.close()


def station_text(addresses: dict[str, str]) -> str:
    text = 'schema = 2\nname = "twelve"\n'
    for driver in STATION:
        name = name_of(driver)
        settings = {**registry().drivers[driver].settings, "reply_timeout_s": REPLY_S}
        text += (
            f'[instruments.{name}]\ndriver = "{driver}"\nbackend = "emulator"\n'
            f'emulator = "{addresses[name]}"\nopen_timeout_s = 20.0\n'
            f"[instruments.{name}.settings]\n"
        ) + "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    return text


def opening_s(station: Path) -> float:
    """Seconds to open the bench in a fresh process, driver modules included."""
    code = (
        "import asyncio, sys, time\n"
        "from photonlink.hal.opening import open_bench\n"
        "from photonlink.hal.station import BenchStation, parse_station\n"
        "async def main():\n"
        "    station = parse_station(open(sys.argv[1]).read(), BenchStation)\n"
        "    begin = time.monotonic()\n"
        "    bench = await open_bench(station)\n"
        "    took = time.monotonic() - begin\n"
        f"    assert len(bench.instruments) == {len(STATION)}\n"
        "    await bench.close()\n"
        "    print(took)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(station)], stdout=subprocess.PIPE, check=True, timeout=120
    )
    return float(done.stdout)


class Watched:
    """The supervisor's reports: instrument, kind, time."""

    def __init__(self) -> None:
        self.said: list[tuple[float, Event]] = []
        self.changed = asyncio.Event()

    def event(self, event: Event) -> None:
        self.said.append((time.monotonic(), event))
        self.changed.set()

    async def first(self, name: str, since: float, *kinds: type) -> float:
        """Time of the first such event after ``since``; infinite without one."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GIVE_UP_S):
                while True:
                    self.changed.clear()
                    for at, event in self.said:
                        if at >= since and isinstance(event, kinds) and event.name == name:
                            return at
                    await self.changed.wait()
        return float("inf")


async def noticed(watched: Watched, control: str, name: str, fault: str) -> tuple[float, float]:
    """One fault: seconds until the first sign of it, and until the instrument counts as lost."""
    begin = time.monotonic()
    reply = await asyncio.to_thread(ask, control, {"device": name, "fault": fault})
    assert reply["ok"], reply
    armed = time.monotonic() if fault == "silent" else begin
    sign = await watched.first(name, begin, Notice, Lost) - armed
    lost = await watched.first(name, begin, Lost) - armed
    heal = {"unplug": "replug", "silent": "none"}[fault]
    await asyncio.to_thread(ask, control, {"device": name, "fault": heal})
    back = await watched.first(name, begin, Found)
    assert back < float("inf"), f"{name} did not come back"
    return sign, lost


async def watch(station: BenchStation, control: str, tries: int) -> dict[str, Any]:
    """Watch every instrument but taggers, which are watched by their stream."""
    bench = await open_bench(station)
    watched = Watched()
    supervisor = Supervisor(bench, watched.event, poll_s=POLL_S)
    running = asyncio.create_task(supervisor.run())
    streams = [n for n, i in bench.instruments.items() if i.gone is not None]
    others = [n for n in bench.instruments if n not in streams]
    taggers = {name_of("sfifteen.tdc1"), name_of("picoquant.multiharp150")}
    found: dict[str, Any] = {}
    try:
        await asyncio.sleep(1.5 * POLL_S)
        for fault, names in (("unplug", streams), ("silent", [*streams, *others])):
            worst: dict[str, tuple[float, float]] = {}
            for name in [n for n in names if n not in taggers]:
                took = []
                for turn in range(tries):
                    await asyncio.sleep(POLL_S * (0.1 + turn / tries))
                    took.append(await noticed(watched, control, name, fault))
                worst[name] = (max(t[0] for t in took), max(t[1] for t in took))
            found[fault] = {
                "noticed_s": round(max(w[0] for w in worst.values()), 3),
                "lost_s": round(max(w[1] for w in worst.values()), 3),
                "each": {n: [round(t, 3) for t in w] for n, w in worst.items()},
            }
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await bench.close()
    return found


def main(tries: int = 5) -> int:
    with tempfile.TemporaryDirectory() as folder, emulators(Path(folder)) as ready:
        station = Path(folder) / "station.toml"
        station.write_text(station_text(ready["addresses"]))
        opened = [opening_s(station) for _ in range(tries)]
        parsed = parse_station(station.read_text(), BenchStation)
        found = asyncio.run(watch(parsed, ready["control"], tries))
    result = {
        "instruments": len(STATION), "opens_s": [round(t, 2) for t in opened],
        "poll_s": POLL_S, **found,
    }  # fmt: skip
    print(json.dumps(result, indent=1))
    good = max(opened) <= OPENS_S and found["unplug"]["lost_s"] <= UNPLUGGED_S
    return int(not (good and found["silent"]["noticed_s"] <= 2 * POLL_S))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
