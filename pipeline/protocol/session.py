"""The session: the two-party protocol as a state machine without I/O.

Inputs are method calls, outputs the effects they return; they depend on nothing but the
inputs and the randomness handed in. No clock, socket, file or operating system is used here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.tags import AcquisitionStart, Provenance, TagBlock, TaggerCapabilities
from photonlink.pipeline.keys.ledger import Ledger, LedgerError
from photonlink.pipeline.keys.policy import is_marked
from photonlink.pipeline.keys.store import KeyStore, StoreError
from photonlink.pipeline.native.base import NativeError, NativeMemoryError
from photonlink.pipeline.protocol import block_record as accounts
from photonlink.pipeline.protocol.channel.framing import FrameReader, ProtocolError
from photonlink.pipeline.protocol.channel.handshake import Handshake, refusal
from photonlink.pipeline.protocol.channel.pads import DIRECTIONS, POOLS, PoolKey
from photonlink.pipeline.protocol.channel.ratelimit import TokenBucket
from photonlink.pipeline.protocol.context import Context
from photonlink.pipeline.protocol.messages import (
    LIMITS,
    AuthTag,
    Bye,
    Message,
    Ping,
    PoolName,
    Refuse,
    decode,
)
from photonlink.pipeline.protocol.roles import AliceRole, BobRole
from photonlink.pipeline.protocol.setup import Disconnect, Effect, Finished, Publish, SessionSetup
from photonlink.pipeline.protocol.sifting.peer_taggers import AcquisitionOrigin
from photonlink.pipeline.protocol.statusline import link_state
from photonlink.pipeline.status.alarms import CLEARED_BY_HANDSHAKE
from photonlink.pipeline.status.model import Phase, Severity

_REFUSED = frozenset(
    {
        "version_mismatch",
        "role_conflict",
        "psk_mismatch",
        "parameter_mismatch",
        "ledger_rolled_back",
        "refused_by_peer",
    }
)

_STOPPED = "stopped_before_the_end"
_IN_DOUBT = "in_doubt_after_connection_loss"


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
        self._ctx = Context(setup, ledger, store, randomness)
        self._role = AliceRole(self._ctx) if self._ctx.is_alice else BobRole(self._ctx)
        self._bucket = TokenBucket(setup.limits.reconnect_burst, setup.limits.reconnect_period_s)
        self._reader: FrameReader | None = None
        self._handshake: Handshake | None = None
        self._connected_s = 0.0
        self._phase = Phase.CONNECTING
        self._finished = self._peer_finished = False
        self._said_bye = self._bye_heard = False
        self._status_s = float("-inf")
        ledger.bind(setup.psk.key_id)
        for entry in ledger.state.unfinished():
            accounts.burn(self._ctx, entry.block, _STOPPED)

    # ---- inputs ----

    def connected(self, now_s: float) -> list[Effect]:
        """A stream to the peer is open."""
        return self._run(now_s, self._on_connected)

    def disconnected(self, now_s: float, reason: str) -> list[Effect]:
        """The stream is gone; what was not committed is burnt."""
        return self._run(now_s, lambda: self._hang_up(reason, "connection_lost"))

    def receive(self, data: bytes, now_s: float) -> list[Effect]:
        """Bytes from the stream, in any division. Never raises for what is in them."""
        return self._run(now_s, lambda: self._on_bytes(data))

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
        return self._run(now_s, lambda: self._role.acquisition_started(started))

    def tags(self, block: TagBlock, now_s: float) -> list[Effect]:
        """Own tags in order of time. The block is wiped."""
        return self._run(now_s, lambda: self._role.tags(block))

    def tick(self, now_s: float) -> list[Effect]:
        """Time passes; call at least twice a second."""
        return self._run(now_s, self._on_tick)

    def end_of_input(self, now_s: float) -> list[Effect]:
        """No more tags will come: what is there is distilled, then Finished."""
        return self._run(now_s, self._role.end_of_input)

    def close(self, now_s: float) -> list[Effect]:
        """Stop now: say goodbye, wipe, Finished."""
        return self._run(now_s, self._on_close)

    # ---- outputs that are no effects ----

    def key_check(self, nonce: bytes) -> bytes:
        """HMAC over all released key blocks that are marked (emulated, replayed).

        Real key never enters it. Raises PhotonlinkError in a session on real light.
        """
        if not is_marked(self._ctx.provenance):
            raise PhotonlinkError("a key check is for emulated and replayed sessions only")
        mac = nonce
        state = self._ctx.ledger.state
        for block, entry in state.blocks.items():
            there = entry.status == "released" and entry.net_bits and block not in state.delivered
            if there and is_marked(entry.provenance):
                with self._ctx.store.get_key(block, entry.net_bits, entry.key_seal) as key:
                    mac = key.hmac_sha256(nonce + mac)
        return mac

    def clock_at_start(self) -> tuple[float, float] | None:
        """Alice only: Bob's clock minus hers (s) at her time 0, and how much faster it ran (ppm),
        from the first lock; None without one."""
        return self._role.clock_at_start

    @property
    def provenance(self) -> Provenance:
        return self._ctx.provenance

    @property
    def finished(self) -> bool:
        return self._finished

    @property
    def phase(self) -> Phase:
        return self._phase

    def __repr__(self) -> str:
        return f"Session({self._ctx.role}, {self._phase})"

    # ---- inside ----

    def _run(self, now_s: float, step: Callable[[], None]) -> list[Effect]:
        ctx = self._ctx
        ctx.now_s = now_s
        if self._finished:
            return []
        try:
            step()
            self._after()
        except ProtocolError as error:
            self._fail(error)
        except (LedgerError, StoreError, NativeError) as error:
            fault = ProtocolError(_own_fault(error), error.what, where=error.where, hint=error.hint)
            self._fail(fault)
        return ctx.take_effects()

    def _after(self) -> None:
        """What follows from any input: the role goes on, the end is noticed, status is due."""
        ctx = self._ctx
        if self._handshake is not None and self._handshake.done:
            self._role.advance()
            self._phase = self._role.phase
            if self._role.complete and not self._finished and not self._said_bye:
                self._say_bye()
        if ctx.now_s - self._status_s >= ctx.limits.status_period_s:
            self._publish()

    def _publish(self) -> None:
        self._status_s = self._ctx.now_s
        self._role.refresh()
        self._watch_pads()
        self._ctx.effects.append(Publish(link_state(self._ctx, self._phase)))

    def _on_connected(self) -> None:
        ctx = self._ctx
        if not self._bucket.take(ctx.now_s, self._scarcity()):
            ctx.raise_alarm("reconnect_limit", "too many reconnects: the link waits")
            ctx.effects.append(Disconnect("reconnects are rate-limited"))
            return
        self._peer_finished = self._said_bye = self._bye_heard = False
        self._reader = FrameReader(LIMITS)
        self._connected_s = ctx.last_received_s = ctx.last_sent_s = ctx.now_s
        self._phase = Phase.HANDSHAKE
        self._handshake = Handshake(ctx)

    def _scarcity(self) -> float:
        """Connections become rarer as the handshake pads run out, by the cube of what is left:
        somebody who cuts the line again and again does not empty the reserve."""
        ctx = self._ctx
        full = ctx.setup.psk.pool_bytes(handshake=True)
        left = min(ctx.pads.left(PoolKey(d, PoolName.HANDSHAKE)) for d in DIRECTIONS)
        return (full / max(left, 1)) ** 3

    def _watch_pads(self) -> None:
        ctx = self._ctx
        low = [
            str(key)
            for key in POOLS
            if 4 * ctx.pads.left(key) < ctx.setup.psk.pool_bytes(key.pool is PoolName.HANDSHAKE)
        ]
        if low:
            text = f"less than a quarter of the pads is left: {', '.join(low)}"
            ctx.raise_alarm("pads_low", text, Severity.MINOR)
        else:
            ctx.clear_alarm("pads_low")

    def _on_bytes(self, data: bytes) -> None:
        ctx = self._ctx
        if self._reader is None:
            return
        ctx.bytes_carried += len(data)
        ctx.last_received_s = ctx.now_s
        for kind, payload, frame in self._reader.feed(data):
            self._on_message(decode(kind, payload), frame)
            if self._reader is None:  # hung up on the way
                return

    def _on_message(self, message: Message, frame: bytes) -> None:
        ctx = self._ctx
        assert self._handshake is not None  # noqa: S101 - created with the reader
        if not self._handshake.done:
            self._handshake.receive(message, frame)
            if self._handshake.done:
                self._established()
            return
        assert ctx.inn is not None  # noqa: S101 - the handshake opened it
        if self._bye_heard:
            if not isinstance(message, AuthTag):
                raise ProtocolError("unexpected_message", "something follows the goodbye")
            ctx.inn.check_tag(message, PoolName.HANDSHAKE)
            self._on_bye()
            return
        if isinstance(message, AuthTag):
            self._role.on_tag(message)
            return
        ctx.inn.absorb(frame)
        if isinstance(message, Refuse):
            raise ProtocolError("unexpected_message", "Refuse after the handshake")
        if isinstance(message, Bye):
            self._bye_heard = True
        elif not isinstance(message, Ping):
            self._role.on_message(message)
            self._role.advance()

    def _established(self) -> None:
        ctx = self._ctx
        assert self._handshake is not None  # noqa: S101 - just done
        resolution = self._handshake.resolution
        assert resolution is not None  # noqa: S101 - just done
        for block in resolution.release:
            accounts.release(ctx, block)
            self._role.settled(block, None)
        for block in resolution.burn:
            accounts.burn(ctx, block, _IN_DOUBT)
            self._role.settled(block, _IN_DOUBT)
        ctx.next_block = resolution.next_block
        for code in CLEARED_BY_HANDSHAKE:
            ctx.clear_alarm(code)
        self._role.begin()

    def _on_tick(self) -> None:
        ctx, limits = self._ctx, self._ctx.limits
        if self._reader is None:
            lonely = ctx.now_s - ctx.last_received_s > limits.silence_s
            refused = self._phase is Phase.REFUSED
            if self._role.ended and (self._peer_finished or lonely or refused):
                self._finish("finished")
            return
        assert self._handshake is not None  # noqa: S101 - created with the reader
        if not self._handshake.done and ctx.now_s - self._connected_s > limits.handshake_s:
            raise ProtocolError("handshake_timeout", "the peer did not complete the handshake")
        if ctx.now_s - ctx.last_received_s > limits.silence_s:
            raise ProtocolError("peer_silent", f"no byte from the peer for {limits.silence_s:g} s")
        if self._role.overdue:
            raise ProtocolError("phase_timeout", "the peer did not go on with the block")
        if self._handshake.done and ctx.now_s - ctx.last_sent_s > limits.keepalive_s:
            ctx.send(Ping())

    def _fail(self, error: ProtocolError) -> None:
        """The peer broke the rules, or somebody between did: name it, hang up, burn."""
        ctx = self._ctx
        text = str(error)
        if self._handshake is not None and not self._handshake.done:
            ctx.send_frame(refusal(error).encode())
        ctx.raise_alarm(error.code, text, Severity.MAJOR)
        ctx.show["last_abort"] = f"{error.code}: {error.what}"
        with contextlib.suppress(LedgerError, StoreError):  # then it burns at the next start
            self._hang_up(error.code, f"{error.code}: {error.what}")
        if error.code in _REFUSED:
            self._phase = Phase.REFUSED
        ctx.effects.append(Disconnect(text))
        self._publish()

    def _hang_up(self, reason: str, burnt: str, *, orderly: bool = False) -> None:
        """``burnt``: why a block gives no key that was being distilled."""
        if self._reader is None:
            return
        established = self._handshake is not None and self._handshake.done
        self._reader = self._handshake = None
        self._phase = Phase.CONNECTING
        try:
            self._role.interrupt(burnt)
        finally:
            self._ctx.close_streams()
        if established and not orderly and not self._finished:
            self._ctx.raise_alarm("connection_lost", f"the link to the peer is down: {reason}")

    def _say_bye(self) -> None:
        """The last phase ends with a tag too: nothing that was said stays unproved."""
        self._ctx.send(Bye())
        self._ctx.send_tag(PoolName.HANDSHAKE)
        self._said_bye = True

    def _on_bye(self) -> None:
        """The peer has finished, and its tag says so."""
        self._peer_finished = True
        if not self._said_bye:
            self._say_bye()
        if self._role.ended:
            self._finish("finished")
        else:
            self._hang_up("the peer has finished", "connection_lost", orderly=True)
            self._ctx.effects.append(Disconnect("the peer has finished"))

    def _on_close(self) -> None:
        if self._handshake is not None and self._handshake.done and not self._said_bye:
            self._say_bye()
        self._finish("closed")

    def _finish(self, reason: str) -> None:
        self._finished = True
        self._hang_up(reason, _STOPPED)
        self._role.close()
        self._phase = Phase.CLOSED
        self._publish()
        self._ctx.effects += [Disconnect(reason), Finished()]


def _own_fault(error: PhotonlinkError) -> str:
    """Code of the alarm for a fault on this side: the link stops, nothing is delivered."""
    if isinstance(error, LedgerError):
        return "ledger_failed"
    if isinstance(error, StoreError):
        return "store_failed"
    return "locked_memory_exhausted" if isinstance(error, NativeMemoryError) else "core_failed"
