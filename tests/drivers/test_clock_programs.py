"""Clock status in the programs' output, recorded from chrony 4.3 and linuxptp 3.1.1 (Debian 12),
and read from the programs themselves where they are installed."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from photonlink.drivers.chrony.chronyd import Chronyd
from photonlink.drivers.linuxptp.ptp4l import Ptp4l
from photonlink.hal.errors import IdentityError, LinkClosed, LinkDesync

VERSION = "chronyc (chrony) version 4.3 (+READLINE +SECHASH +IPV6 -DEBUG)"
TRACKING = ("7F000001,127.0.0.1,9,1795979600.591545754,-0.000001646,0.000000077,0.000000144,0.080,"
            "0.003,0.084,0.000005139,0.000000770,0.3,Normal")  # fmt: skip
ALONE = ("7F7F0101,,8,1795979575.394010647,0.000000000,0.000000000,0.000000000,0.000,0.000,0.000,"
         "0.000000000,0.000000000,0.0,Normal")  # fmt: skip
LOST = ("00000000,,0,0.000000000,-0.000003,0.0,0.00002,-7.4,0.0,0.02,1.0,1.0,64.4,"
        "Not synchronised")  # fmt: skip
SENT = "sending: GET {0}\n\t000000.fffe.000000-{1} seq 0 RESPONSE MANAGEMENT {0} \n"
TIME_STATUS = (
    SENT.format("TIME_STATUS_NP", 0)
    + """\t\tmaster_offset              0
\t\tingress_time               0
\t\tcumulativeScaledRateOffset +0.000000000
\t\tscaledLastGmPhaseChange    0
\t\tgmTimeBaseIndicator        0
\t\tlastGmPhaseChange          0x0000'0000000000000000.0000
\t\tgmPresent                  false
\t\tgmIdentity                 000000.fffe.000000
"""
)
PORT = (
    SENT.format("PORT_DATA_SET", 1)
    + """\t\tportIdentity            000000.fffe.000000-1
\t\tportState               MASTER
\t\tlogMinDelayReqInterval  0
"""
)
SLAVE = {  # not recorded: derived, with a master
    "GET_TIME_STATUS_NP": TIME_STATUS.replace("false", "true")
    .replace("master_offset              0", "master_offset              -12")
    .replace("gmIdentity                 000000", "gmIdentity                 001b21"),
    "GET_PORT_DATA_SET": PORT.replace("MASTER", "SLAVE"),
}
Write = Callable[..., str]


@pytest.fixture
def program(tmp_path: Path) -> Write:
    """A program that prints the given output for its last argument."""

    def write(**replies: str) -> str:
        path = tmp_path / "program"
        path.write_text(
            f"#!{sys.executable} -IS\nimport sys\n"
            f"sys.stdout.write({replies!r}[sys.argv[-1].replace(' ', '_').strip('-')])\n"
        )
        path.chmod(0o755)
        return f"program://{path}"

    return write


@pytest.mark.proves("chrony-chronyd", by="a recording of chronyc 4.3")
async def test_chrony_s_offset_is_positive_when_the_clock_is_ahead(program: Write) -> None:
    clock = Chronyd("clock", program(v=VERSION, tracking=TRACKING), Chronyd.Settings())
    assert (await clock.open()).firmware == "chronyc (chrony) version 4.3"
    state = await clock.clock_state()
    assert state.locked
    assert (state.source, state.offset_s) == ("127.0.0.1", 0.000001646)
    assert await clock.get("frequency_ppm") == 0.08
    await clock.close()


@pytest.mark.parametrize("report", [ALONE, LOST])
async def test_a_clock_that_follows_nobody_is_not_locked(program: Write, report: str) -> None:
    clock = Chronyd("clock", program(v=VERSION, tracking=report), Chronyd.Settings())
    await clock.open()
    assert not (await clock.clock_state()).locked
    found = [c.code for c in clock.conditions(await clock.snapshot())]
    assert found == (["leap"] if report is LOST else [])
    await clock.close()


@pytest.mark.parametrize("report", ["", "a,b", TRACKING + ",more", f"{TRACKING}\n{TRACKING}"])
async def test_a_report_of_another_form_is_refused(program: Write, report: str) -> None:
    clock = Chronyd("clock", program(v=VERSION, tracking=report), Chronyd.Settings())
    with pytest.raises(LinkDesync, match="another form"):
        await clock.open()


async def test_another_program_is_no_chronyc(program: Write) -> None:
    with pytest.raises(IdentityError, match="no chronyc"):
        await Chronyd("clock", program(v="ntpq 4.2.8"), Chronyd.Settings()).open()


async def test_a_ptp_slave_with_a_grandmaster_is_locked(program: Write) -> None:
    clock = Ptp4l("clock", program(v="3.1.1", **SLAVE), Ptp4l.Settings())
    assert (await clock.open()).serial == "000000.fffe.000000"
    state = await clock.clock_state()
    assert (state.locked, state.source) == (True, "001b21.fffe.000000")
    assert state.offset_s == pytest.approx(-12e-9)
    await clock.close()


@pytest.mark.proves("linuxptp-ptp4l", by="a recording of pmc and ptp4l 3.1.1")
async def test_a_ptp_master_follows_nobody(program: Write) -> None:
    address = program(v="3.1.1", GET_TIME_STATUS_NP=TIME_STATUS, GET_PORT_DATA_SET=PORT)
    clock = Ptp4l("clock", address, Ptp4l.Settings())
    await clock.open()
    assert not (await clock.clock_state()).locked
    assert await clock.get("port_state") == "MASTER"
    await clock.close()


async def test_pmc_that_only_says_what_it_sends_has_no_ptp4l(program: Write) -> None:
    address = program(GET_TIME_STATUS_NP="sending: GET TIME_STATUS_NP\n")
    with pytest.raises(LinkClosed, match="does not answer"):
        await Ptp4l("clock", address, Ptp4l.Settings()).open()


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: chrony, linuxptp)")
    return found


async def test_the_driver_reads_chronyc_itself(tmp_path: Path) -> None:
    """A daemon of the test's own, which leaves the machine's clock alone."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "conf").write_text(
        f"local stratum 8\nbindcmdaddress 127.0.0.1\ncmdport {port}\nport 0\n"
        f"pidfile {tmp_path}/pid\nuser {getpass.getuser()}\n"
    )
    client = _program("chronyc")
    command = [_program("chronyd"), "-x", "-d", "-U", "-f", str(tmp_path / "conf")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as daemon:  # noqa: ASYNC220
        settings = Chronyd.Settings(host="127.0.0.1", port=port)
        clock = Chronyd("clock", f"program://{client}", settings)
        for _ in range(50):
            await asyncio.sleep(0.1)
            with contextlib.suppress(LinkClosed):
                await clock.open()
                break
        assert await clock.get("stratum") in (0, 8)
        assert not (await clock.clock_state()).locked, "it follows nobody"
        daemon.terminate()
        daemon.wait(10)
        with pytest.raises(LinkClosed, match="506 Cannot talk to daemon"):
            await clock.get("stratum")
        await clock.close()
