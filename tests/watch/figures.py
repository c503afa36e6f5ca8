"""Messages of imaginary nodes, in the layout of docs/mqtt.md."""

from __future__ import annotations

import json
import math
from typing import Any

ROOT = "photonlink/v2"
ROLES = ("alice", "bob")


def head(site: str, link: str, role: str, ts: float, seq: int = 1) -> dict[str, Any]:
    return {
        "v": 2, "ts": ts, "seq": seq, "site": site, "node": f"{link}-{role}", "link": link,
        "role": role,
    }  # fmt: skip


def topic(site: str, link: str, role: str, *rest: str) -> str:
    return "/".join((ROOT, site, f"{link}-{role}", *rest))


def state(
    site: str, link: str, role: str, ts: float, seq: int = 1, **changes: Any
) -> dict[str, Any]:
    wave = 1 + 0.1 * math.sin(ts / 60 + len(link))
    found = head(site, link, role, ts, seq) | {
        "phase": "sifting", "rate_h_hz": 21_000 * wave, "rate_v_hz": 20_500 * wave,
        "rate_d_hz": 19_900 * wave, "rate_a_hz": 20_100 * wave, "coincidences_hz": 10_200 * wave,
        "accidentals_hz": 31.0, "clock_offset_s": 1.2e-4, "clock_frequency_ppm": 3.1,
        "clock_locked": True, "qber_hv": 0.021, "qber_da": 0.024, "sifted_bps": 5_100 * wave,
        "skr_bps": 2_300 * wave, "channel_bps": 310_000.0, "key_stored_bits": 1_200_000,
        "pads_left_bits": 480_000, "epsilon": 4e-10, "multi_click_fraction": 0.001,
        "blocks": 4, "last_abort": None, "emulated": True,
    }  # fmt: skip
    return found | changes


def block(
    site: str, link: str, role: str, ts: float, number: int = 1, **changes: Any
) -> dict[str, Any]:
    return (
        head(site, link, role, ts)
        | {"block": number, "sifted_bits": 168_000, "qber_hv": 0.021, "qber_da": 0.024,
           "leak_bits": 14_200, "f_ec": 1.045, "net_bits": 61_000, "epsilon": 1e-10, "abort": None}
        | changes
    )  # fmt: skip


def alarm(site: str, link: str, role: str, ts: float, code: str, **changes: Any) -> dict[str, Any]:
    return (
        head(site, link, role, ts)
        | {"code": code, "severity": "major", "text": "QBER 9.1 %", "cause": "polarization",
           "action": "align the polarization", "since_ts": ts, "active": True}
        | changes
    )  # fmt: skip


def instrument(site: str, link: str, role: str, ts: float, name: str) -> dict[str, Any]:
    return head(site, link, role, ts) | {
        "name": name, "driver": "sfifteen.irspd1", "provenance": "emulated", "state": "ok",
        "last_error": "", "temperature_act_c": -20.1,
    }  # fmt: skip


def histogram(site: str, link: str, role: str, ts: float) -> dict[str, Any]:
    bins = [round(9_000 * math.exp(-((i - 25) ** 2) / 40)) for i in range(51)]
    return head(site, link, role, ts) | {
        "source": "disclosed", "counts": bins, "bin_ps": 130, "window_ps": 3_000,
        "pairs": sum(bins),
    }  # fmt: skip


def readiness(site: str, link: str, role: str, ts: float) -> dict[str, Any]:
    return head(site, link, role, ts) | {"ready": True, "tasks": []}


def birth(site: str, link: str, role: str, ts: float, **meta: Any) -> list[tuple[str, bytes, bool]]:
    """The retained messages status and meta."""
    first = head(site, link, role, ts)
    return [
        (topic(site, link, role, "status"), dump(first | {"status": "online"}), True),
        (topic(site, link, role, "meta"), dump(first | {"emulated": True} | meta), True),
    ]


def dump(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


def whole_link(site: str, link: str, ts: float, **changes: Any) -> list[tuple[str, bytes, bool]]:
    """All messages that both ends of one link publish at one moment."""
    found = []
    for role in ROLES:
        found += birth(site, link, role, ts)
        found.append((topic(site, link, role, "link", link, "state"),
                      dump(state(site, link, role, ts, **changes)), True))  # fmt: skip
        found.append((topic(site, link, role, "link", link, "block"),
                      dump(block(site, link, role, ts)), False))  # fmt: skip
        found.append((topic(site, link, role, "link", link, "histogram"),
                      dump(histogram(site, link, role, ts)), True))  # fmt: skip
        found.append((topic(site, link, role, "readiness"),
                      dump(readiness(site, link, role, ts)), True))  # fmt: skip
        for name in ("spd-h", "spd-v"):
            found.append((topic(site, link, role, "instrument", name),
                          dump(instrument(site, link, role, ts, name)), True))  # fmt: skip
    return found
