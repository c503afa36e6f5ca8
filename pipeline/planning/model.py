"""The description of a link: one typed file (TOML) for planning, bench and node.

Intensities are mean photons per pulse at Alice's output; probabilities per pulse; dark counts and
afterpulses per detector. Unknown keys are refused.
"""

from __future__ import annotations

import itertools
import math
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.regular_file import FileError
from photonlink.hal.station import key_lines, model_problems
from photonlink.hal.toml_file import TableModel, parse_toml, read_toml_text
from photonlink.pipeline.planning import channel as channels

Kind = Literal["three_intensities", "one_decoy", "bbm92"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Intensity = Annotated[float, Field(ge=0, le=20)]  # photons per pulse: a weak pulse
PowerDbm = Annotated[float, Field(ge=-120, le=60)]
Probability = Annotated[float, Field(ge=0, le=1)]
OpenProbability = Annotated[float, Field(gt=0, lt=1)]


class LinkFileError(PhotonlinkError, ValueError):
    """An invalid link description; ``where`` names file and key."""


class LinkSection(TableModel):
    """A table of the file."""


class SourceSection(LinkSection):
    """rate_hz: pulses per second; for bbm92 pairs per second. mus and ps: intensities, brightest
    first, and their probabilities (not for bbm92). key_basis: probability of Alice's key basis.
    """

    rate_hz: Annotated[float, Field(gt=0, le=1e13)]
    mus: tuple[Intensity, ...] = ()
    ps: tuple[OpenProbability, ...] = ()
    key_basis: OpenProbability = 0.5


class RamanSection(LinkSection):
    """Data channels in the same fibre. power_dbm: launched, all channels together."""

    co_dbm: PowerDbm | None = None
    counter_dbm: PowerDbm | None = None
    rho_per_km_nm: Positive = 2e-9
    filter_nm: Positive = 0.2
    wavelength_nm: Positive = 1550.0


class PassSection(LinkSection):
    """A satellite pass. without geometry: the table; offset_db shifts it to another system."""

    duration_s: Positive
    offset_db: float = 0.0
    altitude_m: Positive | None = None
    divergence_rad: Positive = 10e-6
    telescope_radius_m: Positive = 0.6
    zenith_transmission: OpenProbability = 0.8
    pointing_transmission: Probability = 1.0

    def losses_db(self, steps: int = 21) -> list[float]:
        """Loss in the middle of each of ``steps`` equal parts of the pass."""
        times = [self.duration_s * ((i + 0.5) / steps - 0.5) for i in range(steps)]
        if self.altitude_m is None:
            return [self.offset_db + channels.table_loss_db(t) for t in times]
        sky = channels.SatelliteGeometry(
            self.altitude_m, self.divergence_rad, self.telescope_radius_m,
            self.zenith_transmission, self.pointing_transmission,
        )  # fmt: skip
        return [self.offset_db + sky.loss_db(self._up(sky, t)) for t in times]

    @staticmethod
    def _up(sky: channels.SatelliteGeometry, seconds: float) -> float:
        elevation = sky.elevation_rad(seconds)
        if elevation <= 0.01:
            raise LinkFileError("the pass goes below the horizon", where="channel.pass")
        return elevation


class ChannelSection(LinkSection):
    """Fibre (length and band or attenuation), or a plain loss, or a satellite pass.

    For bbm92: both arms together. loss_sd_db: standard deviation of the loss between blocks.
    background_hz: photons per second of stray light at the receiver's input.
    """

    length_km: Annotated[float, Field(ge=0, le=100_000)] | None = None
    band: Literal["C", "O"] = "C"
    db_per_km: Positive | None = None
    connectors_db: NotNegative = 0.0
    loss_db: Annotated[float, Field(ge=0, le=1000)] | None = None
    satellite: PassSection | None = Field(default=None, alias="pass")
    raman: RamanSection | None = None
    background_hz: NotNegative = 0.0
    loss_sd_db: NotNegative = 0.0

    @model_validator(mode="after")
    def _one_of_three(self) -> Self:
        given = [self.length_km is not None, self.loss_db is not None, self.satellite is not None]
        if sum(given) != 1:
            raise ValueError("needs exactly one of length_km, loss_db and pass")
        if self.raman is not None and self.length_km is None:
            raise ValueError("raman needs length_km")
        return self

    @property
    def attenuation(self) -> float:
        return self.db_per_km or channels.ATTENUATION_DB_PER_KM[self.band]

    def losses_db(self) -> list[float]:
        """Equally likely losses during a block: one, or those of a pass."""
        if self.satellite is not None:
            return [loss + self.connectors_db for loss in self.satellite.losses_db()]
        if self.loss_db is not None:
            return [self.loss_db + self.connectors_db]
        return [channels.fibre_loss_db(self.length_km or 0.0, self.attenuation, self.connectors_db)]

    def background_photons_hz(self) -> float:
        """Stray light and Raman scattering at the receiver's input, photons per second."""
        total = self.background_hz
        if self.raman is not None and self.length_km is not None:
            for dbm, counter in ((self.raman.co_dbm, False), (self.raman.counter_dbm, True)):
                if dbm is not None:
                    total += channels.Raman(
                        1e-3 * 10 ** (dbm / 10), self.raman.rho_per_km_nm,
                        self.raman.filter_nm, self.raman.wavelength_nm,
                    ).photons_per_s(self.length_km, self.attenuation, counter=counter)  # fmt: skip
        return total


class DetectorSection(LinkSection):
    """One kind of detector; ``count`` of them. A multi-pixel detector is dead pixel by pixel.

    dark_per_gate or dark_hz (times the receiver's gate). dead_time_s: non-paralysable, of each
    pixel. afterpulse: total probability of a false count after a true one.
    """

    count: Annotated[int, Field(ge=1, le=64)] = 1
    efficiency: Annotated[float, Field(gt=0, le=1)]
    dark_per_gate: Probability | None = None
    dark_hz: NotNegative | None = None
    afterpulse: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    dead_time_s: NotNegative = 0.0
    pixels: Annotated[int, Field(ge=1, le=1024)] = 1

    @model_validator(mode="after")
    def _one_dark(self) -> Self:
        if (self.dark_per_gate is None) == (self.dark_hz is None):
            raise ValueError("needs exactly one of dark_per_gate and dark_hz")
        return self


class ReceiverSection(LinkSection):
    """loss_db: optics before the detectors. gate_s: how long a detection counts for a pulse
    (bbm92: the coincidence window). misalignment: error probability of light alone, in the key
    basis and, when different, in the test basis. basis_choice: active (two detectors see all
    light) or passive (each basis has its own pair, and its share of the light). key_basis: Bob's
    probability, Alice's when left out. max_rate_hz: counts per second the electronics take.
    """

    loss_db: NotNegative = 0.0
    gate_s: Positive = 1e-9
    misalignment: Annotated[float, Field(ge=0, le=0.5)]
    misalignment_test: Annotated[float, Field(ge=0, le=0.5)] | None = None
    basis_choice: Literal["active", "passive"] = "active"
    key_basis: OpenProbability | None = None
    max_rate_hz: Positive | None = None
    detectors: Annotated[tuple[DetectorSection, ...], Field(min_length=1)]


class LinkProtocolSection(LinkSection):
    """f: planned leak over n h(QBER). bound and guard: of the decoy formulas. both_bases: each
    basis makes key and tests the other; of pairs with one epsilon for both keys, of decoy states
    twice the protocol, each with its own epsilon."""

    kind: Kind
    f: Annotated[float, Field(ge=1, le=3)] = 1.16
    bound: Literal["hoeffding", "chernoff"] = "chernoff"
    guard: Literal["exact", "strict", "printed"] = "exact"
    both_bases: bool = False


class SecuritySection(LinkSection):
    """Per block. Exactly one of block_bits (detections in the key basis) and block_s."""

    eps_sec: OpenProbability = 1e-10
    eps_cor: OpenProbability = 1e-15
    block_bits: Annotated[float, Field(gt=0, le=1e18)] | None = None
    block_s: Annotated[float, Field(gt=0, le=1e9)] | None = None

    @model_validator(mode="after")
    def _one_block(self) -> Self:
        if self.block_bits is not None and self.block_s is not None:
            raise ValueError("needs one of block_bits and block_s, not both")
        return self


class PlannedLink(LinkSection):
    """A whole link. from_memory: parameters that were not checked against a source."""

    name: str
    notes: str = ""
    from_memory: tuple[str, ...] = ()
    source: SourceSection
    channel: ChannelSection
    receiver: ReceiverSection
    protocol: LinkProtocolSection
    security: SecuritySection = SecuritySection(block_bits=1e7)

    @model_validator(mode="after")
    def _source_fits(self) -> Self:
        wanted = {"three_intensities": 3, "one_decoy": 2, "bbm92": 0}[self.protocol.kind]
        mus, ps = self.source.mus, self.source.ps
        if len(mus) != wanted or len(ps) != wanted:
            raise ValueError(f"source.mus and source.ps: {self.protocol.kind} needs {wanted} each")
        if wanted and not math.isclose(sum(ps), 1.0, abs_tol=1e-9):
            raise ValueError("source.ps must sum to one")
        if any(a <= b for a, b in itertools.pairwise(mus)):
            raise ValueError("source.mus must fall")
        if wanted == 3 and mus[0] <= mus[1] + mus[2]:
            raise ValueError("source.mus: the brightest must exceed the sum of the others")
        if wanted == 2 and mus[1] <= 0:
            raise ValueError("source.mus: the decoy must not be vacuum")
        return self

    def at_length(self, length_km: float) -> PlannedLink:
        """The same link with this much fibre."""
        keep = {"length_km": length_km, "loss_db": None, "satellite": None}
        return self.model_copy(update={"channel": self.channel.model_copy(update=keep)})

    def at_loss(self, loss_db: float) -> PlannedLink:
        """The same link with this loss (a pass or fibre keeps only its noise)."""
        keep = {"length_km": None, "loss_db": loss_db, "satellite": None, "raman": None}
        keep["background_hz"] = self.channel.background_photons_hz()
        return self.model_copy(update={"channel": self.channel.model_copy(update=keep)})


def parse_link(text: str, where: str) -> PlannedLink:
    """LinkFileError says which key is wrong and why."""
    text = text.removeprefix("\ufeff")
    try:
        return PlannedLink.model_validate(parse_toml(text, where))
    except FileError as error:
        raise LinkFileError(error.what, where=error.where, hint=error.hint) from error
    except ValidationError as error:
        found = sorted(set(model_problems(error, PlannedLink, (), key_lines(text), text)))
        listing = "".join(f"\n  {where}:{line}: {what}" for line, what in found)
        raise LinkFileError(
            f"the link file is wrong:{listing}",
            hint="photonlink keyrate --presets names complete examples",
        ) from error


def load_link(path: Path | str) -> PlannedLink:
    """A link file, or the name of a preset."""
    name = str(path)
    if name in preset_names():
        text = resources.files(__package__).joinpath("presets", f"{name}.toml").read_text("utf-8")
        return parse_link(text, name)
    try:
        text = read_toml_text(Path(path))
    except FileError as error:
        raise LinkFileError(
            error.what, where=error.where, hint=f"Presets: {', '.join(preset_names())}"
        ) from error
    return parse_link(text, name)


def preset_names() -> list[str]:
    folder = resources.files(__package__).joinpath("presets")
    return sorted(
        f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")
    )
