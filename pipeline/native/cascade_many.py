"""No node uses this yet, as blocks are reconciled one by one: Cascade for many keys at once.

Slots, and one call per batch of messages.

A message is a record: slot, kind (uint16 each), size (uint32), little-endian, and as many bytes.
Kind 0 is a request of ``CascadeBobs`` or an answer of ``CascadeAlices``; all other kinds are for
the caller's use, and ``step`` stops before them. Memory of a slot is kept for the next key.
"""

from __future__ import annotations

from photonlink.pipeline._core import ffi, lib
from photonlink.pipeline.native.base import Handle, Uncopied, check
from photonlink.pipeline.native.cascade import checked_rate, checked_seed
from photonlink.pipeline.native.secret import SecretBits

HEAD_BYTES: int = lib.PL_CASCADE_RECORD_HEAD
MAX_SLOTS: int = lib.PL_CASCADE_MAX_SLOTS
_BYTES = ffi.typeof("uint8_t[]")
Bytes = bytes | bytearray | memoryview


class CascadeAlices(Uncopied):
    """Answers requests of ``slots`` conversations (1 to MAX_SLOTS)."""

    def __init__(self, slots: int) -> None:
        slot = ffi.new("pl_cascade_alices **")
        check(lib.pl_cascade_alices_new(slot, slots))
        self._handle = Handle(slot[0], lib.pl_cascade_alices_free)
        self._used = ffi.new("size_t *")

    def start(
        self, slot: int, key: SecretBits, at: int, n_bits: int, *, seed: bytes, leak_cap_bits: int
    ) -> None:
        """Begin with bits ``at`` to ``at + n_bits - 1`` of ``key``, which are copied.

        Both are multiples of 8, unless the key ends there. This overwrites what was in the slot.
        """
        self._handle.call(
            lib.pl_cascade_alices_start,
            slot, key.handle, at, n_bits, checked_seed(seed), max(leak_cap_bits, 0),
        )  # fmt: skip

    def step(
        self, source: Bytes, target: bytearray | memoryview, most: int = MAX_SLOTS
    ) -> tuple[int, int]:
        """Answer up to ``most`` records: bytes used of ``source``, bytes put into ``target``.

        Stops before a record that is cut off or of another kind, and when ``target`` is full.
        Errors: as CascadeAlice.answer; NativeDataError also for a slot that was not started.
        ``failed_at`` then holds the place of the record.
        """
        written = self._handle.call(
            lib.pl_cascade_alices_step,
            ffi.from_buffer(_BYTES, source), len(source), self._used,
            ffi.from_buffer(_BYTES, target, require_writable=True), len(target), most,
        )  # fmt: skip
        return self._used[0], written

    @property
    def failed_at(self) -> int:
        """Byte of the last ``source`` where ``step`` stopped."""
        return int(self._used[0])

    def leak_bits(self, slot: int) -> int:
        """Parities sent for the key in this slot."""
        return self._handle.call(lib.pl_cascade_alices_leak, slot)

    def close(self) -> None:
        self._handle.close()


class CascadeBobs(Uncopied):
    """Corrects up to ``slots`` keys (1 to MAX_SLOTS) at the same time.

    fewer_rounds: for links with delay, a quarter of the rounds for about 5 % more leak
    (docs/cascade.md).
    """

    def __init__(self, slots: int, *, fewer_rounds: bool = False) -> None:
        slot = ffi.new("pl_cascade_bobs **")
        check(lib.pl_cascade_bobs_new(slot, slots, int(fewer_rounds)))
        self._handle = Handle(slot[0], lib.pl_cascade_bobs_free)
        self._used = ffi.new("size_t *")

    def start(
        self, slot: int, key: SecretBits, at: int, n_bits: int, *, seed: bytes, qber: float
    ) -> None:
        """As CascadeAlices.start. The first request comes with the next ``step``.

        NativeStateError: the slot's previous key was not yet fetched by ``finished``.
        """
        self._handle.call(
            lib.pl_cascade_bobs_start,
            slot, key.handle, at, n_bits, checked_seed(seed), checked_rate(qber),
        )  # fmt: skip

    def step(
        self, source: Bytes, target: bytearray | memoryview, most: int = MAX_SLOTS
    ) -> tuple[int, int]:
        """Take the answers in ``source``; write further requests. Returns as CascadeAlices.step.

        Requests for which ``target`` has no room come with a later step, which may be empty.
        """
        written = self._handle.call(
            lib.pl_cascade_bobs_step,
            ffi.from_buffer(_BYTES, source), len(source), self._used,
            ffi.from_buffer(_BYTES, target, require_writable=True), len(target), most,
        )  # fmt: skip
        return self._used[0], written

    @property
    def failed_at(self) -> int:
        """Byte of the last ``source`` where ``step`` stopped."""
        return int(self._used[0])

    def finished(self) -> int | None:
        """A slot whose key is corrected, each once; None when there is no other."""
        slot = self._handle.call(lib.pl_cascade_bobs_finished)
        return slot - 1 if slot else None

    def store(self, slot: int, key: SecretBits, at: int, n_bits: int) -> None:
        """Write the corrected bits into ``key`` from bit ``at`` on."""
        self._handle.call(lib.pl_cascade_bobs_store, slot, key.handle, at, n_bits)

    def errors_corrected(self, slot: int) -> int:
        return self._handle.call(lib.pl_cascade_bobs_errors, slot)

    def close(self) -> None:
        self._handle.close()
