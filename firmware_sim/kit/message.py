"""Instruments that speak in whole messages (UDP, ZeroMQ, HTTP): plain bytes, or JSON-RPC 2.0."""

from __future__ import annotations

import inspect
import json
from typing import Any

from photonlink.firmware_sim.kit.device import EmulatedDevice
from photonlink.firmware_sim.kit.registers import Refusal
from photonlink.firmware_sim.wires.messages import HttpSession
from photonlink.firmware_sim.wires.session import Session


class MessageDevice(EmulatedDevice):
    """Override :meth:`handle`."""

    def handle(self, message: bytes, session: Session) -> Any:
        """One message → its reply as bytes (an empty one is sent too), None for none, or a
        coroutine of these."""
        raise NotImplementedError

    def refused(self, refusal: Refusal, message: bytes) -> bytes:
        """The message for a refusal."""
        return str(refusal).encode()

    async def serve(self, session: Session) -> None:
        while (message := await session.read()) is not None:
            try:
                reply = self.handle(message, session)
                if inspect.isawaitable(reply):
                    reply = await reply
            except Refusal as refusal:
                reply = self.refused(refusal, message)
            except Exception as error:  # noqa: BLE001 - never raises for input
                self.broken(error)
                reply = b""
            if reply is None:
                continue
            sent = await self.send_reply(session, reply, message)
            if not sent and isinstance(session, HttpSession):
                session.withhold()


class JsonRpcDevice(MessageDevice):
    """JSON-RPC 2.0 (jsonrpc.org/specification): ``@command("name")`` methods
    ``(self, params, session) -> result``."""

    WIRES = ("http",)

    def handle(self, message: bytes, session: Session) -> bytes | None:
        try:
            request = json.loads(message)
        except (ValueError, RecursionError):
            return self._error(None, -32700, "Parse error")
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            return self._error(None, -32600, "Invalid Request")
        method, number = self.method(request["method"]), request.get("id")
        if method is None:
            return self._error(number, -32601, "Method not found")
        try:
            result = method(request.get("params", {}), session)
        except Refusal as refusal:
            return self._error(number, refusal.code or -32602, str(refusal))
        if "id" not in request:
            return None
        return json.dumps({"jsonrpc": "2.0", "id": number, "result": result}).encode()

    @staticmethod
    def _error(number: Any, code: int, text: str) -> bytes:
        error = {"code": code, "message": text}
        return json.dumps({"jsonrpc": "2.0", "id": number, "error": error}).encode()
