"""The public numbers of one block, from its attempt to its report."""

from __future__ import annotations

from dataclasses import dataclass, field

from photonlink.pipeline.protocol.channel.authentication import TAG_BITS
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.amplify import (
    Lengths,
    StringAccount,
    agreed_strings,
    basis_string,
    block_lengths,
)
from photonlink.pipeline.stages.block_thresholds import BlockThresholds
from photonlink.pipeline.stages.finite_key import (
    BlockCosts,
    ChargedKey,
    KeyLength,
    OnTheWay,
    binary_entropy,
    block_costs,
)
from photonlink.pipeline.status.model import BlockReport

UNPAID = "no_secret_bits"  # the reason when the length comes out as zero


@dataclass(slots=True)
class BlockAccount:
    """Counts of one block on this side. hv, da: the strings of the two bases. rest: the block was
    cut at the end of input and is smaller than the block rule asks.
    """

    parameters: AgreedParameters
    block: int
    thresholds: BlockThresholds
    duration_s: float
    rest: bool = False
    ratio: float = 1.0  # ratio of the detectors' efficiencies that the key length pays for
    way: OnTheWay = field(default_factory=lambda: OnTheWay(0))
    hv: StringAccount = field(default_factory=StringAccount)
    da: StringAccount = field(default_factory=StringAccount)
    rounds: int = 0
    lengths: Lengths | None = None
    refill_bits: int = 0
    tags: int = 0  # one-time tags made for this block

    @property
    def both(self) -> bool:
        """Whether both bases make key."""
        return self.parameters.both_bases

    @property
    def key_bits(self) -> int:
        """Sifted bits of the strings that make key."""
        return self.hv.bits + (self.da.bits if self.both else 0)

    @property
    def test_bits(self) -> int:
        """Bits disclosed to estimate the error rate."""
        return 0 if self.both else self.da.bits

    @property
    def leak_bits(self) -> int:
        return self.hv.leak_bits + self.da.leak_bits

    @property
    def epsilon(self) -> float:
        return self.parameters.epsilon

    def charge(self) -> Lengths:
        """Set the key length from the counts."""
        self.lengths = block_lengths(self.parameters, self.thresholds, self.hv, self.da, self.ratio)
        return self.lengths

    def report(self, abort: str | None, *, emulated: bool) -> BlockReport:
        strings = (self.hv, self.da) if self.both else (self.hv,)
        rates = [_rate(string) for string in (self.hv, self.da)]
        ideal = sum(s.bits * binary_entropy(_rate(s) or 0.0) for s in strings)
        costs = self._costs(abort)
        lengths = self.lengths
        secret = lengths.length if lengths and abort is None else 0
        refill = self.refill_bits if abort is None else 0
        return BlockReport(
            block=self.block,
            sifted_bits=self.hv.bits + self.da.bits,
            sifted_bits_hv=self.hv.bits,
            sifted_bits_da=self.da.bits,
            key_bits_in=self.key_bits,
            test_bits=self.test_bits if self.da.errors is not None else 0,
            qber_hv=rates[0],
            qber_da=rates[1],
            leak_bits=self.leak_bits,
            f_ec=self.leak_bits / ideal if ideal else None,
            verification_bits=lengths.verification_bits if lengths else 0,
            secret_bits=secret,
            authentication_bits=TAG_BITS * self.tags,
            net_bits=secret - refill,
            secret_bits_tlgr2012=lengths.beside if lengths and abort is None else 0,
            epsilon=self.epsilon,
            q_tol_hv=self.thresholds.hv if self.both else None,
            q_tol_da=self.thresholds.da,
            rounds=self.rounds,
            duration_s=self.duration_s,
            emulated=emulated,
            abort=abort,
            refill_bits=refill,
            asymptotic_bits=costs.asymptotic_bits if costs else None,
            costs=costs.costs if costs else {},
        )

    def _costs(self, abort: str | None) -> BlockCosts | None:
        """Where the asymptotic key went; None before errors were counted in both bases."""
        hv, da, t, p = self.hv, self.da, self.thresholds, self.parameters
        if hv.errors is None or da.errors is None:
            return None
        lengths = self.lengths or self.charge()
        z, x = basis_string(p, hv), basis_string(p, da)
        if self.both and lengths.da is not None:
            eps = agreed_strings(p, t, self.ratio).share * p.eps_sec
            keys: tuple[ChargedKey, ...] = (
                ChargedKey(z, x, t.da, eps),
                ChargedKey(x, z, t.hv, eps),
            )
            charged: tuple[KeyLength, ...] = (lengths.hv, lengths.da)
        else:
            keys, charged = (ChargedKey(z, x, t.da, 4 * p.eps_sec / 3),), (lengths.hv,)
        secret = lengths.length if abort is None else 0
        refill = self.refill_bits if abort is None else 0
        return block_costs(
            z, x, keys, charged, self.way, secret_bits=secret, authentication_bits=refill
        )


def _rate(string: StringAccount) -> float | None:
    if string.errors is None or not string.bits:
        return None
    return string.errors / string.bits
