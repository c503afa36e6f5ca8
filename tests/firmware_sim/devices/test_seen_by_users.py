"""Findings from users' own software and from recordings of real units: one test each."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import subprocess
import sys
import termios
import threading
import time
import tomllib
from pathlib import Path
from typing import Any

import cffi
import numpy as np
import pytest
import serial

from photonlink.firmware_sim.devices.toptica.dlc_table import commands, fitted, parameters
from photonlink.firmware_sim.wires.vendor_library import prototypes

TABLE = Path(prototypes.__file__).with_name("mh150.toml")


def _line(laser: Any) -> socket.socket:
    host, port = laser.path.split(":")
    client = socket.create_connection((host, int(port)), timeout=2.0)
    _until(client)
    return client


def _until(client: socket.socket, end: bytes = b"\r\n> ") -> bytes:
    data = b""
    while not data.endswith(end):
        more = client.recv(65536)
        assert more, data
        data += more
    return data


def _ask(client: socket.socket, text: str) -> bytes:
    client.sendall(text.encode() + b"\n")
    return _until(client)


# ---- DLC pro -----------------------------------------------------------------------------------


@pytest.mark.row("DLC pro: echoed replies with CR LF")
def test_dlc_pro_echo_as_recorded_per_connection(emulate: Any) -> None:
    laser = emulate("toptica-dlc-pro")
    with _line(laser) as first, _line(laser) as second:
        assert _ask(first, "(param-set! 'echo #t)") == (b"(param-set! 'echo #t)\r\n0\r\n> ")
        asked = "(param-set! 'laser1:dl:pc:voltage-set 69.85)"
        assert _ask(first, asked) == asked.encode() + b"\r\n0\r\n> "
        assert _ask(second, asked) == b"0\r\n> "
    with _line(emulate("toptica-dlc-pro", echo=True)) as echoing:
        assert _ask(echoing, asked).startswith(asked.encode())


@pytest.mark.row("DLC pro: extra lines before a set's status")
def test_dlc_pro_extra_lines_before_a_status(emulate: Any) -> None:
    laser = emulate("toptica-dlc-pro")
    with _line(laser) as client:
        laser.control(fault="extra", count=1)
        lines = _ask(client, "(param-set! 'laser1:dl:pc:voltage-set 69.0)").split(b"\r\n")
        assert lines == [b"note", b"0", b"> "]
        assert _ask(client, "(param-ref 'ul)") == b"3\r\n> "


@pytest.mark.row("DLC pro over serial: welcome message, plain prompt")
def test_dlc_pro_serial_wire_with_welcome(emulate: Any) -> None:
    laser = emulate("toptica-dlc-pro", address="serial")
    with serial.Serial(laser.path, timeout=10.0) as port:
        port.write(b"\x12\x03")  # as from the vendor's client, which then reads two prompts
        first = port.read_until(b"\n> ")
        assert first.endswith(b"DeCoF Command Line\r\n> ")
        assert port.read_until(b"\n> ") == b"\r\n> "
        port.write(b"(param-ref 'ul)\n")
        assert port.read_until(b"\n> ") == b"3\r\n> "


def test_dlc_pro_serial_wire_in_the_vendors_client(emulate: Any) -> None:
    sdk = pytest.importorskip("toptica.lasersdk.client", reason="toptica-lasersdk")
    pytest.importorskip("serial_asyncio", reason="pyserial-asyncio")
    laser = emulate("toptica-dlc-pro", address="serial")
    with sdk.Client(sdk.SerialConnection(laser.path, timeout=2)) as client:
        assert client.get("system-type") == "DLCpro"


@pytest.mark.row("DLC pro: param-disp, serial number, system type, unavailable parameters")
def test_dlc_pro_param_disp_numeric_serial_system_type_unavailable(emulate: Any) -> None:
    with _line(emulate("toptica-dlc-pro")) as client:
        assert _ask(client, "(param-disp 'ul)") == b"ul = 3\r\n0\r\n> "
        assert re.fullmatch(rb'"\d+"\r\n> ', _ask(client, "(param-ref 'laser1:dl:serial-number)"))
        assert _ask(client, "(param-ref 'system-type)") == b'"DLCpro"\r\n> '
        assert _ask(client, "(param-ref 'laser2:type)") == (
            b"Error: -20 unavailable on your system\r\n> "
        )


@pytest.mark.row("DLC pro: parameters of the vendor's SDK")
def test_dlc_pro_knows_every_parameter_of_the_vendors_sdk(emulate: Any) -> None:
    known = parameters()
    assert sum(n.startswith("laser1:") for n in known) >= 2308
    assert "laser1:dl:cc:external-input:enabled" in known
    assert "laser1:scan:enabled" in known
    assert len(commands()) > 100
    with _line(emulate("toptica-dlc-pro")) as client:
        names = sorted(known)
        for at in range(0, len(names), 200):
            part = names[at : at + 200]
            client.sendall("".join(f"(param-ref '{n})\n" for n in part).encode())
            replies = b""
            while replies.count(b"\r\n> ") < len(part):
                replies += client.recv(1 << 16)
            for name, reply in zip(part, replies.split(b"\r\n> "), strict=False):
                refused = reply.startswith(b"Error: -20")
                assert not (refused and fitted(name)), (name, reply)
                assert refused or not reply.startswith(b"Error"), (name, reply)


@pytest.mark.row("DLC pro: current-offset determines current-set")
def test_dlc_pro_current_offset_determines_current_set(emulate: Any) -> None:
    with _line(emulate("toptica-dlc-pro")) as client:
        cc = "laser1:dl:cc:current-"
        assert _ask(client, f"(param-set! '{cc}set 50.0)") == b"0\r\n> "
        assert _ask(client, f"(param-set! '{cc}offset 70.0)") == b"0\r\n> "
        assert _ask(client, f"(param-ref '{cc}set)") == b"70.0\r\n> "


# ---- MultiHarp ---------------------------------------------------------------------------------


@pytest.fixture
def mh(emulate: Any) -> Any:
    """(ffi, lib) with every function of the table declared, device open."""
    library = prototypes.load(TABLE)
    ffi = cffi.FFI()
    ffi.cdef(";\n".join(f.c() for f in library.functions.values()) + ";")
    ffi.cdef("int MH_GetErrorString(char*, int); int SIM_IsEmulator(void);")
    lib = ffi.dlopen(emulate("picoquant-multiharp150").path)
    assert lib.MH_OpenDevice(0, ffi.new("char[8]")) == 0
    yield ffi, lib
    lib.MH_CloseDevice(0)


@pytest.mark.row("MultiHarp: functions of the vendor's header, error texts")
def test_multiharp_has_every_function_of_the_vendors_header(mh: Any) -> None:
    ffi, lib = mh
    out, number = ffi.new("int*"), ffi.new("double*")
    assert lib.MH_GetHardwareInfo(0, *(ffi.new("char[24]") for _ in range(3))) == -22
    assert lib.MH_Initialize(0, 2, 0) == 0
    assert lib.MH_GetResolution(0, number) == 0
    assert number[0] == 80.0
    assert lib.MH_GetFeatures(0, out) == 0
    assert out[0] & 0x2  # TTTR
    for call in (
        lambda: lib.MH_SetMarkerEdges(0, 1, 1, 1, 1),
        lambda: lib.MH_SetMarkerEnable(0, 1, 0, 0, 0),
        lambda: lib.MH_SetMarkerHoldoffTime(0, 100),
        lambda: lib.MH_SetInputHysteresis(0, 1),
        lambda: lib.MH_SetTriggerOutput(0, 1000),
        lambda: lib.MH_GetNumOfModules(0, out),
        lambda: lib.MH_GetModuleInfo(0, 0, out, out),
        lambda: lib.MH_GetDebugInfo(0, ffi.new("char[16384]")),
    ):
        assert call() == 0
    for call in (  # of another mode
        lambda: lib.MH_SetBinning(0, 0),
        lambda: lib.MH_SetOffset(0, 0),
        lambda: lib.MH_ClearHistMem(0),
        lambda: lib.MH_GetHistogram(0, ffi.new("unsigned int[65536]"), 0),
    ):
        assert call() == -18
    assert lib.MH_SetInputHysteresis(0, 2) == -17
    assert lib.MH_ExtFPGAInitLink(0, 0, 1) == -19
    text = ffi.new("char[64]")
    texts = tomllib.loads(TABLE.read_text())["errors"]
    assert len(texts) > 60
    for code, words in texts.items():
        assert lib.MH_GetErrorString(text, int(code)) == 0
        assert ffi.string(text).decode() == words


@pytest.mark.row("MultiHarp: ReadFiFo returns in 0.5 ms")
def test_multiharp_read_fifo_takes_its_time(mh: Any) -> None:
    ffi, lib = mh
    assert lib.MH_Initialize(0, 2, 0) == 0
    assert lib.MH_StartMeas(0, 1000) == 0
    buffer, count = ffi.new("unsigned int[1048576]"), ffi.new("int*")
    start = time.monotonic()
    assert lib.MH_ReadFiFo(0, buffer, count) == 0
    assert time.monotonic() - start >= 0.009


def test_every_library_table_is_readable_and_its_c_is_complete() -> None:
    for path in sorted(TABLE.parent.glob("*.toml")):
        library = prototypes.load(path)
        source = prototypes.c_source(library)
        for function in library.functions.values():
            assert f"{function.c()} {{" in source


# ---- TDC1 --------------------------------------------------------------------------------------


@pytest.mark.row("TDC1: what the vendor's software sends")
def test_tdc1_takes_what_the_vendors_software_sends(emulate: Any) -> None:
    unit = emulate("sfifteen-tdc1")
    with serial.Serial(unit.path, timeout=10.0) as port:
        for sent, shown in ((b"TIME400;", b"400"), (b"time 500.0\r\n", b"500")):
            port.write(sent + b"time?;")
            assert port.readline() == shown + b"\r\n"
        port.write(b"pairs;time 0;counts?")
        port.write(b";")
        assert port.readline().split() == [b"0"] * 8
        assert unit.status()["internal_errors"] == 0


@pytest.mark.row("TDC1: text in the binary stream")
def test_tdc1_text_never_enters_the_binary_stream(emulate: Any) -> None:
    unit = emulate("sfifteen-tdc1")
    unit.port.load(np.arange(1, 1000) * 10**8, np.zeros(999))
    with serial.Serial(unit.path, timeout=30.0) as port:
        port.write(b"timestamp;frobnicate;time 100;time x;frob?;INPKT;counts?;frobnicate;mode?;")
        data = port.read(999 * 4 + 3)
        port.timeout = 0.3
        assert port.read(1) == b"", "nothing follows the mode"
    words = np.frombuffer(data[:-3], "<u4")
    assert len(words) == 999
    assert (words & 0xF == 1).all()


# ---- serial lines ------------------------------------------------------------------------------


@pytest.mark.row("pty: 1000 queries get 512 replies")
def test_pty_a_thousand_queries_get_a_thousand_replies(emulate: Any) -> None:
    unit = emulate("sfifteen-irspd1")
    with serial.Serial(unit.path, timeout=5.0) as port:
        port.write(b"settemp?;" * 1000)
        got = [port.readline() for _ in range(1000)]
    assert got == [b"-30.000\r\n"] * 1000


@pytest.mark.row("pty: sets lost when the client closes right after writing")
def test_pty_sets_count_when_the_client_closes_at_once(emulate: Any) -> None:
    unit = emulate("sfifteen-irspd1")
    for i in range(60):
        with serial.Serial(unit.path, timeout=10.0) as port:
            port.write(f"delay {1000 + i}\r\n".encode())
            if i % 2:
                port.flush()
        with serial.Serial(unit.path, timeout=10.0) as port:
            port.write(b"delay?;")
            assert port.readline() == f"{1000 + i}\r\n".encode()


@pytest.mark.row("pty: TIOCEXCL stays after the client closed")
def test_pty_what_a_client_leaves_behind_ends_with_it(emulate: Any, until: Any) -> None:
    unit = emulate("sfifteen-irspd1")
    line = os.open(unit.path, os.O_RDWR | os.O_NOCTTY)
    fcntl.ioctl(line, termios.TIOCEXCL)
    attributes = termios.tcgetattr(line)
    attributes[3] |= termios.ECHO | termios.ICANON
    termios.tcsetattr(line, termios.TCSANOW, attributes)
    os.close(line)
    until(lambda: unit.status()["clients"] == 0)

    def as_new() -> bool:
        line = os.open(unit.path, os.O_RDWR | os.O_NOCTTY)
        try:
            exclusive = fcntl.ioctl(line, 0x80045440, b"\0\0\0\0")  # TIOCGEXCL
            modes = termios.tcgetattr(line)[3] & (termios.ECHO | termios.ICANON)
        finally:
            os.close(line)
        return not modes and exclusive == b"\0\0\0\0"

    until(as_new)


@pytest.mark.row("no descriptors left: stderr grows")
def test_no_descriptors_left_is_said_once(tmp_path: Path) -> None:
    """More clients than the limit of open files: the program goes on and stderr stays short."""
    bench = '[devices]\npump = { model = "toptica-dlc-pro", place = "pump" }'
    (tmp_path / "bench.toml").write_text(bench)
    script = (
        "import resource, sys, runpy; resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48));"
        "sys.argv = ['x', sys.argv[1], '--run-dir', sys.argv[2], '--until-stdin-closes'];"
        "runpy.run_module('photonlink.firmware_sim', run_name='__main__')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "bench.toml"), str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    found = re.search(r"tcp://([\d.]+):(\d+)", process.stdout.readline())
    assert found
    said = threading.Event()
    errors = ""

    def read() -> None:
        nonlocal errors
        assert process.stderr is not None
        for line in process.stderr:
            errors += line
            if "Too many open files" in errors:
                said.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    clients: list[socket.socket] = []
    deadline = time.monotonic() + 60
    try:  # in turn: the kernel drops simultaneous ones beyond the listener's queue
        while not said.is_set() and time.monotonic() < deadline:
            clients.append(socket.socket())
            clients[-1].settimeout(1.0)
            clients[-1].connect_ex((found[1], int(found[2])))
        assert said.is_set(), errors
        time.sleep(1.0)  # time for repeated reports, which must not come
    finally:
        for client in clients:
            client.close()
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)
        reader.join(30)
        process.stdout.close()
        if process.stderr is not None:
            process.stderr.close()
    assert len(errors) < 4000


# ---- one emulator for any client software -------------------------------------------------------


@pytest.mark.row("one emulator for somebody else's software")
def test_emulate_starts_one_instrument_and_lists_all_its_addresses() -> None:
    words = [sys.executable, "-m", "photonlink.pipeline.cli", "emulate", "toptica-dlc-pro"]
    process = subprocess.Popen(
        [*words, "--fault", "silent,count=1", "--until-stdin-closes"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(2)]
    assert lines[0].startswith("tcp://127.0.0.1:")
    assert lines[1].startswith("monitoring: tcp://127.0.0.1:")
    host, port = lines[0].strip().removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port)), timeout=5.0) as client:
        _until(client)
        client.sendall(b"(param-ref 'ul)\n(param-ref 'ul)\n")  # the first gets no reply
        assert _until(client) == b"3\r\n> "
    process.communicate("", timeout=20)
    assert process.returncode == 0


@pytest.mark.row("settings of emulators are in no document")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--list"], "sfifteen-irspd1"),
        (["toptica-dlc-pro", "--help-settings"], "command_port = 0"),
        (["toptica-dlc-pro", "--help-settings"], "unplug"),
    ],
)
def test_settings_are_documented_by_a_command(arguments: list[str], says: str) -> None:
    words = [sys.executable, "-m", "photonlink.firmware_sim", "emulate", *arguments]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
    assert says in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["toptica"], "no model 'toptica'; known:"),
        (["sfifteen-tdc1", "--place", "pump"], "cannot stand at 'pump'"),
        (["sfifteen-tdc1", "--set", "colour=1"], "unknown setting 'colour'"),
        (["sfifteen-tdc1", "--address", "tcp://127.0.0.1:0"], "no wire 'tcp'"),
        (["sfifteen-tdc1", "--fault", "explode"], "no fault 'explode'"),
    ],
)
def test_emulate_says_what_is_wrong(arguments: list[str], says: str) -> None:
    words = [sys.executable, "-m", "photonlink.firmware_sim", "emulate", *arguments]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
