"""The DLC pro's monitoring line: it sends values when they change (port 1999).

``(add 'name interval_ms)`` subscribes; lines ``(2026-11-21T23:37:32.108Z 'name value)`` follow.
Whether the line sends a banner is not documented, so other lines are skipped.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence

from photonlink.drivers.toptica import decof
from photonlink.hal.codecs.base import decode_text
from photonlink.hal.errors import InstrumentError, LinkDesync, LinkTimeout
from photonlink.hal.links import StreamLink

_PUSH = re.compile(r"^(?:>\s*)*\((\S+Z)\s+'(\S+)\s+(.*)\)\s*$")
_ERROR = re.compile(r"^(?:>\s*)*\(Error:\s*(.*)\)\s*$", re.IGNORECASE)
_LISTEN_S = 3600.0  # values may not change for hours: silence is no fault here


async def changes(
    link: StreamLink, names: Sequence[str], *, interval_ms: int, timeout_s: float
) -> AsyncGenerator[tuple[str, decof.DecofValue], None]:
    """(parameter, value) whenever one changes, beginning with what they are now.

    Opens and closes ``link``. LinkClosed when the controller goes away.
    """
    try:
        await link.open(timeout_s)
        for name in names:
            await link.write(f"(add '{name} {interval_ms})\n".encode("ascii"), timeout_s)
        last: dict[str, decof.DecofValue] = {}
        while True:
            try:
                line = decode_text(await link.read_until(b"\n", _LISTEN_S), link)
            except LinkTimeout:
                continue
            push = _read(line, link.uri)
            if push is not None and last.get(push[0]) != push[1]:
                last[push[0]] = push[1]
                yield push
    finally:
        await link.close()


def _read(line: str, where: str) -> tuple[str, decof.DecofValue] | None:
    refused = _ERROR.match(line)
    if refused:
        raise InstrumentError("the monitoring line refuses", where=where, seen=refused.group(1))
    push = _PUSH.match(line)
    if push is None:
        return None
    try:
        value = decof.parse(push.group(3), where)
    except LinkDesync:
        return None  # one garbled line; the value comes again with its next change
    return None if isinstance(value, decof.DecofRefusal) else (push.group(2), value)
