"""What the line tells Eve: she decodes every frame and follows the blocks as both ends do.

From the announcements she knows when each pair arrived at Bob, from the bases and the mask which
of them are key bits, and from Cascade, verification and amplification the linear maps of the raw
key that were told and that became key. She knows how the clocks stand to each other: she has
the light.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from photonlink.pipeline.attacks.oracle import Bits, linear_map
from photonlink.pipeline.native.cascade import CascadeAlice
from photonlink.pipeline.native.hashing import toeplitz_modified, verification_hash
from photonlink.pipeline.native.quiet import announced_times
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.protocol.channel.framing import HEADER_BYTES, MAC_BYTES
from photonlink.pipeline.protocol.messages import (
    STRANGERS,
    AbortBlock,
    Amplify,
    Announcement,
    BlockBases,
    CascadeRequest,
    CloseBlock,
    Commit,
    Estimate,
    Hello,
    IntervalKind,
    Message,
    Paired,
    Request,
    Sift,
    Verify,
    decode,
)
from photonlink.pipeline.stages import verify
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.agreed_times import agreed_times
from photonlink.pipeline.stages.bench_constants import BenchConstants

Times = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.uint8]
_STRANGER_TYPES = {cls.TYPE for cls in STRANGERS}
_MOST_LEAK = 1 << 30


def message_of(frame: bytes) -> Message:
    """The message of a frame; the MAC at its end is no part of it."""
    body = frame[HEADER_BYTES:]
    return decode(frame[0], body if frame[0] in _STRANGER_TYPES else body[:-MAC_BYTES])


@dataclass
class ObservedBlock:
    """One attempt. bob_ps: announced times of its key bits, in Bob's clock."""

    block: int
    pairs: int
    pair_ps: Times
    basis: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    same: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    cascade_seed: bytes = b""
    cascade: list[bytes] = field(default_factory=list)
    verification: tuple[bytes, int] | None = None
    amplification: tuple[bytes, int] | None = None
    released: bool = False
    abort: str = ""

    @property
    def key_ps(self) -> Times:
        """Bob's announced times of the raw key bits, in their order."""
        times: Times = self.pair_ps[self.same & (self.basis == 0)]
        return times

    @property
    def n(self) -> int:
        return len(self.key_ps)


class WireTranscript:
    """Feed it every frame that passes on the line, in order, from either end."""

    def __init__(self, parameters: AgreedParameters, bench: BenchConstants) -> None:
        self._parameters = parameters
        self._rule = agreed_times(parameters, bench).rule
        self.blocks: list[ObservedBlock] = []
        self.announced_ps: list[Times] = []
        self.window_ps = self._rule.window_ps
        self._requests: dict[int, Request] = {}
        self._announced: dict[int, Times] = {}
        self._row = np.empty(0, np.int64)
        self._open: ObservedBlock | None = None

    def feed(self, sender: str, frame: bytes) -> None:
        """``sender``: alice or bob."""
        message = message_of(frame)
        if isinstance(message, Hello) and sender == "alice":
            self._begin()
        elif isinstance(message, Request):
            self._requests[message.slot] = message
        elif isinstance(message, Announcement):
            self._on_announcement(message)
        elif isinstance(message, Paired):
            times = self._announced.pop(message.slot, np.empty(0, np.int64))
            bits = np.unpackbits(np.frombuffer(message.bitmap, np.uint8))[: len(times)]
            self._row = np.concatenate([self._row, times[bits == 1]])
        else:
            self._on_block(message)

    def _begin(self) -> None:
        """A new connection: what the last one said of pairs is void."""
        self._requests, self._announced = {}, {}
        self._row, self._open = np.empty(0, np.int64), None

    def _on_announcement(self, message: Announcement) -> None:
        request = self._requests.pop(message.slot)
        if message.kind != IntervalKind.KEY or message.end_ps <= request.start_ps:
            return
        times = announced_times(message.body, self._rule.slot(request.start_ps, message.end_ps))
        self._announced[message.slot] = times
        self.announced_ps.append(times)

    def _on_block(self, message: Message) -> None:
        if isinstance(message, CloseBlock):
            n = message.pairs
            self._open = ObservedBlock(message.block, n, self._row[:n])
            self._row = self._row[n:]
            self.blocks.append(self._open)
            return
        block = self._open
        if block is None:
            return
        if isinstance(message, BlockBases):
            block.basis = np.unpackbits(np.frombuffer(message.bases, np.uint8))[: message.pairs]
        elif isinstance(message, Sift):
            mask = np.frombuffer(message.body[: (message.pairs + 7) // 8], np.uint8)
            block.same = np.unpackbits(mask)[: message.pairs] == 1
        elif isinstance(message, Estimate):
            block.cascade_seed = message.seed
        elif isinstance(message, CascadeRequest):
            block.cascade.append(message.body)
        elif isinstance(message, Verify):
            bits = verify.tag_bits(block.n, self._parameters.eps_cor)
            block.verification = (message.point, bits)
        elif isinstance(message, Amplify):
            block.amplification = (message.seed, message.secret_bits)
        elif isinstance(message, Commit):
            block.released = True
        elif isinstance(message, AbortBlock):
            block.abort = message.reason.decode("utf-8", "replace")
            self._row = np.empty(0, np.int64)


# ---- the linear maps of a block ----


def _bits(data: bytes | bytearray, n: int) -> Bits:
    return np.unpackbits(np.frombuffer(bytes(data), np.uint8))[:n]


def _secret(x: Bits) -> SecretBits:
    return SecretBits.take(bytearray(np.packbits(x).tobytes()), len(x))


def amplification_rows(n: int, seed: bytes, length: int) -> Matrix:
    """(length, n): the Toeplitz hash, from the values it takes."""

    def evaluate(x: Bits) -> Bits:
        with _secret(x) as key, toeplitz_modified(key, seed, length) as out:
            return _bits(out.export(), length)

    return linear_map(evaluate, n)


def verification_rows(n: int, point: bytes, tag_bits: int) -> tuple[Matrix, Bits]:
    """(tag_bits, n), and the constant that the length adds."""

    def evaluate(x: Bits) -> Bits:
        with _secret(x) as key:
            return _bits(verification_hash(key, point, tag_bits), tag_bits)

    return linear_map(evaluate, n), evaluate(np.zeros(n, np.uint8))


def parity_rows(n: int, seed: bytes, requests: list[bytes]) -> Matrix:
    """Parities that Alice answers to these requests, the padding of answers included."""

    def evaluate(x: Bits) -> Bits:
        with _secret(x) as key:
            alice = CascadeAlice(key, qber=0.1, seed=seed, leak_cap_bits=_MOST_LEAK)
            try:
                answers = b"".join(alice.answer(request) for request in requests)
            finally:
                alice.close()
        return _bits(answers, 8 * len(answers))

    return linear_map(evaluate, n) if requests else np.zeros((0, n), np.uint8)


def public_rows(block: ObservedBlock) -> Matrix:
    """All that was told about the raw key of a block, as rows."""
    found = [parity_rows(block.n, block.cascade_seed, block.cascade)]
    if block.verification is not None:
        found.append(verification_rows(block.n, *block.verification)[0])
    return np.concatenate(found)
