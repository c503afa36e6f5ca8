"""``photonlink replay DIR``: run a recorded session again, bit for bit.

The same session is built from the recorded pre-shared key and ledger, given the same inputs in
the same order and the same random bytes; it must send the same bytes and end with the same key.
Nothing of the original is touched: key and ledger are worked on in a temporary copy.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from photonlink.hal.decoders import decoder_for
from photonlink.hal.errors import RecordingError
from photonlink.hal.regular_file import FileError, read_text
from photonlink.hal.tags import (
    AcquisitionStart,
    LostInterval,
    Provenance,
    TagDecoder,
    TaggerCapabilities,
    WireChunk,
    WireFormat,
)
from photonlink.pipeline.keys.node_store import open_copy
from photonlink.pipeline.protocol.messages import PROTOCOL_VERSION
from photonlink.pipeline.protocol.session import Session
from photonlink.pipeline.protocol.setup import Effect, Publish, Role, Send, SessionSetup
from photonlink.pipeline.recordings.write import (
    RecordedInput,
    RecordedRandomness,
    read_inputs,
    recorded_as,
)
from photonlink.pipeline.recordings.yields import RunYield, run_yield
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.bench_constants import BenchConstants
from photonlink.pipeline.stages.events import DetectorMap
from photonlink.pipeline.status.model import BlockReport
from photonlink.pipeline.status.run_summary import account

MAX_JSON_BYTES = 1 << 20
# exceptions from a missing or malformed entry of a recording
_ODD = (KeyError, TypeError, ValueError, AttributeError)


def replay_session(folder: Path) -> dict[str, Any]:
    """The account of the repeated session, with the result of the comparison.

    ``keys_match``: the same key blocks, bit for bit; None when the recording has no result to
    compare with. ``sent_match``: the same bytes to the peer. ``warnings`` names damage.
    """
    described = _described(folder)
    with tempfile.TemporaryDirectory(prefix="photonlink-replay-") as name:
        work = Path(name) / "initial"
        shutil.copytree(folder / "initial", work)
        randomness = RecordedRandomness(folder / "randomness.bin")
        try:
            run = _Run(described, work, randomness)
        except _ODD as error:
            raise RecordingError(
                "the recorded session is damaged", where=str(folder), seen=repr(error)
            ) from error
        try:
            warning = run.feed_all(folder / "inputs.bin")
            result = run.account()
            result["sent_match"] = _same_bytes(run.sent_digest, folder / "sent.bin", run.sent_bytes)
            result["keys_match"] = run.compare_keys(folder / "result.json")
        finally:
            run.close()
    result["warnings"] = [warning] if warning else []
    return result


def session_yield(folder: Path) -> RunYield:
    """Where the asymptotic key of a recorded session went."""
    described = _described(folder)
    with tempfile.TemporaryDirectory(prefix="photonlink-yield-") as name:
        work = Path(name) / "initial"
        shutil.copytree(folder / "initial", work)
        run = _Run(described, work, RecordedRandomness(folder / "randomness.bin"))
        try:
            run.feed_all(folder / "inputs.bin")
            return run.yields()
        finally:
            run.close()


class _Run:
    """The session of a recording."""

    def __init__(self, described: dict[str, Any], work: Path, randomness: RecordedRandomness):
        self._provenance = Provenance(described["provenance"])
        self._store = open_copy(work, described["link"], described["role"])
        self._psk = self._store.psk(work / "absent")
        setup = self._setup = SessionSetup(
            role=Role(described["role"]),
            psk=self._psk,
            detector_map=DetectorMap(described["channels"]),
            bench=BenchConstants.from_dict(described["bench"]),
            parameters=AgreedParameters(**described["parameters"]),
            randomness_provenance=recorded_as(self._provenance),
            node=described.get("node", ""),
        )
        self._session = Session(
            setup,
            ledger=self._store.ledger,
            store=self._store.keys,
            randomness=randomness,
        )
        self._decoder: TagDecoder | None = None
        self._reports: list[BlockReport] = []
        self._elapsed_s = (0.0, 0.0)
        self.sent_digest = hashlib.sha256()
        self.sent_bytes = 0

    def feed_all(self, path: Path) -> str | None:
        """Feed every input; returns the file's fault, or ""."""
        try:
            for item in read_inputs(path):
                if item.name == "close":
                    break
                self._take(self._feed(item))
        except RecordingError as error:
            return str(error)
        except (KeyError, TypeError) as error:
            return f"{path}: an input of the recording is damaged ({error!r})"
        return None

    def _feed(self, item: RecordedInput) -> list[Effect]:
        session, now_s = self._session, item.now_s
        if item.name == "tags":
            if self._decoder is None:
                raise RecordingError("tags before an acquisition started")
            self._elapsed_s = (self._elapsed_s[0], now_s)
            lost = tuple(LostInterval(**fields) for fields in item.meta["lost"])
            return session.tags(self._decoder.feed(WireChunk(item.payload, lost)), now_s)
        stream = int(item.meta.get("stream", 0))
        if item.name == "receive":
            return session.receive(item.payload, now_s, stream)
        if item.name == "connected":
            return session.connected(now_s, stream)
        if item.name == "acquisition_started":
            wire = item.meta["wire"]
            self._decoder = decoder_for(
                WireFormat(wire["name"], wire["parameters"]), self._provenance
            )
            self._elapsed_s = (self._elapsed_s[0] or now_s, now_s)
            fields = item.meta["capabilities"]
            capabilities = TaggerCapabilities(**{**fields, "channels": tuple(fields["channels"])})
            start = AcquisitionStart(**item.meta["start"])
            return session.acquisition_started(start, capabilities, now_s)
        if item.name == "disconnected":
            return session.disconnected(now_s, "the connection ended", stream)
        plain = {
            "tick": session.tick,
            "end_of_input": session.end_of_input,
        }
        if item.name not in plain:
            raise RecordingError(f"an input of unknown kind {item.name!r}")
        return plain[item.name](now_s)

    def _take(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self.sent_digest.update(effect.data)
                self.sent_bytes += len(effect.data)
            elif isinstance(effect, Publish) and isinstance(effect.record, BlockReport):
                self._reports.append(effect.record)

    def account(self) -> dict[str, Any]:
        start, end = self._elapsed_s
        emulated = self._provenance is not Provenance.REAL
        return account(self._reports, end - start, emulated=emulated)

    def yields(self) -> RunYield:
        setup = self._setup
        ratio = setup.bench.ratio if setup.parameters.charge_mismatch else 1.0
        return run_yield(self._reports, setup.parameters, ratio, str(setup.role))

    def compare_keys(self, path: Path) -> bool | None:
        """The keyed check of the recording, made again over the key of this run."""
        if not path.is_file():
            return None
        check = _read_json(path).get("key_check")
        if not check:
            return None
        again = self._session.key_check(base64.b64decode(check["nonce"]))
        return hmac.compare_digest(again, base64.b64decode(check["hmac"]))

    def close(self) -> None:
        self._session.close(self._elapsed_s[1])
        self._psk.close()
        self._store.close()


def _same_bytes(digest: Any, path: Path, length: int) -> bool:
    """Whether this run sent the recorded bytes, as far as it went."""
    recorded = path.read_bytes()[:length]
    return len(recorded) == length and digest.digest() == hashlib.sha256(recorded).digest()


def _described(folder: Path) -> dict[str, Any]:
    """RecordingError for a session of another wire version: its peer would be refused."""
    described = _read_json(folder / "session.json")
    wire = described.get("wire", 2)
    if wire != PROTOCOL_VERSION:
        raise RecordingError(
            f"this session speaks wire version {wire}, this program {PROTOCOL_VERSION}",
            where=str(folder),
            hint="Replay it with the version of photonlink that recorded it.",
        )
    return described


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(path, at_most=MAX_JSON_BYTES))
    except FileError as error:
        raise RecordingError(
            f"this is not a recorded session: {error.what}", where=error.where, hint=error.hint
        ) from error
    except (ValueError, RecursionError) as error:
        raise RecordingError(
            "this is not a recorded session", where=str(path), seen=str(error)
        ) from error
    if not isinstance(content, dict):
        raise RecordingError("this is not a recorded session: no JSON object", where=str(path))
    return content
