"""A node's session with its files, its recorder and its account.

Synchronous; the node calls it from one worker thread, one call at a time.
"""

from __future__ import annotations

import base64
import dataclasses
from typing import Any, Self

from photonlink.hal import machine
from photonlink.hal.errors import StationError
from photonlink.hal.opening import Bench
from photonlink.hal.tags import (
    AcquisitionStart,
    Provenance,
    TagDecoder,
    TaggerCapabilities,
    WireChunk,
    WireFormat,
)
from photonlink.pipeline.calibration.constants import constants_of_calibration
from photonlink.pipeline.calibration.model import Calibration
from photonlink.pipeline.keys.node_store import NodeStore
from photonlink.pipeline.keys.policy import least_real
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.node.station import NodeStation
from photonlink.pipeline.node.working_memory import keep_memory
from photonlink.pipeline.protocol.messages import PROTOCOL_VERSION
from photonlink.pipeline.protocol.session import Session
from photonlink.pipeline.protocol.setup import Effect, Publish, Role, SessionSetup
from photonlink.pipeline.recordings.write import SessionRecorder, recorded_as
from photonlink.pipeline.stages.events import DetectorMap
from photonlink.pipeline.status.model import BlockReport
from photonlink.pipeline.status.run_summary import account
from photonlink.pipeline.status.topics import default_node

RECORDING_NONCE_BYTES = 32


class NodeSession:
    """A Session with its ledger, store and pre-shared key; every input is recorded when a recorder
    is given.
    """

    def __init__(
        self,
        setup: SessionSetup,
        store: NodeStore,
        recorder: SessionRecorder | None,
        provenance: Provenance,
    ) -> None:
        keep_memory()
        source = machine.randomness()[0]
        randomness = recorder.randomness(source) if recorder else source
        self.provenance = provenance
        self._setup, self._recorder = setup, recorder
        self._session = Session(setup, ledger=store.ledger, store=store.keys, randomness=randomness)
        self._reports: list[BlockReport] = []
        self.recorded_check: dict[str, str] | None = None

    @classmethod
    def build(
        cls,
        station: NodeStation,
        bench: Bench,
        calibration: Calibration,
        store: NodeStore,
        psk: PreSharedKey,
        recorder: SessionRecorder | None,
    ) -> Self:
        """On an open store, which the caller closes; the pre-shared key is taken over.

        Provenance is that of the least real instrument, those of the calibration included, or of
        the randomness.
        """
        node = station.node
        if recorder is not None:
            recorder.initial_state(store, psk)
        emulated = bench.emulated or calibration.emulated
        light = Provenance.EMULATED if emulated else Provenance.REAL
        provenance = least_real(light, machine.randomness()[1])
        parameters = station.protocol.parameters()
        setup = SessionSetup(
            role=Role(node.role),
            psk=psk,
            detector_map=detector_map(station, bench),
            bench=constants_of_calibration(calibration, parameters.noise_ps),
            parameters=parameters,
            node=node.name or default_node(node.link, node.role),
            randomness_provenance=recorded_as(provenance) if recorder else provenance,
        )
        if recorder is not None:
            recorder.describe(
                {
                    "wire": PROTOCOL_VERSION,
                    "role": node.role,
                    "link": node.link,
                    "node": setup.node,
                    "channels": dict(setup.detector_map.channels),
                    "parameters": setup.parameters.as_dict(),
                    "bench": setup.bench.as_dict(),
                    "provenance": provenance.value,
                }
            )
        return cls(setup, store, recorder, provenance)

    @property
    def peer_node(self) -> str:
        return self._session.peer_node

    # ---- inputs, each recorded before it is given ----
    def connected(self, stream: int, now_s: float) -> list[Effect]:
        self._record("connected", now_s, {"stream": stream})
        return self._keep(self._session.connected(now_s, stream))

    def disconnected(self, stream: int, now_s: float) -> list[Effect]:
        self._record("disconnected", now_s, {"stream": stream})
        return self._keep(self._session.disconnected(now_s, "the connection ended", stream))

    def receive(self, stream: int, data: bytes, now_s: float) -> list[Effect]:
        self._record("receive", now_s, {"stream": stream}, data)
        return self._keep(self._session.receive(data, now_s, stream))

    def acquisition_started(
        self,
        start: AcquisitionStart,
        capabilities: TaggerCapabilities,
        wire: WireFormat,
        now_s: float,
    ) -> list[Effect]:
        meta = {
            "start": dataclasses.asdict(start),
            "capabilities": dataclasses.asdict(capabilities),
            "wire": {"name": wire.name, "parameters": dict(wire.parameters)},
        }
        self._record("acquisition_started", now_s, meta)
        return self._keep(self._session.acquisition_started(start, capabilities, now_s))

    def tags(self, chunk: WireChunk, decoder: TagDecoder, now_s: float) -> list[Effect]:
        meta = {"lost": [dataclasses.asdict(lost) for lost in chunk.lost]}
        self._record("tags", now_s, meta, bytes(chunk.data))
        return self._keep(self._session.tags(decoder.feed(chunk), now_s))

    def tick(self, now_s: float) -> list[Effect]:
        self._record("tick", now_s)
        return self._keep(self._session.tick(now_s))

    def end_of_input(self, now_s: float) -> list[Effect]:
        self._record("end_of_input", now_s)
        return self._keep(self._session.end_of_input(now_s))

    def close(self) -> None:
        """End the session and wipe its secrets in memory. Ledger and store stay open."""
        now_s = machine.monotonic_s()
        if self._recorder is not None:
            nonce = machine.random_bytes(RECORDING_NONCE_BYTES)
            check = self._session.key_check(nonce)
            self.recorded_check = {
                "nonce": base64.b64encode(nonce).decode(),
                "hmac": base64.b64encode(check).decode(),
            }
        self._record("close", now_s)
        self._session.close(now_s)
        self._setup.psk.close()

    def is_quick(self, stream: int, data: bytes) -> bool:
        """As of ``Session``; never where every input is written down first."""
        return self._recorder is None and self._session.is_quick(data, stream)

    @property
    def backlog(self) -> float:
        """As of ``Session``."""
        return self._session.backlog

    @property
    def line(self) -> int | None:
        """The stream to the peer; None while nobody has proved to be it."""
        return self._session.line

    def key_check(self, nonce: bytes) -> bytes:
        """HMAC over all key blocks; refused (PhotonlinkError) for key from real light."""
        return self._session.key_check(nonce)

    def _record(
        self, name: str, now_s: float, meta: dict[str, Any] | None = None, payload: bytes = b""
    ) -> None:
        if self._recorder is not None:
            self._recorder.input(name, now_s, meta or {}, payload)

    def _keep(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            if isinstance(effect, Publish) and isinstance(effect.record, BlockReport):
                self._reports.append(effect.record)
        return effects

    # ---- the account ----
    def account(self, elapsed_s: float) -> dict[str, Any]:
        """The figures of this run, over all its blocks."""
        return account(self._reports, elapsed_s, emulated=self.provenance is not Provenance.REAL)


def detector_map(station: NodeStation, bench: Bench) -> DetectorMap:
    """The tagger's input of each detector, from ``[channels]`` of the station file.

    StationError for an input that this tagger does not have.
    """
    known = bench.tagger.capabilities.channels
    channels = station.channels.inputs
    for letter, channel in channels.items():
        if channel not in known:
            raise StationError(
                f"{letter} = {channel}, but the time tagger has the inputs "
                f"{', '.join(map(str, known))}",
                where="channels",
                hint="Correct the number in the station file",
            )
    return DetectorMap(channels)
