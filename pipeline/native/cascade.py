"""Error correction: Cascade between two nodes, in rounds (docs/cascade.md has the protocol).

Brassard and Salvail, EUROCRYPT '93, LNCS 765, 410; sub-block reuse and random subsets as in
Martinez-Mateo et al., Quantum Inf. Comput. 15, 453 (2015) (both from general knowledge, not
re-read). Only Alice sends parities; she counts each one in ``leak_bits``. Bob's messages reveal
positions of errors, never a parity; the error pattern is treated as public (Tupkary and Lütkenhaus,
PR Applied 20, 064040, 2023).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from photonlink.pipeline._core import ffi, lib
from photonlink.pipeline.native.base import Handle, NativeArgumentError, Uncopied, borrow, check
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.native.sizes import SEED_BYTES

MAX_BITS: int = lib.PL_CASCADE_MAX_BITS
_BYTES = ffi.typeof("uint8_t[]")


def checked_seed(seed: bytes) -> bytes:
    if len(seed) != SEED_BYTES:
        raise ValueError(f"the seed has {len(seed)} bytes, {SEED_BYTES} are needed")
    return seed


def checked_rate(qber: float) -> float:
    if not 0 <= qber <= 0.5:
        raise ValueError(f"qber {qber} is not between 0 and 0.5")
    return qber


class CascadeAlice(Uncopied):
    """Answers requests for parities of ``key``, which is copied and not changed.

    seed: SEED_BYTES public random bytes agreed for this block, drawn after its key was sifted.
    leak_cap_bits: no answer takes ``leak_bits`` beyond it. qber is not used by this end.
    Errors: NativeArgumentError for a key of 0 or more than MAX_BITS bits, NativeStateError after
    ``close``.
    """

    def __init__(self, key: SecretBits, *, qber: float, seed: bytes, leak_cap_bits: int) -> None:
        checked_rate(qber)
        slot = ffi.new("pl_cascade_alice **")
        check(lib.pl_cascade_alice_new(slot, key.handle, checked_seed(seed), max(leak_cap_bits, 0)))
        self._handle = Handle(slot[0], lib.pl_cascade_alice_free, len(key) // 2)
        self._out = ffi.new(_BYTES, 4096)  # buffer of the last message; grows

    def restart(self, key: SecretBits, *, seed: bytes, leak_cap_bits: int) -> None:
        """Begin another block, of any length, in the memory of this object."""
        self._handle.call(
            lib.pl_cascade_alice_restart, key.handle, checked_seed(seed), max(leak_cap_bits, 0)
        )

    def answer(self, request: bytes) -> bytes:
        """The requested parities, one bit each; they are counted in ``leak_bits``.

        NativeDataError: malformed or out of range. NativeLimitError: the cap would be passed.
        Nothing is sent or counted then. A repeated request is counted again.
        """
        try:
            size = self._answer(request)
        except NativeArgumentError as error:
            if error.status != lib.PL_E_CAPACITY:
                raise
            n_bits = self._handle.call(lib.pl_cascade_alice_measure, request, len(request))
            self._out = ffi.new(_BYTES, 2 * ((n_bits + 7) // 8))
            size = self._answer(request)
        return bytes(ffi.buffer(self._out, size))

    def _answer(self, request: bytes) -> int:
        out = self._out
        return self._handle.call(lib.pl_cascade_alice_answer, request, len(request), out, len(out))

    @property
    def leak_bits(self) -> int:
        """Parities sent so far."""
        return self._handle.call(lib.pl_cascade_alice_leak)

    @property
    def rounds(self) -> int:
        """Requests answered so far."""
        return self._handle.call(lib.pl_cascade_alice_rounds)

    def close(self) -> None:
        self._handle.close()


class CascadeBob(Uncopied):
    """Finds and corrects the differences between ``key`` (copied) and Alice's.

    qber: the expected rate, a hint only: block lengths follow the rate that the parities show.
    When finished, the keys agree but for a small probability (docs/cascade.md): a verification
    hash must follow.
    Errors: as CascadeAlice.
    """

    def __init__(self, key: SecretBits, *, qber: float, seed: bytes) -> None:
        self._n_bits = len(key)
        slot = ffi.new("pl_cascade_bob **")
        check(lib.pl_cascade_bob_new(slot, key.handle, checked_seed(seed), checked_rate(qber)))
        self._handle = Handle(slot[0], lib.pl_cascade_bob_free, 2 * self._n_bits)
        self._out = ffi.new(_BYTES, 65536)  # buffer of the last request; grows

    def restart(self, key: SecretBits, *, qber: float, seed: bytes) -> None:
        """Begin another block, of any length, in the memory of this object."""
        self._handle.call(
            lib.pl_cascade_bob_restart, key.handle, checked_seed(seed), checked_rate(qber)
        )
        self._n_bits = len(key)

    def request(self) -> bytes | None:
        """The next requested positions, of all frames at once; None: finished.

        Returns the same bytes while an answer is outstanding. NativeDataError: the last answer
        contradicts earlier ones; when its padding answered the next request, this is found only
        here.
        """
        size = self._handle.call(lib.pl_cascade_bob_request, self._out, len(self._out))
        if size > len(self._out):
            self._out = ffi.new(_BYTES, 2 * size)
            size = self._handle.call(lib.pl_cascade_bob_request, self._out, len(self._out))
        return bytes(ffi.buffer(self._out, size)) if size else None

    def receive(self, parities: bytes) -> None:
        """The answer to the last request.

        NativeDataError: wrong length (the request stays open), or parities that contradict
        earlier ones (the block is lost). NativeStateError: nothing was asked.
        """
        self._handle.call(lib.pl_cascade_bob_receive, parities, len(parities))

    @property
    def asked_bits(self) -> int:
        """Number of parities in the open request."""
        return self._handle.call(lib.pl_cascade_bob_asked)

    @property
    def errors_corrected(self) -> int:
        return self._handle.call(lib.pl_cascade_bob_errors)

    @property
    def errors_seen(self) -> int:
        """Lower bound on the errors by Alice's parities, corrected ones included."""
        return self._handle.call(lib.pl_cascade_bob_errors_seen)

    def error_positions(self) -> npt.NDArray[np.int64]:
        """int64[errors], ascending indices of the key bits that were flipped. Public."""
        positions = np.empty(self.errors_corrected, np.int64)
        n = self._handle.call(
            lib.pl_cascade_bob_error_positions, borrow(positions, np.int64), len(positions)
        )
        return positions[:n]

    def corrected(self) -> SecretBits:
        """A copy of the key as corrected so far."""
        key = SecretBits(self._n_bits)
        self._handle.call(lib.pl_cascade_bob_key, key.handle)
        return key

    def close(self) -> None:
        self._handle.close()
