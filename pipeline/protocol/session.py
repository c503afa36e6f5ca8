"""The session: the two-party protocol as a state machine without I/O.

Inputs are method calls, outputs the effects they return; they depend on nothing but the
inputs and the randomness handed in. No clock, socket, file or operating system is used here.

The session holds what lasts (``Lasting``, the commitment, the own tags); a ``Connection`` holds
what the peer has said, and is dropped as a whole. Handlers return steps, which are carried out
here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.tags import AcquisitionStart, Provenance, TagBlock, TaggerCapabilities
from photonlink.pipeline.keys.ledger import Ledger, LedgerError
from photonlink.pipeline.keys.policy import is_marked
from photonlink.pipeline.keys.store import KeyStore, StoreError
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.channel.handshake import refusal
from photonlink.pipeline.protocol.commitment import Commitment
from photonlink.pipeline.protocol.connection import Connection
from photonlink.pipeline.protocol.deeds import Deeds, own_fault
from photonlink.pipeline.protocol.lasting import STOPPED, Lasting
from photonlink.pipeline.protocol.messages import (
    AbortBlock,
    Amplify,
    Bye,
    Commit,
    Message,
    Ping,
    Prepared,
)
from photonlink.pipeline.protocol.publishing import Publisher
from photonlink.pipeline.protocol.setup import Disconnect, Effect, Finished, Send, SessionSetup
from photonlink.pipeline.protocol.sifting.own_tags import OwnTags
from photonlink.pipeline.protocol.sifting.peer_taggers import AcquisitionOrigin
from photonlink.pipeline.status.alarms import CLEARED_BY_HANDSHAKE
from photonlink.pipeline.status.model import Phase

# alarms that a stranger can cause have minor severity; no others can be caused
_AT_THE_DOOR = (
    "version_mismatch", "role_conflict", "psk_mismatch", "refused_by_peer", "parameter_mismatch",
    "calibration_differs", "ledger_rolled_back", "handshake_timeout",
)  # fmt: skip
_REFUSED = _AT_THE_DOOR[:-1]


class Session:
    """One node's side of the link, over any number of connections to its peer."""

    def __init__(
        self,
        setup: SessionSetup,
        *,
        ledger: Ledger,
        store: KeyStore,
        randomness: Callable[[int], bytes],
    ) -> None:
        self._setup, self._randomness = setup, randomness
        self._lasting = Lasting(
            setup.psk, ledger, store, setup.randomness_provenance, randomness(16).hex()
        )
        self._commitment = Commitment(self._lasting, randomness)
        self._tags = OwnTags(setup, randomness)
        self._publisher = Publisher(setup, self._lasting)
        self._deeds = Deeds(self._lasting, self._commitment, self._publisher, self._say)
        self._line: Connection | None = None  # the connection to the peer, which has proved itself
        self._doors: dict[int, Connection] = {}  # connections without a proof, by stream
        self._now_s = 0.0
        self._effects: list[Effect] = []
        self._phase = Phase.CONNECTING
        self._finished = self._peer_finished = self._said_bye = False
        self._last_received_s = self._ended_s = 0.0
        self._status_s = float("-inf")
        self._backoff_s, self._not_before_s = 0.0, float("-inf")
        self._blocks_at_wrong_tag = 0
        self._clock_at_start: tuple[float, float] | None = None

    # ---- inputs ----

    def connected(self, now_s: float, stream: int = 0) -> list[Effect]:
        """A stream is open. Several may be open at once; the peer is at the end of the one that
        sends a valid Proof.
        """
        return self._run(now_s, lambda: self._on_connected(stream))

    def disconnected(self, now_s: float, reason: str, stream: int = 0) -> list[Effect]:
        """The stream is gone; what was not committed is burnt."""
        return self._run(now_s, lambda: self._on_disconnected(reason, stream))

    def receive(self, data: bytes, now_s: float, stream: int = 0) -> list[Effect]:
        """Bytes from a stream, cut anywhere. Never raises for their content."""
        return self._run(now_s, lambda: self._on_bytes(data, stream))

    def acquisition_started(
        self,
        start: AcquisitionStart | None,
        capabilities: TaggerCapabilities,
        now_s: float,
        *,
        origin_ps: int = 0,
    ) -> list[Effect]:
        """The own tagger runs. ``start`` None: a recording without host time; ``origin_ps``:
        its raw clock at the time the blocks call 0."""
        started = AcquisitionOrigin(start, capabilities.resolution_ps, origin_ps)
        return self._run(now_s, lambda: self._on_acquisition(started))

    def tags(self, block: TagBlock, now_s: float) -> list[Effect]:
        """Own tags in order of time. The block is wiped."""
        return self._run(now_s, lambda: self._on_tags(block))

    def tick(self, now_s: float) -> list[Effect]:
        """Time passes; call at least twice a second."""
        return self._run(now_s, self._on_tick)

    def end_of_input(self, now_s: float) -> list[Effect]:
        """No more tags will come: distil the remaining pairs, then return Finished."""
        return self._run(now_s, self._on_end)

    def close(self, now_s: float) -> list[Effect]:
        """Stop now: send Bye, wipe, return Finished."""
        return self._run(now_s, self._on_close)

    # ---- values to read ----

    def key_check(self, nonce: bytes) -> bytes:
        """HMAC over all released key blocks that are marked (emulated, replayed).

        Real key never enters it. Raises PhotonlinkError in a session on real light.
        """
        if not is_marked(self.provenance):
            raise PhotonlinkError("a key check is for emulated and replayed sessions only")
        return self._lasting.key_check(nonce)

    def clock_at_start(self) -> tuple[float, float] | None:
        """Alice only: Bob's clock minus hers (s) at her time 0, and how much faster it ran (ppm),
        from the first lock; None without one."""
        return self._clock_at_start

    def is_quick(self, data: bytes, stream: int = 0) -> bool:
        """Whether ``receive`` of these bytes takes a millisecond: a round of error correction."""
        line = self._line
        return line is not None and line.stream == stream and line.is_one_round(data)

    @property
    def backlog(self) -> float:
        """Share of the room for own events that waits to be paired; 0 while none are paired."""
        return self._tags.filled if self._phase in (Phase.SIFTING, Phase.DISTILLING) else 0.0

    @property
    def line(self) -> int | None:
        """The stream to the peer; None while no connection has sent a valid Proof."""
        line = self._line  # read once: the shell asks from another thread than the session's
        return line.stream if line is not None else None

    @property
    def provenance(self) -> Provenance:
        return self._lasting.provenance

    @property
    def finished(self) -> bool:
        return self._finished

    @property
    def peer_node(self) -> str:
        """The name under which the peer publishes its status; "" without a peer or a name."""
        line = self._line
        return line.peer_node if line is not None else ""

    @property
    def phase(self) -> Phase:
        return self._phase

    def __repr__(self) -> str:
        return f"Session({self._setup.role}, {self._phase})"

    # ---- inside ----

    def _run(self, now_s: float, step: Callable[[], None]) -> list[Effect]:
        self._now_s = now_s
        if self._finished:
            return []
        try:
            step()
            self._after()
        except ProtocolError as error:
            self._fail(error)
        except PhotonlinkError as error:  # from ledger, store, pads or the C core
            fault = ProtocolError(own_fault(error), error.what, where=error.where, hint=error.hint)
            self._fail(fault)
        effects = [*self._effects, *self._publisher.take()]
        self._effects = []
        return effects

    def _after(self) -> None:
        """After every input: let the role go on, check for the end, publish the status when due."""
        line = self._line
        if line is not None and line.role is not None:
            self._advance(line)
            self._phase = line.role.phase
            if line.role.complete and not self._finished and not self._said_bye:
                self._say_bye(line)
        if self._now_s - self._status_s >= self._setup.limits.status_period_s:
            self._publish()

    def _advance(self, line: Connection) -> None:
        assert line.role is not None  # noqa: S101 - checked by the callers
        line.view.now_s = self._now_s
        line.role.advance()
        self._deeds.carry_out(line)
        clock = line.role.clock_in_use
        if self._clock_at_start is None and clock is not None and clock.first_lock is not None:
            self._clock_at_start = clock.at_start

    def _publish(self) -> None:
        self._status_s = self._now_s
        line = self._line
        if line is not None and line.role is not None:
            line.role.refresh()
            self._deeds.carry_out(line)
        self._publisher.alarm("pads_low", self._lasting.running_out())
        self._publisher.state(self._phase, self._now_s, line, self._tags)

    def _say(self, line: Connection, message: Message) -> None:
        self._effects.append(Send(line.seal(message, self._now_s), line.stream))

    # ---- the line ----

    def _on_connected(self, stream: int) -> None:
        if self._now_s < self._not_before_s:
            self._publisher.alarm("reconnect_limit", "a one-time tag was wrong: the link waits")
            self._effects.append(Disconnect("backing off after a wrong one-time tag", stream))
            return
        try:
            if self._line is None:  # a store that failed may work again
                self._lasting.burn_unfinished(self._commitment.expected_block)
            claim = self._commitment.claim(is_alice=self._setup.is_alice)
        except PhotonlinkError:
            self._effects.append(Disconnect("the store does not work", stream))
            raise
        while len(self._doors) >= self._setup.limits.doors:
            self._shut(min(self._doors, key=self._rank), "others knock")
        if self._line is None:
            self._phase = Phase.HANDSHAKE
        self._doors[stream] = Connection(
            self._setup,
            claim,
            self._randomness,
            lambda frame: self._effects.append(Send(frame, stream)),
            self._now_s,
            stream,
        )

    def _rank(self, stream: int) -> tuple[bool, int]:
        """Order in which unproved connections are dropped when there are too many: first those
        without a fitting Hello, then the oldest.
        """
        return self._doors[stream].hello_fits, stream

    def _shut(self, stream: int, reason: str) -> None:
        """Close an unproved connection and keep nothing of it."""
        self._doors.pop(stream).close()
        self._effects.append(Disconnect(reason, stream))
        if self._line is None and not self._doors and self._phase is Phase.HANDSHAKE:
            self._phase = Phase.CONNECTING

    def _on_disconnected(self, reason: str, stream: int) -> None:
        if self._line is not None and self._line.stream == stream:
            self._hang_up(reason, "connection_lost")
        elif stream in self._doors:
            self._shut(stream, reason)
            self._effects.pop()  # it is gone already

    def _on_bytes(self, data: bytes, stream: int) -> None:
        door, line = self._doors.get(stream), self._line
        if door is not None:
            door.bytes_carried += len(data)
            self._knock(door, data)
        elif line is not None and line.stream == stream:
            line.bytes_carried += len(data)
            for frame in line.frames(data):
                self._on_frame(line, frame)
                if self._line is not line:  # closed while its frames were handled
                    return

    def _knock(self, door: Connection, data: bytes) -> None:
        """Frames of an unproved connection. An error closes this connection and no other."""
        try:
            for frame in door.frames(data):
                if self._line is door:
                    self._on_frame(door, frame)
                elif self._doors.get(door.stream) is not door:
                    return
                elif door.shake_hands(frame):
                    self._admit(door)
        except ProtocolError as error:
            if self._line is door:
                raise
            self._turn_away(door, error)

    def _admit(self, door: Connection) -> None:
        """The connection has proved to be the peer: from now on its stream is the line, in place of
        an earlier one.
        """
        if door.claim != self._commitment.claim(is_alice=self._setup.is_alice):
            raise ProtocolError("handshake_timeout", "the store has moved on: connect again")
        old = self._line
        if old is not None:
            self._hang_up("the peer connected anew", "connection_lost")
            self._effects.append(Disconnect("the peer connected anew", old.stream))
        del self._doors[door.stream]
        self._line = door
        self._peer_finished = self._said_bye = False
        self._established(door)

    def _turn_away(self, door: Connection, error: ProtocolError) -> None:
        """Refuse and close a connection. Before its proof it raises at most an alarm."""
        self._effects.append(Send(refusal(error).encode(), door.stream))
        if door.stream in self._doors:
            self._shut(door.stream, str(error))
        if error.code in _AT_THE_DOOR and self._line is None:
            self._publisher.alarm(error.code, str(error))
        if error.code in _REFUSED and self._line is None:
            self._phase = Phase.REFUSED

    def _on_frame(self, line: Connection, frame: bytes) -> None:
        assert line.role is not None  # noqa: S101 - it is the line
        message = line.unseal(frame)
        self._last_received_s = self._now_s
        if isinstance(message, Bye):
            self._on_bye(line)
        elif isinstance(message, Ping):
            return
        elif isinstance(message, Amplify):
            self._deeds.conclude(
                line, self._commitment.on_amplify(message, line.transcript, self._speak)
            )
        elif isinstance(message, Prepared):
            self._deeds.conclude(line, self._commitment.on_prepared(message, self._speak))
        elif isinstance(message, Commit):
            self._deeds.conclude(line, self._commitment.on_commit(message))
        elif isinstance(message, AbortBlock) and line.role.committing:
            self._abandon(line, message)
        else:
            line.view.now_s = self._now_s
            line.role.on_message(message)
            self._deeds.carry_out(line)
        if self._line is line:
            self._advance(line)

    def _speak(self, message: Message) -> None:
        assert self._line is not None  # noqa: S101 - a frame has just come on it
        self._say(self._line, message)

    def _abandon(self, line: Connection, message: AbortBlock) -> None:
        """Alice has no pads for the tags: abort the block; nothing was spent."""
        account = self._commitment.abandoned(message.block)
        if account is None or line.role is None:
            raise ProtocolError("unexpected_message", "AbortBlock for no block that is expected")
        reason = line.reason_of(message)
        self._deeds.end(line, account, reason, agreed=True)
        line.role.committed(reason)

    def _established(self, line: Connection) -> None:
        """The peer has proved itself: settle the blocks in doubt, then begin."""
        resolution = line.resolution
        self._lasting.session(line.session_id.hex(), line.peer_claim.store)
        self._publisher.alarm("ledger_failed", None)
        if not resolution.resend:  # else the tags of the block in doubt are still to come
            self._lasting.follow_pads(resolution.positions)
        self._last_received_s = self._now_s
        outcomes = [self._commitment.give_up(b, line.peer_claim) for b in resolution.burn]
        if resolution.release:
            outcomes.append(self._commitment.release_with_alice(resolution.release))
        for code in CLEARED_BY_HANDSHAKE:
            self._publisher.alarm(code, None)
        self._tags.forget()  # its live rates were published
        line.begin(self._tags, resolution.next_block)
        self._deeds.remember(line)
        for outcome in outcomes:
            self._deeds.conclude(line, outcome)
        if resolution.resend and self._setup.is_alice:
            self._commitment.resend(self._speak)

    def _on_acquisition(self, started: AcquisitionOrigin) -> None:
        announced = self._line is not None and self._line.role is not None
        announced = announced and self._line.role.own_announced  # type: ignore[union-attr]
        self._tags.start(started)
        if announced:  # earlier recorded data no longer fit: begin again with a new connection
            raise ProtocolError("acquisition_restarted", "the own tagger was started anew")

    def _on_tags(self, block: TagBlock) -> None:
        self._lasting.mark(block.provenance)
        idle = self._line is None or self._line.role is None
        self._tags.add(block, idle=idle)

    def _on_tick(self) -> None:
        limits, line = self._setup.limits, self._line
        for door in list(self._doors.values()):
            if self._now_s - door.connected_s > limits.handshake_s:
                late = ProtocolError("handshake_timeout", "the handshake was not completed")
                self._turn_away(door, late)
        if line is None:
            # other connections neither shorten nor prolong it
            waited = self._now_s - max(self._last_received_s, self._ended_s)
            if self._tags.ended and (self._peer_finished or waited > limits.silence_s):
                self._finish("finished")
            return
        assert line.role is not None  # noqa: S101 - it is the line
        if self._now_s - self._last_received_s > limits.silence_s:
            raise ProtocolError("peer_silent", f"no word from the peer for {limits.silence_s:g} s")
        line.view.now_s = self._now_s
        if line.role.overdue or self._commitment_overdue(line):
            raise ProtocolError("phase_timeout", "the peer did not go on: it owes an answer")
        if self._now_s - line.last_sent_s > limits.keepalive_s:
            self._say(line, Ping())

    def _commitment_overdue(self, line: Connection) -> bool:
        assert line.role is not None  # noqa: S101 - checked by the caller
        if not line.role.committing:
            line.committing_since_s = self._now_s
        return self._now_s - line.committing_since_s > self._setup.limits.phase_s

    def _fail(self, error: ProtocolError) -> None:
        """The peer broke the rules, or this node failed: raise the alarm, disconnect, burn the open
        block.
        """
        line = self._line
        self._publisher.alarm(error.code, str(error))
        if line is not None:
            self._publisher.last_abort = f"{error.code}: {error.what}"
            self._effects.append(Disconnect(str(error), line.stream))
        if error.code == "authentication_failed" and "one-time" in error.what:
            low, high = self._setup.limits.backoff_s
            if self._publisher.blocks > self._blocks_at_wrong_tag:  # between them was no attack
                self._backoff_s = 0.0
            self._blocks_at_wrong_tag = self._publisher.blocks
            self._backoff_s = min(max(2 * self._backoff_s, low), high)
            self._not_before_s = self._now_s + self._backoff_s
        with contextlib.suppress(LedgerError, StoreError):  # then it burns at the next start
            self._hang_up(error.code, f"{error.code}: {error.what}")
        self._publish()

    def _hang_up(self, reason: str, burnt: str, *, orderly: bool = False) -> None:
        """Close the connection. ``burnt``: the reason for a block that was being distilled."""
        line, self._line = self._line, None
        if line is None:
            return
        self._phase = Phase.CONNECTING
        established = line.role is not None
        try:
            if line.role is not None:
                self._commitment.cut(line.transcript)
                line.view.take_steps()  # of a handler that was interrupted
                line.role.interrupt(burnt)
                self._deeds.carry_out(line)
        finally:
            line.close()
        if established and not orderly and not self._finished:
            self._publisher.alarm("connection_lost", f"the link to the peer is down: {reason}")

    def _say_bye(self, line: Connection) -> None:
        self._say(line, Bye())
        self._said_bye = True

    def _on_bye(self, line: Connection) -> None:
        """The peer has finished and closes."""
        self._peer_finished = True
        if not self._said_bye:
            self._say_bye(line)
        if self._tags.ended:
            self._finish("finished")
        else:
            self._hang_up("the peer has finished", "connection_lost", orderly=True)
            self._effects.append(Disconnect("the peer has finished", line.stream))

    def _on_end(self) -> None:
        self._tags.ended, self._ended_s = True, self._now_s

    def _on_close(self) -> None:
        if self._line is not None and self._line.role is not None and not self._said_bye:
            self._say_bye(self._line)
        self._finish("closed")

    def _finish(self, reason: str) -> None:
        self._finished = True
        streams = [*self._doors, *([self._line.stream] if self._line else [])]
        self._hang_up(reason, STOPPED)
        self._tags.close()
        self._commitment.close()
        self._phase = Phase.CLOSED
        self._publish()
        self._effects += [*self._publisher.take(), *(Disconnect(reason, s) for s in streams)]
        self._effects.append(Finished())
