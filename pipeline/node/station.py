"""The station file of a node: its bench (hal), its role, its peer, its MQTT broker."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from photonlink.hal.errors import StationError
from photonlink.hal.station import load_station
from photonlink.hal.toml_file import TableModel
from photonlink.pipeline.calibration.files import FILE_NAME
from photonlink.pipeline.node.simulated_station import SimulatedStation, with_sim_paths
from photonlink.pipeline.node.transport import PeerAddress
from photonlink.pipeline.readiness.tasks import ALIGNMENT, CALIBRATION
from photonlink.pipeline.stages.agreed import AgreedParameters, Bases, ParametersError
from photonlink.pipeline.status.connection import BrokerAddress, BrokerAddressError, default_port

ALIGNMENT_FILE = "alignment.json"
TopicLevel = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")]


class Section(TableModel):
    """A table of the file."""


class NodeSection(Section):
    """role: alice or bob. psk and state_dir are relative to the station file.

    state_dir holds the ledger and the key, sealed with the key in the file store_key, with a
    passphrase, or with the systemd credential photonlink-store-key. anchor: a file that remembers
    how far the store was, preferably on another file system (docs/ledger.md). calibration: file of
    the link's calibration; none: ``calibration.json`` in state_dir. allow_emulated_keys: deliver
    key that came from emulated or recorded light; for tests only, and written into the key's
    account. name: of this node on MQTT, unique in its site; none: LINK-ROLE. system_log: alarms go
    to the system's journal or syslog, too. latitude, longitude: degrees, both or none, for the map
    of ``photonlink watch``; they are published.
    """

    role: Literal["alice", "bob"]
    link: TopicLevel = "link0"
    site: TopicLevel | None = None
    name: TopicLevel | None = None
    psk: Path
    state_dir: Path
    calibration: Path | None = None
    store_key: Path | None = None
    store_passphrase: bool = False
    anchor: Path | None = None
    allow_emulated_keys: bool = False
    system_log: bool = False
    latitude: Annotated[float | None, Field(ge=-90, le=90)] = None
    longitude: Annotated[float | None, Field(ge=-180, le=180)] = None

    @model_validator(mode="after")
    def _whole_position(self) -> Self:
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("[node] latitude and longitude belong together")
        return self

    @property
    def position(self) -> tuple[float, float] | None:
        if self.latitude is None or self.longitude is None:
            return None
        return self.latitude, self.longitude

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.store_key is not None and self.store_passphrase:
            raise ValueError("[node] takes store_key = or store_passphrase = true, not both")
        return self


class ChannelEntry(Section):
    """input: of the time tagger, numbered as the tagger does. detector: the instrument whose clicks
    arrive there, when it has a driver."""

    input: Annotated[int, Field(ge=0, le=255, strict=True)]
    detector: str | None = None


def _entry(value: object) -> object:
    return {"input": value} if isinstance(value, int) else value


Channel = Annotated[ChannelEntry, BeforeValidator(_entry)]


class ChannelsSection(Section):
    """Which detector sits behind which analyser output: ``H = 1``, or
    ``H = { input = 1, detector = "spd-h" }``."""

    H: Channel
    V: Channel
    D: Channel
    A: Channel

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for what, values in (
            ("input", list(self.inputs.values())),
            ("detector", [e.detector for _, e in self if e.detector is not None]),
        ):
            if len(set(values)) < len(values):
                raise ValueError(f"two states cannot have one {what}")
        return self

    @property
    def inputs(self) -> dict[str, int]:
        """Letter → input of the tagger."""
        return {letter: entry.input for letter, entry in self}

    @property
    def detectors(self) -> dict[str, str]:
        """Instrument → letter, of the detectors that have a driver."""
        return {entry.detector: letter for letter, entry in self if entry.detector is not None}


class PeerSection(Section):
    """Exactly one of ``listen`` and ``connect``, each ``host:port``."""

    listen: str | None = None
    connect: str | None = None

    @field_validator("listen", "connect")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None:
            PeerAddress.parse(value)
        return value

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.listen is None) == (self.connect is None):
            raise ValueError("[peer] needs exactly one of listen = and connect =")
        return self


class AlignmentSection(Section):
    """What turns the polarization at this end; at one end of a link only.

    controllers: instruments, in the order in which light meets them. plates: retardance in degrees
    of the plate that is mounted on a rotator. tolerance: how far above the bench's own QBER is good
    enough. hold: follow drift while key is made. valid_h: for how long an alignment counts as
    ready.
    """

    controllers: Annotated[list[str], Field(min_length=1)]
    plates: dict[str, Annotated[float, Field(gt=0, lt=360)]] = Field(default_factory=dict)
    tolerance: Annotated[float, Field(gt=0, le=0.1)] = 0.003
    hold: bool = True
    valid_h: Annotated[float, Field(gt=0, le=8784)] = 12.0


class MqttSection(Section):
    """The broker that gets the status; without this table nothing is published.

    tls: encrypted, and the broker's certificate checked against ca (none: the system's). The files
    are relative to the station file; password_file and key must be the owner's alone.
    home_assistant: Home Assistant on the same broker finds the node by itself.
    """

    host: str
    port: Annotated[int | None, Field(ge=1, le=65535)] = None
    username: str | None = None
    password_file: Path | None = None
    tls: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    home_assistant: bool = False

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.tls and (self.ca or self.certificate or self.key):
            raise ValueError("[mqtt] ca, certificate and key need tls = true")
        if self.key is not None and self.certificate is None:
            raise ValueError("[mqtt] key belongs to a certificate")
        return self

    def address(self) -> BrokerAddress:
        """The broker. BrokerAddressError when it is used and a file is missing or wrong."""
        return BrokerAddress(
            self.host, self.port or default_port(tls=self.tls), self.tls, self.username,
            self.password_file, self.ca, self.certificate, self.key,
        )  # fmt: skip


class StatusSection(Section):
    """The node's own page for Prometheus and for ``photonlink watch --node``. listen: HOST:PORT of
    loopback; from elsewhere it is reached through a proxy with TLS, or ssh."""

    listen: str = "127.0.0.1:9464"

    @field_validator("listen")
    @classmethod
    def _loopback(cls, value: str) -> str:
        if PeerAddress.parse(value).host not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError("[status] listen is an address of loopback, as 127.0.0.1:9464")
        return value


class ProtocolSection(Section):
    """What both nodes must agree on; a missing key has the default of ``AgreedParameters``."""

    block_sifted_bits: int | None = None
    first_block_sifted_bits: int | None = None
    block_max_s: float | None = None
    bases: Bases | None = None
    q_tol: float | None = None
    abort_probability: float | None = None
    eps_sec: float | None = None
    eps_cor: float | None = None
    eps_auth: float | None = None
    slot_s: float | None = None
    jitter_ps: float | None = None
    window_ps: float | None = None
    noise_ps: int | None = None
    hardware_hold_off: int | None = None
    charge_mismatch: int | None = None
    multi_click_limit: float | None = None
    bias_limit: float | None = None
    leak_factor: float | None = None
    max_rounds: int | None = None
    clock_frequency_ppm: float | None = None
    clock_drift_ppb_per_s: float | None = None
    fibre_ps_per_s: float | None = None

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        try:
            self.parameters()
        except ParametersError as error:
            raise ValueError(str(error)) from error
        return self

    def parameters(self) -> AgreedParameters:
        return AgreedParameters(**self.model_dump(exclude_none=True))


class NodeStation(SimulatedStation):
    """A whole node. Relative paths are relative to the folder of the file."""

    node: NodeSection
    channels: ChannelsSection
    peer: PeerSection
    mqtt: MqttSection | None = None
    alignment: AlignmentSection | None = None
    status: StatusSection | None = None
    protocol: ProtocolSection = ProtocolSection()

    @property
    def calibration_path(self) -> Path:
        """Where ``photonlink check --calibrate`` writes and the node reads."""
        return self.node.calibration or self.node.state_dir / FILE_NAME

    @property
    def own_tasks(self) -> tuple[str, ...]:
        return (CALIBRATION,) if self.alignment is None else (CALIBRATION, ALIGNMENT)

    @property
    def alignment_path(self) -> Path:
        """Where ``photonlink align`` writes and the node reads."""
        return self.node.state_dir / ALIGNMENT_FILE

    @model_validator(mode="after")
    def _controllers_are_instruments(self) -> Self:
        wanted = self.alignment
        for name in [*wanted.controllers, *wanted.plates] if wanted is not None else ():
            if name not in self.instruments:
                raise ValueError(
                    f"alignment: there is no instrument {name!r}; "
                    f"known: {', '.join(self.instruments)}"
                )
        return self

    @model_validator(mode="after")
    def _detectors_are_instruments(self) -> Self:
        for name, letter in self.channels.detectors.items():
            if name not in self.instruments:
                raise ValueError(
                    f"channels.{letter}: there is no instrument {name!r}; "
                    f"known: {', '.join(self.instruments)}"
                )
        return self

    @property
    def site(self) -> str:
        """The site under which this node publishes: given, or the station's name."""
        return self.node.site or re.sub(r"[^a-z0-9-]+", "-", self.name.lower()).strip("-") or "node"


def load_node_station(path: Path) -> NodeStation:
    """Read a node's station file. StationError names line, key and nearest known key."""
    station = load_station(path, NodeStation)
    folder = path.resolve().parent
    node = station.node.model_copy(
        update={
            "psk": folder / station.node.psk,
            "state_dir": folder / station.node.state_dir,
            "calibration": folder / where if (where := station.node.calibration) else None,
            "store_key": folder / station.node.store_key if station.node.store_key else None,
            "anchor": folder / station.node.anchor if station.node.anchor else None,
        }
    )
    update: dict[str, Any] = {"node": node}
    if station.mqtt is not None:
        files = ("password_file", "ca", "certificate", "key")
        given = {n: folder / p for n in files if (p := getattr(station.mqtt, n)) is not None}
        mqtt = update["mqtt"] = station.mqtt.model_copy(update=given)
        try:
            mqtt.address().check()
        except BrokerAddressError as error:
            raise StationError(error.what, where=error.where, hint=error.hint) from error
    return with_sim_paths(station.model_copy(update=update), folder)
