"""Reconciliation: Cascade's two ends, with the bounds a peer must not pass."""

from __future__ import annotations

from photonlink.pipeline.native.base import NativeDataError, NativeLimitError, NativeStateError
from photonlink.pipeline.native.cascade import CascadeAlice, CascadeBob
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.native.sizes import SEED_BYTES

__all__ = ["SEED_BYTES", "Answerer", "Corrector", "LeakCapReached", "ReconcileError", "start_qber"]


class ReconcileError(ValueError):
    """The peer's message is not valid in Cascade. The block is lost."""


class LeakCapReached(Exception):
    """The peer asks for more parities than the block may leak."""


def start_qber(errors: int, k: int) -> float:
    """Error rate that Cascade starts with: that of the given bits with one error added, at most
    0.25.
    """
    return min((errors + 1) / (k + 2), 0.25)


class Answerer:
    """Alice's end: sends parities and counts each one, up to the cap."""

    def __init__(
        self, key: SecretBits, *, qber: float, seed: bytes, leak_cap_bits: int, max_rounds: int
    ) -> None:
        self._cascade = CascadeAlice(key, qber=qber, seed=seed, leak_cap_bits=leak_cap_bits)
        self._max_rounds = max_rounds

    def answer(self, request: bytes) -> bytes:
        """Raises LeakCapReached or ReconcileError; then nothing was disclosed."""
        if self.rounds >= self._max_rounds:
            raise LeakCapReached
        try:
            return self._cascade.answer(request)
        except NativeLimitError:
            raise LeakCapReached from None
        except (NativeDataError, NativeStateError) as error:
            raise ReconcileError(str(error)) from error

    @property
    def leak_bits(self) -> int:
        return self._cascade.leak_bits

    @property
    def rounds(self) -> int:
        return self._cascade.rounds

    def close(self) -> None:
        self._cascade.close()


class Corrector:
    """Bob's end: sends positions and corrects his own copy."""

    def __init__(self, key: SecretBits, *, qber: float, seed: bytes) -> None:
        self._cascade = CascadeBob(key, qber=qber, seed=seed)
        self.rounds = 0
        self.waits = False  # for an answer

    def request(self) -> bytes | None:
        """The next request; None when finished. Raises ReconcileError: the answers contradict each
        other.
        """
        try:
            request = self._cascade.request()
            self.waits = request is not None
            return request
        except (NativeDataError, NativeStateError) as error:
            raise ReconcileError(str(error)) from error

    def receive(self, parities: bytes) -> None:
        """Take an answer. Raises ReconcileError for an impossible one."""
        try:
            self._cascade.receive(parities)
        except (NativeDataError, NativeStateError) as error:
            raise ReconcileError(str(error)) from error
        self.rounds += 1
        self.waits = False

    @property
    def asked_bits(self) -> int:
        """Number of parities in the open request."""
        return self._cascade.asked_bits

    @property
    def errors_corrected(self) -> int:
        return self._cascade.errors_corrected

    @property
    def errors_seen(self) -> int:
        """Lower bound on the errors by the parities so far."""
        return self._cascade.errors_seen

    def corrected(self) -> SecretBits:
        return self._cascade.corrected()

    def close(self) -> None:
        self._cascade.close()
