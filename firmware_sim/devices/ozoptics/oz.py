"""Emulated OZ Optics line: commands end in CR or LF, a reply is lines and ``Done``.

An error is a line that begins with ``Error``, then ``Error!`` (``pylablib`` 1.4.5 waits for it).
"""

from __future__ import annotations

from photonlink.firmware_sim.kit.line import LineDevice
from photonlink.firmware_sim.kit.registers import Refusal
from photonlink.firmware_sim.wires.session import Session

FAILED = "Error!"


class OzLine(LineDevice):
    TERMINATORS = b"\r\n"
    WIRES = ("serial", "tcp")
    AFTER_DONE = ""
    """What follows ``Done``: the DD-100-MC sends an empty line, the EPC nothing."""

    def refused(self, refusal: Refusal, line: str, session: Session) -> str:
        return f"Error: {refusal}\r\n{FAILED}"

    def encode(self, reply: str) -> bytes:
        if reply.endswith(FAILED) or reply == "# extra":
            return f"{reply}\r\n".encode()
        return f"{reply}\r\nDone\r\n{self.AFTER_DONE}".encode("utf-8", "replace")
