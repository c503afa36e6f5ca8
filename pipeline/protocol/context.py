"""What the phases of a session share: streams, pads, the outbox, alarms and figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from photonlink.hal.tags import Provenance
from photonlink.pipeline.keys.ledger import Ledger
from photonlink.pipeline.keys.policy import least_real
from photonlink.pipeline.keys.store import KeyStore
from photonlink.pipeline.protocol.channel.authentication import Stream
from photonlink.pipeline.protocol.channel.pads import Pads
from photonlink.pipeline.protocol.messages import Message, PoolName
from photonlink.pipeline.protocol.setup import Effect, Publish, Role, Send, SessionSetup
from photonlink.pipeline.status.model import Alarm, Severity


class Context:
    """Shared by the phases of one Session; nothing in it outlives the session but the ledger."""

    def __init__(
        self,
        setup: SessionSetup,
        ledger: Ledger,
        store: KeyStore,
        randomness: Callable[[int], bytes],
    ) -> None:
        self.setup, self.ledger, self.store, self.randomness = setup, ledger, store, randomness
        self.parameters, self.limits = setup.parameters, setup.limits
        self.pads = Pads(setup.psk, ledger, store)
        self.now_s = 0.0
        self.effects: list[Effect] = []
        self.out: Stream | None = None
        self.inn: Stream | None = None
        self.session_name = ""
        self.last_sent_s = 0.0
        self.last_received_s = 0.0
        self.bytes_carried = 0
        self._counted_bytes, self._counted_s = 0, 0.0
        self.provenance = setup.randomness_provenance
        self.show: dict[str, Any] = {}  # LinkState fields as they are now
        self.next_block = 1
        self._alarms: dict[str, Alarm] = {}

    @property
    def role(self) -> Role:
        return self.setup.role

    @property
    def is_alice(self) -> bool:
        return self.setup.role is Role.ALICE

    # ---- sending ----
    def send_frame(self, frame: bytes) -> None:
        self.effects.append(Send(frame))
        self.bytes_carried += len(frame)
        self.last_sent_s = self.now_s

    def send(self, message: Message) -> None:
        """Frame, authenticate, send."""
        frame = message.encode()
        assert self.out is not None  # noqa: S101 - phases run only once the streams exist
        self.out.absorb(frame)
        self.send_frame(frame)

    def send_tag(self, pool: PoolName) -> None:
        """End of a phase in the own direction."""
        assert self.out is not None  # noqa: S101 - phases run only once the streams exist
        self.send_frame(self.out.make_tag(pool).encode())

    # ---- what others see ----
    def mark(self, provenance: Provenance) -> None:
        """The key is no more real than the least real thing it comes from."""
        self.provenance = least_real(self.provenance, provenance)

    def channel_bps(self) -> float | None:
        """Bits per second on the classical channel, both directions, since the last call."""
        since, self._counted_s = self._counted_s, self.now_s
        n, self._counted_bytes = self.bytes_carried - self._counted_bytes, self.bytes_carried
        return 8 * n / (self.now_s - since) if self.now_s > since else None

    def tags(self) -> int:
        """Tags made and checked on this connection."""
        return sum(stream.tags for stream in (self.out, self.inn) if stream is not None)

    def tag_epsilon(self) -> float:
        """What they may have let pass, summed."""
        return sum(stream.epsilon for stream in (self.out, self.inn) if stream is not None)

    def close_streams(self) -> None:
        for stream in (self.out, self.inn):
            if stream is not None:
                stream.close()
        self.out = self.inn = None

    def raise_alarm(self, code: str, text: str, severity: Severity = Severity.MAJOR) -> None:
        """Published once until it is cleared."""
        if code not in self._alarms:
            alarm = self._alarms[code] = Alarm(code, severity, text)
            self.effects.append(Publish(alarm))

    def clear_alarm(self, code: str) -> None:
        alarm = self._alarms.pop(code, None)
        if alarm is not None:
            self.effects.append(Publish(Alarm(code, alarm.severity, alarm.text, active=False)))

    def take_effects(self) -> list[Effect]:
        effects, self.effects = self.effects, []
        return effects
