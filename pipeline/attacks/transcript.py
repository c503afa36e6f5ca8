"""What Eve learns on the line: she decodes every frame and follows the blocks as both ends do.

From the announcements she knows when each pair arrived at Bob, from the bases and the mask which
of them are bits of which string, and from Cascade, verification and amplification the linear maps
of each string that were told and that became key. She is given the clocks' relation, because she
controls the light.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from photonlink.pipeline.attacks.oracle import Bits, linear_map
from photonlink.pipeline.native.cascade import CascadeAlice
from photonlink.pipeline.native.hashing import Toeplitz, verification_hash
from photonlink.pipeline.native.quiet import announced_times
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.protocol.block_account import BlockAccount
from photonlink.pipeline.protocol.channel.framing import HEADER_BYTES, MAC_BYTES
from photonlink.pipeline.protocol.distilling.sifted import split_parts
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
    Prepared,
    Reconciled,
    Request,
    Sift,
    Verify,
    VerifyResult,
    decode,
)
from photonlink.pipeline.stages import verify
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.agreed_times import agreed_times
from photonlink.pipeline.stages.amplify import seed_bytes
from photonlink.pipeline.stages.bench_constants import BenchConstants
from photonlink.pipeline.stages.block_thresholds import BlockThresholds
from photonlink.pipeline.stages.finite_key.following import GRID

Times = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.uint8]
_STRANGER_TYPES = {cls.TYPE for cls in STRANGERS}
_MOST_LEAK = 1 << 30


def message_of(frame: bytes) -> Message:
    """The message of a frame, without the MAC at its end."""
    body = frame[HEADER_BYTES:]
    return decode(frame[0], body if frame[0] in _STRANGER_TYPES else body[:-MAC_BYTES])


@dataclass
class ObservedString:
    """One basis of an attempt whose bits make key.

    bob_ps: announced times of its raw bits, in Bob's clock and in their order. amplification: seed
    and length of its key.
    """

    basis: int  # 0: HV, 1: DA
    bob_ps: Times
    cascade_seed: bytes = b""
    cascade: list[bytes] = field(default_factory=list)
    verification: tuple[bytes, int] | None = None
    amplification: tuple[bytes, int] | None = None

    @property
    def n(self) -> int:
        return len(self.bob_ps)


@dataclass
class ObservedBlock:
    """One attempt. strings: of the bases that make key, once both ends' bases are known."""

    block: int
    pairs: int
    pair_ps: Times
    basis: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    same: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    strings: tuple[ObservedString, ...] = ()
    account: BlockAccount | None = None  # as both ends compute it from public numbers
    released: bool = False
    abort: str = ""

    @property
    def amplified(self) -> bool:
        return any(string.amplification is not None for string in self.strings)


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
        self._ratio = bench.ratio if parameters.charge_mismatch else 1.0
        self._tags: dict[tuple[str, int], bytes] = {}
        self._told: set[int] = set()
        self._offered: set[int] = set()
        self.pads_used_twice = False

    @property
    def attempts(self) -> int:
        """Blocks whose bases were announced."""
        return len(self._told)

    @property
    def offers(self) -> int:
        """Blocks whose keys were found equal: from there on pads may be spent."""
        return len(self._offered)

    def feed(self, sender: str, frame: bytes) -> None:
        """``sender``: alice or bob."""
        message = message_of(frame)
        self._count(sender, message)
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

    def _count(self, sender: str, message: Message) -> None:
        if isinstance(message, BlockBases):
            self._told.add(message.block)
        elif isinstance(message, VerifyResult) and message.equal:
            self._offered.add(message.block)
        elif isinstance(message, Amplify | Prepared):
            known = self._tags.setdefault((sender, message.pad), message.tag)
            self.pads_used_twice = self.pads_used_twice or known != message.tag

    def _begin(self) -> None:
        """A new connection: pairs of the last one are void."""
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
            self._open.account = BlockAccount(
                self._parameters,
                message.block,
                BlockThresholds(message.hv_threshold * GRID, message.da_threshold * GRID, n),
                0.0,
                ratio=self._ratio,
            )
            self._row = self._row[n:]
            self.blocks.append(self._open)
        elif self._open is not None:
            self._on_step(self._open, message)

    def _on_step(self, block: ObservedBlock, message: Message) -> None:
        if isinstance(message, BlockBases):
            block.basis = np.unpackbits(np.frombuffer(message.bases, np.uint8))[: message.pairs]
        elif isinstance(message, Sift):
            mask = np.frombuffer(message.body[: (message.pairs + 7) // 8], np.uint8)
            block.same = np.unpackbits(mask)[: message.pairs] == 1
            times = [block.pair_ps[block.same & (block.basis == basis)] for basis in (0, 1)]
            account = block.account
            assert account is not None  # noqa: S101 - made with the block
            account.hv.bits, account.da.bits = map(len, times)
            strings = 2 if self._parameters.both_bases else 1
            block.strings = tuple(ObservedString(i, times[i]) for i in range(strings))
        elif isinstance(message, AbortBlock):
            block.abort = message.reason.decode("utf-8", "replace")
            self._row = np.empty(0, np.int64)
        elif isinstance(message, Commit):
            block.released = True
        elif block.account is not None:
            self._on_correction(block, block.account, message)

    def _on_correction(self, block: ObservedBlock, account: BlockAccount, message: Message) -> None:
        """Record what is sent about each string that makes key."""
        strings = block.strings
        if isinstance(message, Estimate):
            seeds = (message.hv_seed, message.da_seed)
            for string, seed in zip(strings, seeds, strict=False):
                string.cascade_seed = seed
            if not account.both:
                account.da.errors = message.test_errors
        elif isinstance(message, CascadeRequest):
            parts = split_parts(len(strings), message.hv_bytes, message.body)
            for string, asked in zip(strings, parts, strict=True):
                if asked:
                    string.cascade.append(asked)
        elif isinstance(message, Reconciled):
            account.hv.errors = message.hv_errors
            if account.both:
                account.da.errors = message.da_errors
        elif isinstance(message, Verify):
            account.hv.leak_bits, account.da.leak_bits = message.hv_leak_bits, message.da_leak_bits
            for string in strings:
                bits = verify.tag_bits(string.n, self._parameters.eps_cor_string)
                string.verification = (message.point, bits)
        elif isinstance(message, Amplify):
            seeds_left = message.seeds
            for string, length in zip(strings, account.charge().lengths, strict=True):
                own = seed_bytes(string.n) if length else 0
                string.amplification = (seeds_left[:own], length)
                seeds_left = seeds_left[own:]


# ---- the linear maps of a string ----

Map = Callable[[SecretBits], Bits]


def _bits(data: bytes | bytearray, n: int) -> Bits:
    return np.unpackbits(np.frombuffer(bytes(data), np.uint8))[:n]


def rows_of(n: int, *maps: Map) -> list[Matrix]:
    """The matrices of linear, or affine, maps of the same n bits, from the values they take."""
    sizes: list[int] = []

    def evaluate(x: Bits) -> Bits:
        with SecretBits.take(bytearray(np.packbits(x).tobytes()), n) as key:
            found = [each(key) for each in maps]
        sizes[:] = map(len, found)
        return np.concatenate(found)

    joined = linear_map(evaluate, n)
    return np.split(joined, np.cumsum(sizes)[:-1])


def amplification(seed: bytes, length: int) -> Map:
    """The Toeplitz hash that makes key."""
    context, out = Toeplitz(), SecretBits(length)

    def evaluate(key: SecretBits) -> Bits:
        context.modified_into(out, key, seed)
        return _bits(out.export(), length)

    return evaluate


def verification(point: bytes, tag_bits: int) -> Map:
    """The published hash; the length of the string adds a constant."""
    return lambda key: _bits(verification_hash(key, point, tag_bits), tag_bits)


def parities(n: int, seed: bytes, requests: list[bytes]) -> Map:
    """Alice's answers to these requests, padding included. A parity is a function of key and
    question alone, so all are asked at once."""
    asked = b"".join(requests)
    with SecretBits(n) as nothing:
        alice = CascadeAlice(nothing, qber=0.1, seed=seed, leak_cap_bits=_MOST_LEAK)

    def evaluate(key: SecretBits) -> Bits:
        alice.restart(key, seed=seed, leak_cap_bits=_MOST_LEAK)
        answer = alice.answer(asked)
        return _bits(answer, 8 * len(answer))

    return evaluate


def string_rows(string: ObservedString) -> tuple[Matrix, Matrix]:
    """The rows of the final key of a string, and of everything sent about its raw bits."""
    told, length = [], 0
    if string.cascade:
        told.append(parities(string.n, string.cascade_seed, string.cascade))
    if string.verification is not None:
        told.append(verification(*string.verification))
    if string.amplification is not None and string.amplification[1]:
        told.insert(0, amplification(*string.amplification))
        length = string.amplification[1]
    if not told:
        return np.zeros((0, string.n), np.uint8), np.zeros((0, string.n), np.uint8)
    rows = np.concatenate(rows_of(string.n, *told))
    return rows[:length], rows[length:]
