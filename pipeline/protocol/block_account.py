"""The public numbers of one block, from its attempt to its report."""

from __future__ import annotations

from dataclasses import dataclass

from photonlink.pipeline.protocol.channel.authentication import TAG_BITS
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.amplify import Lengths
from photonlink.pipeline.stages.finite_key import binary_entropy
from photonlink.pipeline.status.model import BlockReport

UNPAID = "no_secret_bits"  # the reason when the length comes out as zero


@dataclass(slots=True)
class BlockAccount:
    """Counted on this side. test_counted: the test bits were compared. rest: what was left at the
    end of input, not a block by the rule."""

    parameters: AgreedParameters
    block: int
    pairs: int
    duration_s: float
    rest: bool = False
    ratio: float = 1.0  # between detectors, as the length is charged
    key_bits: int = 0
    test_bits: int = 0
    test_errors: int = 0
    test_counted: bool = False
    errors_corrected: int | None = None
    leak_bits: int = 0
    rounds: int = 0
    lengths: Lengths | None = None
    refill_bits: int = 0
    tags: int = 0  # one-time tags made for it

    @property
    def epsilon(self) -> float:
        p = self.parameters
        return p.eps_sec + p.eps_cor + p.eps_auth

    def report(self, abort: str | None, *, emulated: bool) -> BlockReport:
        n, k = self.key_bits, self.test_bits if self.test_counted else 0
        rate = None if self.errors_corrected is None or not n else self.errors_corrected / n
        ideal = n * binary_entropy(rate) if rate else 0.0
        lengths = self.lengths
        secret = lengths.charged.length if lengths and abort is None else 0
        refill = self.refill_bits if abort is None else 0
        return BlockReport(
            block=self.block,
            sifted_bits=n + self.test_bits,
            key_bits_in=n,
            test_bits=k,
            qber_hv=rate,
            qber_da=self.test_errors / k if k else 0.0,
            leak_bits=self.leak_bits,
            f_ec=self.leak_bits / ideal if ideal else None,
            verification_bits=lengths.verification_bits if lengths else 0,
            secret_bits=secret,
            authentication_bits=TAG_BITS * self.tags,
            net_bits=secret - refill,
            secret_bits_tlgr2012=lengths.beside.length if lengths and abort is None else 0,
            epsilon=self.epsilon,
            q_tol=self.parameters.q_tol,
            rounds=self.rounds,
            duration_s=self.duration_s,
            emulated=emulated,
            abort=abort,
            refill_bits=refill,
        )
