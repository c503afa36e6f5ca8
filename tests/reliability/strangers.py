"""A hundred strangers a second connect to a real node: the peer still gets its connection.

    python tests/reliability/strangers.py [--seconds 20] [--rate 100] [--seed 1]

Strangers are silent, send single bytes slowly, send wrong lengths, replay a recorded Hello with a
wrong proof, forge refusals, or flood. They come while the link is down, while the peer connects,
while key is made, and while the line breaks. Prints the times until the peer was connected (each
from its first try) and the growth of Alice's memory since the first stranger. Exits with 1 when the
peer took more than --within, memory grew by more than 1 MiB, the link that was up did not stay up,
or an alarm above minor was raised.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from small_link import Link, Running, small_link

HELLO, PROOF, REFUSE = 0x01, 0x02, 0x04  # docs/protocol.md
UP = ("acquiring", "sifting", "distilling")
MIB = 1 << 20


def frame(kind: int, payload: bytes, length: int | None = None) -> bytes:
    return (
        bytes((kind,)) + (len(payload) if length is None else length).to_bytes(3, "big") + payload
    )


class Strangers:
    """Strangers at ``rate`` a second, in a thread of their own; each stays up to ``stay_s``."""

    def __init__(self, port: int, rate: float, seed: int, stay_s: float = 6.0) -> None:
        self.port, self.rate, self.stay_s = port, rate, stay_s
        self.came = 0
        self.recorded = b""  # the recorded Hello
        self._rng = random.Random(seed)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Strangers:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(20)

    async def _run(self) -> None:
        guests: set[asyncio.Task[None]] = set()
        begin = time.monotonic()
        while not self._ending.is_set():
            due = int((time.monotonic() - begin) * self.rate)
            while self.came < due:
                self.came += 1
                task = asyncio.create_task(self._visit(self._rng.randrange(8)))
                guests.add(task)
                task.add_done_callback(guests.discard)
            await asyncio.sleep(0.005)
        for task in guests:
            task.cancel()
        await asyncio.gather(*guests, return_exceptions=True)

    async def _visit(self, manner: int) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(self.stay_s):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    heard = await reader.read(4096)  # the node sends its Hello to everybody
                    if not self.recorded and heard[:1] == bytes((HELLO,)):
                        self.recorded = self._as_peer(heard)
                    await self._behave(manner, writer)
                    while await reader.read(4096):
                        pass
                finally:
                    writer.transport.abort()

    @staticmethod
    def _as_peer(hello: bytes) -> bytes:
        """The same Hello in the peer's role: all its public fields are right."""
        body = hello[4 : 4 + int.from_bytes(hello[1:4], "big")]
        at = body.index(b'"nonce":"') + 9
        other = body[:at] + bytes(reversed(body[at : at + 32])) + body[at + 32 :]
        return frame(HELLO, other.replace(b'"role":"alice"', b'"role":"bob"'))

    async def _behave(self, manner: int, writer: asyncio.StreamWriter) -> None:
        said = {
            1: self.recorded + frame(PROOF, self._rng.randbytes(32)),
            2: frame(HELLO, b"", length=(1 << 24) - 1) + b"x" * 4096,
            3: frame(REFUSE, b'{"code":"ledger_rolled_back","text":"Exchange the key!"}'),
            4: frame(0x40, b"y" * 3000) + self._rng.randbytes(2000),
            5: frame(HELLO, b"{" * 4000),
            6: self.recorded,
        }
        if manner == 0:  # stays silent
            return
        if manner == 7:  # sends single bytes
            for byte in (self.recorded or b"\x01\0\x10\0")[:40]:
                if writer.is_closing():
                    return
                writer.write(bytes((byte,)))
                await asyncio.sleep(0.2)
            return
        writer.write(said[manner])
        await writer.drain()
        if manner == 4:  # floods
            for _ in range(200):
                if writer.is_closing():
                    return
                writer.write(b"z" * 65536)
                await writer.drain()


@dataclass
class Outcome:
    in_after_s: dict[str, float] = field(default_factory=dict)
    grown_bytes: int = 0
    came: int = 0
    states_per_s: float = 0.0
    wrong: list[str] = field(default_factory=list)


def resident(process: Running) -> int:
    """Private memory in bytes, because shared pages of libraries come and go."""
    text = Path(f"/proc/{process.process.pid}/smaps_rollup").read_text()
    return 1024 * int(text.partition("Private_Dirty:")[2].split()[0])


def settled(process: Running) -> int:
    """Private memory once it has stopped growing."""
    last, now = 0, resident(process)
    while now - last > MIB // 20:
        time.sleep(4.0)
        last, now = now, resident(process)
    return now


def wait_until_up(nodes: dict[str, Running], since: float) -> float:
    """Time on the host's clock at which both ends have reported the link as up."""
    return max(
        float(n.wait_for(event="state", phase=lambda p: p in UP, ts=lambda ts: ts > since)["ts"])
        for n in nodes.values()
    )


def loud(process: Running) -> list[str]:
    """Alarms that need an operator, without those of a lost line."""
    return [
        f"{e['code']}: {e['text']}"
        for e in process.events
        if e["event"] == "alarm" and e["active"] and e["severity"] not in ("minor", "info")
        and e["code"] not in ("connection_lost", "peer_absent")
    ]  # fmt: skip


def run(seconds: float, rate: float, seed: int) -> Outcome:
    with (
        tempfile.TemporaryDirectory(prefix="photonlink-strangers-") as name,
        small_link(Path(name), seed, 16_000) as link,
    ):
        return _at_the_door(link, seconds, rate, seed)


def _at_the_door(link: Link, seconds: float, rate: float, seed: int) -> Outcome:
    found = Outcome()
    link.start("alice")
    alice: Running = link.nodes["alice"]
    alice.wait_for(event="state")
    quiet = settled(alice)
    with Strangers(link.port, rate, seed) as strangers:
        time.sleep(seconds / 2)
        found.grown_bytes = resident(alice) - quiet
        link.start("bob")
        bob: Running = link.nodes["bob"]
        ready = float(bob.wait_for(event="calibration")["ts"])
        found.in_after_s["link down"] = wait_until_up(link.nodes, ready) - ready
        before = len(alice.events)
        begin = time.time()
        link.wait_for_key(begin)
        time.sleep(seconds / 2)
        said = alice.events[before:]
        lost = [e for e in said if e["event"] == "disconnect" and "others knock" not in e["reason"]]
        if any(e["event"] == "alarm" and e["code"] == "connection_lost" for e in said):
            found.wrong.append(f"the link that was up went down: {lost}")
        states = sum(e["event"] == "state" for e in said)
        found.states_per_s = states / (time.time() - begin)
        link.wire.cut()
        cut = time.time()
        found.in_after_s["line cut"] = wait_until_up(link.nodes, cut + 0.01) - cut
        link.wait_for_key(cut)
        found.came = strangers.came
    found.wrong += [f"{side}: {text}" for side, n in link.nodes.items() for text in loud(n)]
    link.end()
    found.wrong += link.outcome.wrong
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--within", type=float, default=5.0)
    options = parser.parse_args()
    found = run(options.seconds, options.rate, options.seed)
    times = ", ".join(f"{name} {s:.2f} s" for name, s in found.in_after_s.items())
    print(f"{found.came} strangers; the peer is in after: {times}; memory grew by "
          f"{found.grown_bytes / MIB:.2f} MiB; {found.states_per_s:.1f} states a second; load "
          f"{os.getloadavg()[0]:.1f}")  # fmt: skip
    if max(found.in_after_s.values()) > options.within:
        found.wrong.append(f"the peer was not in within {options.within:g} s")
    if found.grown_bytes > MIB:
        found.wrong.append("memory grew by more than 1 MiB")
    for text in found.wrong:
        print(f"wrong: {text}")
    return int(bool(found.wrong))


if __name__ == "__main__":
    sys.exit(main())
