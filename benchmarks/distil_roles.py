"""Alice and Bob of the whole distillation (distil_end.py)."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from benchmarks.delayed_link import DelayedLink
from benchmarks.distil_end import (
    BLOCK,
    BURNT,
    CHUNK_BYTES,
    EPS_COR,
    NUMBER,
    OPEN_BLOCKS,
    POINT,
    READY,
    RESULT,
    SEED,
    VERIFIED,
    End,
    Plan,
    Work,
)
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.stages import verify
from photonlink.pipeline.stages.reconcile_many import ManyAnswerers, ManyCorrectors


class Alice(End):
    """Announces blocks, answers parity requests, sends hashes, draws the seeds."""

    def __init__(
        self, plan: Plan, link: DelayedLink, directory: Path, pool: list[SecretBits]
    ) -> None:
        super().__init__("alice", plan, link, directory)
        self._pool = pool
        self._ends = ManyAnswerers(plan.slots, leak_cap=0.2)
        self._announced = 0
        self._verifying: dict[int, int] = {}  # block → leak

    def turn_once(self) -> None:
        while self._announced - len(self.released) - self.burnt < OPEN_BLOCKS and self.has_room():
            self._announced += 1
            number, seed = self._announced, os.urandom(32)
            self.open(number)
            self._ends.add(self.block(number, self._key(number), seed))
            self.send(BLOCK, NUMBER.pack(number), seed)
        self.turn(self._ends.step)

    def _key(self, number: int) -> SecretBits:
        return self._pool[number % len(self._pool)]

    def after_turn(self) -> bool:
        while self._ends.finished:
            block = self._ends.finished.popleft()
            point = os.urandom(verify.POINT_BYTES)
            with self.times.stage("verification"):
                digest = verify.digest(block.key, point, EPS_COR)
            self._verifying[block.number] = block.leak_bits
            self.send(POINT, RESULT.pack(block.number, block.leak_bits, point), digest)
        for work in self.amplifying.values():
            if work.drawn and work.sent < len(work.seed):
                return self._send_seed(work)
        return False

    def _send_seed(self, work: Work) -> bool:
        """Send the next part, unless the one before still waits for the peer."""
        if self.link.waiting_out > CHUNK_BYTES or not self.has_room():
            return False
        part = memoryview(work.seed)[work.sent : work.sent + CHUNK_BYTES]
        self.send(SEED, NUMBER.pack(work.number), part)
        work.sent += len(part)
        if work.sent == len(work.seed):
            self.send_tag()
        return True

    def on_record(self, kind: int, body: memoryview) -> None:
        (number,) = NUMBER.unpack_from(body)
        if kind == VERIFIED:
            self.held.append(partial(self._verified, number))
        elif kind == BURNT:
            self.held.append(partial(self._burnt, number))
        elif kind == READY:
            self.held.append(partial(self.settle, number, "peer"))

    def _verified(self, number: int) -> None:
        leak = self._verifying.pop(number)
        self.amplify(self.begin_work(number, self._key(number), leak))

    def _burnt(self, number: int) -> None:
        del self._verifying[number]
        self.burn(number)

    def close(self) -> None:
        super().close()
        self._ends.close()


class Bob(End):
    """Requests parities, corrects, compares hashes, receives the seeds."""

    def __init__(
        self, plan: Plan, link: DelayedLink, directory: Path, pool: list[SecretBits]
    ) -> None:
        super().__init__("bob", plan, link, directory)
        self._pool = pool
        self._ends = ManyCorrectors(plan.slots)
        self._buffers = [SecretBits(plan.block_bits) for _ in range(OPEN_BLOCKS)]
        self._correcting: dict[int, SecretBits] = {}
        self.errors = self.leak_bits = self.seed_bytes = self.blocks_verified = 0

    def turn_once(self) -> None:
        self.turn(self._ends.step)

    def on_record(self, kind: int, body: memoryview) -> None:
        (number,) = NUMBER.unpack_from(body)
        if kind == BLOCK:
            self._begin(number, bytes(body[NUMBER.size :]))
        elif kind == POINT:
            self._compare(body)
        elif kind == SEED:
            self._seed(self.amplifying[number], body[NUMBER.size :])
        elif kind == READY:
            self.held.append(partial(self.settle, number, "peer"))

    def _begin(self, number: int, seed: bytes) -> None:
        self.open(number)
        block = self.block(number, self._pool[number % len(self._pool)], seed)
        block.corrected = self._correcting[number] = self._buffers.pop()
        self._ends.add(block)

    def _compare(self, body: memoryview) -> None:
        number, leak, point = RESULT.unpack_from(body)
        block = next(each for each in self._ends.finished if each.number == number)
        self._ends.finished.remove(block)
        key = self._correcting.pop(number)
        with self.times.stage("verification"):
            equal = verify.matches(key, point, EPS_COR, bytes(body[RESULT.size :]))
        if not equal:
            self.burn(number)
            self._buffers.append(key)
            self.send(BURNT, NUMBER.pack(number))
            self.send_tag()
            return
        self.blocks_verified += 1
        self.errors += block.errors
        self.leak_bits += leak
        self.begin_work(number, key, leak)
        self.send(VERIFIED, NUMBER.pack(number))
        self.send_tag()

    def _seed(self, work: Work, part: memoryview) -> None:
        work.seed[work.sent : work.sent + len(part)] = part
        work.sent += len(part)
        self.seed_bytes += len(part)
        if work.sent == len(work.seed):
            self.held.append(partial(self.amplify, work))

    def on_released(self, work: Work) -> None:
        self._buffers.append(work.key)

    def close(self) -> None:
        super().close()
        self._ends.close()
        for buffer in self._buffers:
            buffer.close()
