"""One end of a whole distillation: sifted key in, secret key on disk, over one TCP stream.

Block after block, each cut into pieces for Cascade (stages/reconcile_many.py), verified, amplified
with a seed drawn afterwards, stored and entered into the ledger; every byte of the stream is
authenticated with the protocol's tags and pads. The sifted key comes from memory: the same few
blocks in turns, with fresh public seeds. Amplification runs in a thread beside Cascade.
"""

from __future__ import annotations

import os
import queue
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.delayed_link import DelayedLink
from photonlink.pipeline.keys.ledger import PAD_BYTES, Ledger
from photonlink.pipeline.keys.node_store import NodeStore, StorePlace
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.keys.store_key import KeySource
from photonlink.pipeline.native.cascade_many import HEAD_BYTES
from photonlink.pipeline.native.hashing import PolyMac, Toeplitz
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.stages import verify
from photonlink.pipeline.stages.finite_key import bbm92_key_length
from photonlink.pipeline.stages.reconcile_many import ROOM_BYTES, Block

BLOCK, POINT, SEED, TAG, VERIFIED, BURNT, READY = range(16, 23)
RECORD = struct.Struct("<HHI")  # slot (here 0), kind, size
NUMBER = struct.Struct("<I")
RESULT = struct.Struct("<IQ16s")  # block, leak in bits, verification point; then the hash
CHUNK_BYTES = 1 << 17
OPEN_BLOCKS = 3  # announced and not yet released
ROUND = 64  # key lengths are whole 64ths of the block, so that buffers are reused
EPS_SEC, EPS_COR = 1e-10, 1e-15


@dataclass(frozen=True, slots=True)
class Plan:
    """What both ends agree on. test_bits: disclosed beside the block, not counted as sifted."""

    block_bits: int = 48 << 21
    piece_bits: int = 1 << 21
    slots: int = 16
    error_rate: float = 0.01
    q_tol: float = 0.012
    test_bits: int = 1_000_000


@dataclass(slots=True)
class Times:
    """CPU seconds by stage."""

    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begin = time.thread_time()
        try:
            yield
        finally:
            self.seconds[name] += time.thread_time() - begin


@dataclass(frozen=True, slots=True)
class Release:
    """A finished block: time, secret bits, and what this end had used by then."""

    number: int
    time_s: float
    secret_bits: int
    cpu_s: float
    stages: dict[str, float]
    received: int
    sent: int


@dataclass(slots=True)
class Work:
    """A verified block on its way through amplification."""

    number: int
    key: SecretBits
    leak_bits: int
    seed: bytearray
    n_out: int = 0
    drawn: bool = False  # Alice: the seed is drawn and being sent
    sent: int = 0  # seed bytes; at Bob: received
    seal: str = ""  # of the stored key


def _head(data: memoryview) -> tuple[int, int]:
    """Kind and size of the first record."""
    _, kind, size = RECORD.unpack_from(data)
    return kind, size


def store_place(directory: Path, role: str) -> StorePlace:
    return StorePlace(directory / role, "bench", role, KeySource(directory / f"{role}.key"))


class Stream:
    """One direction's running hash; a tag and a pad of the pre-shared key for every segment.

    The node makes two tags a block, over both directions; here each end of a phase has its own,
    which costs more. The ledger records a pad before its tag is made.
    """

    def __init__(self, psk: PreSharedKey, ledger: Ledger, direction: str) -> None:
        self._psk, self._ledger, self._direction, self._at = psk, ledger, direction, 0
        with psk.mac_key(direction) as key:
            self._mac = PolyMac(key)
        self.absorb = self._mac.update

    def _pad(self) -> SecretBits:
        at, self._at = self._at, self._at + PAD_BYTES
        self._ledger.spend_pad(f"{self._direction}/block", self._at)
        return self._psk.pad(self._direction, False, at, PAD_BYTES)

    def make_tag(self) -> bytes:
        with self._pad() as pad:
            return self._mac.tag(pad, 0)

    def check_tag(self, tag: bytes) -> None:
        with self._pad() as pad:
            if not self._mac.verify(tag, pad, 0):
                raise RuntimeError(f"a tag of {self._direction} does not fit")

    def close(self) -> None:
        self._mac.close()


class End:
    """What Alice and Bob share. ``step`` is one turn of the loop."""

    def __init__(self, role: str, plan: Plan, link: DelayedLink, directory: Path) -> None:
        self.plan, self.link, self.role = plan, link, role
        self.times = Times()
        self._node_store = NodeStore.open(store_place(directory, role))
        self.ledger, self.store = self._node_store.ledger, self._node_store.keys
        self.psk = self._node_store.psk(directory / "psk")
        peer = "bob" if role == "alice" else "alice"
        self.out = Stream(self.psk, self.ledger, role)
        self.into = Stream(self.psk, self.ledger, peer)
        self._say_mac: Callable[[Any], None] = self.out.absorb  # Any: views and bytes
        self._hear_mac: Callable[[Any], None] = self.into.absorb
        self.released: list[Release] = []
        self.burnt = 0  # blocks whose hashes differed: about one frame in a million stays wrong
        self.amplifying: dict[int, Work] = {}
        self.held: list[Callable[[], None]] = []  # to do after the next valid tag
        self._ready: dict[int, set[str]] = defaultdict(set)  # of "mine", "peer"
        self._seeds = deque(bytearray((plan.block_bits + 6) // 8) for _ in range(OPEN_BLOCKS))
        self._jobs: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self.done: queue.SimpleQueue[tuple[Work, str]] = queue.SimpleQueue()
        self.wake = os.eventfd(0, os.EFD_NONBLOCK)
        self._worker = threading.Thread(target=self._amplify, daemon=True)
        self._worker.start()

    # ---- the stream ----

    def send(self, kind: int, *parts: bytes | memoryview) -> None:
        """Send one record; the next tag authenticates it."""
        room, at = self.link.room(), HEAD_BYTES
        RECORD.pack_into(room, 0, 0, kind, sum(len(part) for part in parts))
        for part in parts:
            room[at : at + len(part)] = part
            at += len(part)
        with self.times.stage("authentication"):
            self._say_mac(room[:at])
        with self.times.stage("network"):
            self.link.commit(at)

    def send_tag(self) -> None:
        with self.times.stage("ledger"):
            frame = self.out.make_tag()
        room = self.link.room()
        RECORD.pack_into(room, 0, 0, TAG, len(frame))
        room[HEAD_BYTES : HEAD_BYTES + len(frame)] = frame
        with self.times.stage("network"):
            self.link.commit(HEAD_BYTES + len(frame))

    def hear(self) -> int:
        """Handle the next record unless it is Cascade's; return the bytes used."""
        data = self.link.data()
        if len(data) < HEAD_BYTES:
            return 0
        kind, size = _head(data)
        if kind < BLOCK or len(data) < HEAD_BYTES + size:
            return 0
        body = data[HEAD_BYTES : HEAD_BYTES + size]
        if kind == TAG:
            with self.times.stage("ledger"):
                self.into.check_tag(bytes(body))
            held, self.held = self.held, []
            for action in held:
                action()
        else:
            with self.times.stage("authentication"):
                self._hear_mac(data[: HEAD_BYTES + size])
            self.on_record(kind, body)
        self.link.use(HEAD_BYTES + size)
        return HEAD_BYTES + size

    def turn(self, step: Callable[[memoryview, memoryview], tuple[int, int]]) -> None:
        """One turn of Cascade, then at most one other record, then the socket."""
        spent, clock = self.times.seconds, time.thread_time
        data, room = self.link.data(), self.link.room()
        begin = clock()
        used, written = step(data, room)
        stepped = clock()
        if used:
            self._hear_mac(data[:used])
            self.link.use(used)
        if written:
            self._say_mac(room[:written])
        hashed = clock()
        if written:
            self.link.commit(written)
        sent = clock()
        spent["cascade"] += stepped - begin
        spent["authentication"] += hashed - stepped
        used += self.hear()
        busy = self.after_turn()
        begin = clock()
        self.link.pump(not (used or written or busy), self.wake)
        spent["network"] += sent - hashed + clock() - begin
        if not self.done.empty():
            self._collect()

    # ---- blocks ----

    def open(self, number: int) -> None:
        n, k = self.plan.block_bits, self.plan.test_bits
        self._record(number, "open", sifted_bits=n + k, key_bits=n, test_bits=k)

    def _record(self, number: int, status: str, **fields: int | float | str) -> None:
        with self.times.stage("ledger"):
            self.ledger.append({"t": "block", "block": number, "status": status, **fields})

    def secret_bits(self, leak_bits: int) -> int:
        """The finite-key length, rounded down."""
        p = self.plan
        tag = verify.tag_bits(p.block_bits, EPS_COR)
        length = bbm92_key_length(
            p.block_bits, p.test_bits, p.q_tol, leak_bits, tag, EPS_SEC, EPS_COR
        ).length
        step = max(8, p.block_bits // ROUND // 8 * 8)
        return length // step * step

    def begin_work(self, number: int, key: SecretBits, leak_bits: int) -> Work:
        with self.times.stage("key length"):
            n_out = self.secret_bits(leak_bits)
        work = Work(number, key, leak_bits, self._seeds.popleft(), n_out)
        self.amplifying[number] = work
        return work

    def amplify(self, work: Work) -> None:
        self._jobs.put(work)

    def _amplify(self) -> None:
        """The thread: seed (Alice), hash, store."""
        context, y = Toeplitz(), SecretBits(0)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)  # Cascade comes first
        with open("/dev/urandom", "rb", buffering=0) as source:
            while (work := self._jobs.get()) is not None:
                if self.role == "alice":
                    with self.times.stage("seed"):
                        source.readinto(work.seed)
                    self._tell(work, "seed")
                if len(y) != work.n_out:
                    y.close()
                    y = SecretBits(work.n_out)
                with self.times.stage("amplification"):
                    context.modified_into(y, work.key, work.seed)
                with self.times.stage("store"):
                    work.seal = self.store.put_key(work.number, y)
                self._tell(work, "stored")
        y.close()
        context.close()

    def _tell(self, work: Work, what: str) -> None:
        self.done.put((work, what))
        os.eventfd_write(self.wake, 1)

    def _collect(self) -> None:
        while not self.done.empty():
            work, what = self.done.get()
            if what == "seed":
                work.drawn = True
            else:
                self._record(
                    work.number,
                    "prepared",
                    leak_bits=work.leak_bits,
                    secret_bits=work.n_out,
                    key_seal=work.seal,
                )
                self.send(READY, NUMBER.pack(work.number))
                self.send_tag()
                self.settle(work.number, "mine")

    def burn(self, number: int) -> None:
        self.burnt += 1
        self._record(number, "burnt", reason="verification_failed")

    def settle(self, number: int, whose: str) -> None:
        """Release a block once both ends have stored it."""
        self._ready[number].add(whose)
        if len(self._ready[number]) < 2:
            return
        del self._ready[number]
        work = self.amplifying.pop(number)
        self._record(number, "released")
        self._seeds.append(work.seed)
        self.released.append(
            Release(number, time.monotonic(), work.n_out, time.process_time(),
                    dict(self.times.seconds), self.link.received, self.link.sent)
        )  # fmt: skip
        self.on_released(work)

    # ---- for the roles ----

    def on_record(self, kind: int, body: memoryview) -> None:
        raise NotImplementedError

    def after_turn(self) -> bool:
        """Whether there is more work without waiting."""
        return False

    def on_released(self, work: Work) -> None:
        """Reuse the buffers of this block."""

    def block(self, number: int, key: SecretBits, seed: bytes) -> Block:
        return Block(number, key, seed, self.plan.piece_bits, self.plan.error_rate)

    def has_room(self) -> bool:
        return len(self.link.room()) > ROOM_BYTES + CHUNK_BYTES

    def close(self) -> None:
        self._jobs.put(None)
        self._worker.join(30)
        for each in (self.out, self.into, self._node_store, self.psk):
            each.close()
        os.close(self.wake)
