"""What a node knows about its own and the peer's running acquisition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from photonlink.hal.tags import AcquisitionStart, Provenance
from photonlink.pipeline.native.base import NativeDataError
from photonlink.pipeline.native.sifting import bitmap_places
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.messages import Acquisition
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.clock.recovery import HINT_TOLERANCE_S, hint_tolerance_s
from photonlink.pipeline.stages.sift import SiftParameters, coincidence_parameters

MAX_HOST_TIME_S = 1e11  # the year 5138
MAX_HOSTS_APART_S = 1e6
MAX_RAW_SPREAD_S = 600.0  # instruments started farther apart belong to different runs


@dataclass(frozen=True, slots=True)
class AcquisitionOrigin:
    """The values of an acquisition_started input, from the shell or the replay."""

    start: AcquisitionStart | None  # None: a recording without host time
    resolution_ps: float
    origin_ps: int


def announce(started: AcquisitionOrigin, start_ps: int, provenance: Provenance) -> Acquisition:
    stamp = started.start
    return Acquisition(
        host_time_s=stamp.host_time_s if stamp else 0.0,
        uncertainty_s=stamp.uncertainty_s if stamp else 0.0,
        start_ps=start_ps,
        origin_ps=started.origin_ps,
        resolution_ps=started.resolution_ps,
        host_stamped=int(stamp is not None),
        provenance=list(Provenance).index(provenance),
    )


def check(message: Acquisition) -> Acquisition:
    """Raises ProtocolError for values that no tagger has."""
    if not 0 < message.resolution_ps <= 1e5:
        raise ProtocolError("malformed_message", "the peer's tagger has an impossible resolution")
    if abs(message.start_ps) > 1 << 60 or abs(message.origin_ps) > 1 << 62:
        raise ProtocolError("malformed_message", "the peer's acquisition starts out of range")
    if not 0 <= message.host_time_s < MAX_HOST_TIME_S or not (
        0 <= message.uncertainty_s < MAX_RAW_SPREAD_S
    ):
        raise ProtocolError("malformed_message", "the peer's acquisition started at no time")
    if message.provenance >= len(Provenance) or message.host_stamped > 1:
        raise ProtocolError("malformed_message", "the peer's tags have an unknown provenance")
    return message


def hints_ps(alice: Acquisition, bob: Acquisition) -> tuple[int, ...]:
    """First guesses of Bob's clock minus Alice's. With host time stamps: their difference, good to
    ``tolerance_s``.

    Without them: first that both instruments' clocks agree, then that both started together.
    """
    if alice.host_stamped and bob.host_stamped:
        apart_s = alice.host_time_s - bob.host_time_s
        if abs(apart_s) > MAX_HOSTS_APART_S:
            raise ProtocolError(
                "malformed_message",
                f"the two taggers started {abs(apart_s):.3g} s apart by their hosts' clocks",
                hint="Set both hosts' clocks (NTP).",
            )
        return (round(apart_s * 1e12),)
    raw = alice.origin_ps - bob.origin_ps
    together = bob.start_ps - alice.start_ps
    apart_s = abs(raw - together) * 1e-12
    if apart_s > MAX_RAW_SPREAD_S:
        return (together,)
    return (raw,) if apart_s < HINT_TOLERANCE_S / 2 else (raw, together)


def tolerance_s(alice: Acquisition, bob: Acquisition) -> float:
    """How far from a hint the clock may lie."""
    if alice.host_stamped and bob.host_stamped:
        return hint_tolerance_s(alice.uncertainty_s, bob.uncertainty_s)
    return HINT_TOLERANCE_S


def sift_parameters(
    parameters: AgreedParameters, alice: Acquisition, bob: Acquisition
) -> SiftParameters:
    """Grid and window both nodes derive from the same public numbers."""
    found = coincidence_parameters(
        alice.resolution_ps, bob.resolution_ps, parameters.jitter_ps, parameters.jitter_ps
    )
    if parameters.window_ps:
        return SiftParameters(found.bin_ps, round(parameters.window_ps / 2), found.sigma_ps)
    return found


def pack_bitmap(n: int, indices: np.ndarray[tuple[int], np.dtype[np.int64]]) -> bytes:
    """n bits, most significant first, 1 at ``indices``."""
    bits = np.zeros(n, np.uint8)
    bits[indices] = 1
    return np.packbits(bits).tobytes()


def unpack_bitmap(
    n: int, data: bytes, first: int = 0
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Places of the ones, from ``first`` on. Raises ProtocolError for anything but n bits and zero
    padding."""
    if len(data) != (n + 7) // 8:
        raise ProtocolError("malformed_message", f"a bitmap of {n} bits has {len(data)} bytes")
    try:
        return bitmap_places(n, data, first)
    except NativeDataError:
        raise ProtocolError("malformed_message", "a bitmap has bits beyond its end") from None
