"""No node uses this yet, as blocks follow one another: many pieces of many blocks in flight.

Reconciliation of long blocks over a link with delay.

A block is cut into pieces, each a Cascade of its own, so that enough questions are on their way to
keep both ends busy. Bob decides which piece starts when and tells Alice. Messages are records
(native/cascade_many.py): kind 0 Cascade, START and FINISHED of a piece; kinds from OTHER on are for
the caller's use, and ``step`` stops before them. Bytes in, bytes out: no socket.
"""

from __future__ import annotations

import hashlib
import struct
from collections import deque
from dataclasses import dataclass

from photonlink.pipeline.native.base import NativeDataError, NativeLimitError, NativeStateError
from photonlink.pipeline.native.cascade_many import HEAD_BYTES, CascadeAlices, CascadeBobs
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.stages.reconcile import LeakCapReached, ReconcileError

START, FINISHED, OTHER = 1, 2, 16
BATCHES = 2  # parts of the pieces in flight: each end works on some of them
ROOM_BYTES = 1 << 20  # free room in the target without which a step is not worth trying
_PIECE = struct.Struct("<HHIII")  # slot, kind, size; block, piece


@dataclass(slots=True)
class Block:
    """A key being reconciled: the caller owns ``key`` and ``corrected`` (Bob's end)."""

    number: int
    key: SecretBits
    seed: bytes
    piece_bits: int
    qber: float = 0.0
    corrected: SecretBits | None = None
    done: int = 0  # pieces finished
    leak_bits: int = 0
    errors: int = 0

    @property
    def pieces(self) -> int:
        return -(-len(self.key) // self.piece_bits)

    def span(self, piece: int) -> tuple[int, int]:
        """First bit and length of a piece."""
        at = piece * self.piece_bits
        return at, min(self.piece_bits, len(self.key) - at)

    def piece_seed(self, piece: int) -> bytes:
        """Each piece has permutations of its own, from the block's public seed."""
        return hashlib.sha256(self.seed + piece.to_bytes(4, "little")).digest()


def batch(slots: int, batches: int) -> int:
    """Records per step: small enough that both ends are at work at the same time."""
    return max(1, slots // batches)


class ManyAnswerers:
    """Alice's end. ``leak_cap`` is the share of a piece that its parities may disclose.

    batches: parts of what is in flight that are answered one by one; more of them on links with
    delay, where waiting for the others costs time.
    """

    def __init__(self, slots: int, leak_cap: float = 0.5, *, batches: int = BATCHES) -> None:
        self._alices = CascadeAlices(slots)
        self._batch = batch(slots, batches)
        self._leak_cap = leak_cap
        self._blocks: dict[int, Block] = {}
        self._at_work: dict[int, tuple[Block, int]] = {}  # by slot
        self._started: set[tuple[int, int]] = set()
        self.finished: deque[Block] = deque()  # for the caller to take

    def add(self, block: Block) -> None:
        """Add a block; from now on Bob may start its pieces."""
        self._blocks[block.number] = block

    def step(self, source: memoryview, target: memoryview) -> tuple[int, int]:
        """Answer the complete records in ``source``: bytes used of it, bytes written to ``target``.

        Raises LeakCapReached, and ReconcileError for invalid records.
        """
        used = written = 0
        while len(target) - written >= ROOM_BYTES:
            try:
                taken, put = self._alices.step(source[used:], target[written:], self._batch)
            except NativeLimitError:
                raise LeakCapReached from None
            except (NativeDataError, NativeStateError) as error:
                raise ReconcileError(str(error)) from error
            used, written = used + taken, written + put
            told = self._hear(source[used:])
            used += told
            if taken or not told:  # send the target first
                break
        return used, written

    def _hear(self, source: memoryview) -> int:
        """The START and FINISHED records at the beginning of ``source``."""
        used = 0
        while len(source) - used >= _PIECE.size:
            slot, kind, size, number, piece = _PIECE.unpack_from(source, used)
            if kind not in (START, FINISHED):
                break
            if size != _PIECE.size - HEAD_BYTES:
                raise ReconcileError("a record of the wrong length")
            (self._start if kind == START else self._finish)(slot, number, piece)
            used += _PIECE.size
        return used

    def _start(self, slot: int, number: int, piece: int) -> None:
        block = self._blocks.get(number)
        if block is None or piece >= block.pieces or slot in self._at_work:
            raise ReconcileError(f"piece {piece} of block {number} cannot start")
        if (number, piece) in self._started:
            raise ReconcileError(f"piece {piece} of block {number} was asked about before")
        at, bits = block.span(piece)
        cap = round(bits * self._leak_cap)
        self._alices.start(
            slot, block.key, at, bits, seed=block.piece_seed(piece), leak_cap_bits=cap
        )
        self._started.add((number, piece))
        self._at_work[slot] = block, piece

    def _finish(self, slot: int, number: int, piece: int) -> None:
        block, mine = self._at_work.pop(slot, (None, -1))
        if block is None or (block.number, mine) != (number, piece):
            raise ReconcileError(f"piece {piece} of block {number} is not at work")
        block.leak_bits += self._alices.leak_bits(slot)
        block.done += 1
        if block.done == block.pieces:
            del self._blocks[number]
            self._started -= {(number, each) for each in range(block.pieces)}
            self.finished.append(block)

    def close(self) -> None:
        self._alices.close()


class ManyCorrectors:
    """Bob's end: corrects pieces in order, as many at a time as there are slots.

    fewer_rounds: as in CascadeBobs; batches: as in ManyAnswerers.
    """

    def __init__(self, slots: int, *, fewer_rounds: bool = False, batches: int = BATCHES) -> None:
        self._bobs = CascadeBobs(slots, fewer_rounds=fewer_rounds)
        self._batch = batch(slots, batches)
        self._free = deque(range(slots))
        self._waiting: deque[tuple[Block, int]] = deque()
        self._at_work: dict[int, tuple[Block, int]] = {}
        self.finished: deque[Block] = deque()
        self.pieces_finished = 0

    def add(self, block: Block) -> None:
        """Add a block; Alice must have it too, with the same seed."""
        if block.corrected is None or len(block.corrected) != len(block.key):
            raise ValueError("the corrected key needs a buffer of the key's length")
        self._waiting.extend((block, piece) for piece in range(block.pieces))

    @property
    def pieces_waiting(self) -> int:
        return len(self._waiting)

    def step(self, source: memoryview, target: memoryview) -> tuple[int, int]:
        """Take answers and write further requests: bytes used, bytes written. Raises
        ReconcileError.
        """
        used = written = 0
        while len(target) - written >= ROOM_BYTES:
            written += self._start(target[written:])
            try:
                taken, put = self._bobs.step(source[used:], target[written:], self._batch)
            except (NativeDataError, NativeStateError) as error:
                raise ReconcileError(str(error)) from error
            used, written = used + taken, written + put
            ended = self._finish(target[written:])
            written += ended
            if taken or not ended:
                break
        return used, written

    def _start(self, target: memoryview) -> int:
        at = 0
        while self._free and self._waiting and len(target) - at > ROOM_BYTES // 2:
            (block, piece), slot = self._waiting.popleft(), self._free.popleft()
            start, bits = block.span(piece)
            seed = block.piece_seed(piece)
            self._bobs.start(slot, block.key, start, bits, seed=seed, qber=block.qber)
            self._at_work[slot] = block, piece
            _PIECE.pack_into(target, at, slot, START, 8, block.number, piece)
            at += _PIECE.size
        return at

    def _finish(self, target: memoryview) -> int:
        at = 0
        while len(target) - at >= _PIECE.size and (slot := self._bobs.finished()) is not None:
            block, piece = self._at_work.pop(slot)
            start, bits = block.span(piece)
            assert block.corrected is not None  # noqa: S101 - see add
            self._bobs.store(slot, block.corrected, start, bits)
            block.errors += self._bobs.errors_corrected(slot)
            block.done += 1
            _PIECE.pack_into(target, at, slot, FINISHED, 8, block.number, piece)
            at += _PIECE.size
            self._free.append(slot)
            self.pieces_finished += 1
            if block.done == block.pieces:
                self.finished.append(block)
        return at

    def close(self) -> None:
        self._bobs.close()
