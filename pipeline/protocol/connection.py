"""One connection: frames, their MACs, the transcript, the role and its view; dropped as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from photonlink.pipeline.protocol.channel.authentication import LineHashes
from photonlink.pipeline.protocol.channel.claims import LedgerClaim, LedgerResolution
from photonlink.pipeline.protocol.channel.frame_mac import FrameMac
from photonlink.pipeline.protocol.channel.framing import HEADER_BYTES, FrameReader
from photonlink.pipeline.protocol.channel.handshake import Handshake, Step
from photonlink.pipeline.protocol.messages import (
    PROVED_LIMITS,
    STRANGER_LIMITS,
    AbortBlock,
    CascadeReply,
    CascadeRequest,
    Message,
    decode,
)
from photonlink.pipeline.protocol.printing import printable
from photonlink.pipeline.protocol.roles import AliceRole, BobRole
from photonlink.pipeline.protocol.setup import SessionSetup
from photonlink.pipeline.protocol.sifting.own_tags import OwnTags
from photonlink.pipeline.protocol.tentative import Tentative

_SHORT_ROUND = 1 << 15  # bytes


class Connection:
    """``role`` None: the peer has not proved itself, and only handshake frames are read."""

    def __init__(
        self,
        setup: SessionSetup,
        claim: LedgerClaim,
        randomness: Callable[[int], bytes],
        send: Callable[[bytes], None],
        now_s: float,
        stream: int,
    ) -> None:
        self._setup, self._randomness, self.claim = setup, randomness, claim
        self.stream = stream
        self._reader = FrameReader(STRANGER_LIMITS)
        self.connected_s = self.last_sent_s = self.committing_since_s = now_s
        self.bytes_carried = 0
        self.vouched = False  # whether a one-time tag has covered both Hellos
        self.role: AliceRole | BobRole | None = None
        self._out: FrameMac | None = None
        self._inn: FrameMac | None = None
        self._transcript: LineHashes | None = None
        self._view: Tentative | None = None
        self._handshake = Handshake(setup, setup.psk, claim, randomness, send)

    # ---- before the proof ----

    def frames(self, data: bytes) -> Iterator[bytes]:
        """Whole frames. Raises ProtocolError for a header that is not allowed in this state."""
        for _, _, frame in self._reader.feed(data):
            yield frame

    def is_one_round(self, data: bytes) -> bool:
        """Whether these bytes are one whole short question or answer of error correction."""
        whole = not self._reader.pending_bytes and len(data) <= _SHORT_ROUND and len(data) > 4
        if not whole or data[0] not in (CascadeRequest.TYPE, CascadeReply.TYPE):
            return False
        return len(data) == HEADER_BYTES + int.from_bytes(data[1:HEADER_BYTES], "big")

    def shake_hands(self, frame: bytes) -> bool:
        """Handle a handshake frame. True: the peer has just proved itself."""
        self._handshake.receive(decode(frame[0], frame[HEADER_BYTES:]), frame)
        found = self._handshake.established
        if found is None:
            return False
        role, psk = self._setup.role, self._setup.psk
        self._reader.limits = PROVED_LIMITS
        self._out = FrameMac(psk, found.session_id, str(role))
        self._inn = FrameMac(psk, found.session_id, str(role.peer))
        transcript = self._transcript = LineHashes(psk, found.session_id, str(role))
        for sent in found.sent:
            transcript.sent.absorb(sent)
        for received in found.received:
            transcript.received.absorb(received)
        return True

    @property
    def hello_fits(self) -> bool:
        """Whether the other end has sent a Hello that the peer could have sent."""
        return self._handshake.step is not Step.HELLO

    # ---- after it ----

    @property
    def resolution(self) -> LedgerResolution:
        assert self._handshake.established is not None  # noqa: S101 - asked for after it
        return self._handshake.established.resolution

    @property
    def peer_claim(self) -> LedgerClaim:
        assert self._handshake.established is not None  # noqa: S101 - asked for after it
        return self._handshake.established.peer

    @property
    def peer_node(self) -> str:
        assert self._handshake.established is not None  # noqa: S101 - asked for after it
        return self._handshake.established.peer_node

    @property
    def session_id(self) -> bytes:
        return self.transcript.session_id

    @property
    def transcript(self) -> LineHashes:
        assert self._transcript is not None  # noqa: S101 - asked for after the proof
        return self._transcript

    @property
    def view(self) -> Tentative:
        assert self._view is not None  # noqa: S101 - asked for after the proof
        return self._view

    @property
    def epsilon(self) -> float:
        """Epsilon of one attempt."""
        return self._setup.parameters.epsilon

    def begin(self, tags: OwnTags, next_block: int) -> None:
        """Start the role; it receives all later messages."""
        setup = self._setup
        self._view = Tentative(
            setup.role, setup.parameters, setup.limits, setup.bench, self._randomness, next_block,
            now_s=self.connected_s,
        )  # fmt: skip
        self.role = (AliceRole if setup.is_alice else BobRole)(self._view, tags)

    def seal(self, message: Message, now_s: float) -> bytes:
        """The frame to send; it is part of the transcript."""
        assert self._out is not None  # noqa: S101 - nothing else is said before the proof
        frame = self._out.close_frame(message)
        self.transcript.sent.absorb(frame)
        self.bytes_carried += len(frame)
        self.last_sent_s = now_s
        return frame

    def unseal(self, frame: bytes) -> Message:
        """The message in a frame from the peer. Raises ProtocolError."""
        assert self._inn is not None  # noqa: S101 - asked for after the proof
        payload = self._inn.open_frame(frame)
        message = decode(frame[0], payload)
        self.transcript.received.absorb(frame)
        return message

    @staticmethod
    def reason_of(message: AbortBlock) -> str:
        return printable(message.reason.decode("utf-8", "replace"))

    def close(self) -> None:
        if self._transcript is not None:
            self._transcript.close()
