"""The command line in a pipe, in a script and in unusual terminals."""

from __future__ import annotations

import io
import os
import resource
import signal
import subprocess
import sys

import pytest

from photonlink.pipeline.cli import recordings
from photonlink.pipeline.cli.exit_status import EPILOG, ExitStatus
from photonlink.pipeline.cli.key import app as key_app
from photonlink.pipeline.cli.main import app
from photonlink.pipeline.cli.terminal import print_any_encoding, readable
from photonlink.pipeline.stages.window import LETTERS

PHOTONLINK = [sys.executable, "-m", "photonlink.pipeline.cli"]
HEAVY = ("scipy", "numpy", "pydantic", "matplotlib", "cffi", "aiomqtt", "paho", "asyncio", "serial",
         "rich.table", "rich.live", "rich.markdown")  # fmt: skip


def _run(
    *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    kept = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    return subprocess.run(
        [*PHOTONLINK, *arguments],
        capture_output=True, check=False, timeout=120, env=kept | (environment or {}),
    )  # fmt: skip


def _cpu_s(command: list[str]) -> float:
    def used() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return children.ru_utime + children.ru_stime

    best = float("inf")
    for _ in range(5):
        before = used()
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        best = min(best, used() - before)
    return best


def test_help_takes_at_most_twice_the_cpu_time_of_its_libraries() -> None:
    libraries = _cpu_s([sys.executable, "-c", "import typer, rich"])
    assert _cpu_s([*PHOTONLINK, "--help"]) <= 2 * libraries


def test_the_list_of_commands_is_that_of_the_commands_with_their_parameters() -> None:
    full = [sys.executable, "-c", "from photonlink.pipeline.cli.main import app; app()", "--help"]
    texts = [
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
        for command in (full, [*PHOTONLINK, "--help"])
    ]
    assert texts[0].partition("\n\n")[2] == texts[1].partition("\n\n")[2]
    assert "snapshot" in texts[0]


@pytest.mark.row("start of any command about 1 s")
def test_nothing_heavy_is_imported_for_help() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "photonlink.pipeline.cli", "--help"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in imported, "the list is read"
    heavy = [m for m in imported if any(m == h or m.startswith(f"{h}.") for h in HEAVY)]
    assert not heavy
    assert not [
        m for m in imported if m.startswith(("photonlink.pipeline.node", "photonlink.hal.l"))
    ]


@pytest.mark.parametrize("module", ["node.node", "recordings.replay"])
def test_a_node_starts_without_scipy(module: str) -> None:
    lines = f"import sys, photonlink.pipeline.{module}\nprint('scipy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", lines], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "False\n"


def test_help_says_what_the_exit_statuses_mean() -> None:
    text = " ".join(_run("--help").stdout.decode().split())
    assert EPILOG in text
    assert all(str(int(status)) in EPILOG for status in ExitStatus)


def test_tables_in_help_keep_their_square_brackets() -> None:
    assert b"[sim]" in _run("node", "--help").stdout


def test_letters_of_the_command_line_are_those_of_the_stages() -> None:
    assert tuple(recordings.LETTERS) == tuple(LETTERS)
    assert app
    assert key_app


@pytest.mark.row("piped output is cut to 80 columns and fails on poor encodings")
def test_a_table_in_a_pipe_of_poor_encoding_is_whole_and_no_traceback() -> None:
    name = _run("keyrate", "--presets").stdout.split()[0].decode()
    done = _run("keyrate", name, "--points", "2", environment={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == ExitStatus.SUCCESS, done.stderr.decode(errors="replace")
    text = done.stdout.decode("ascii")
    assert "..." not in text
    assert all(word in text for word in ("asymptotic", "QBER", "why none")), text


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_letter_that_an_encoding_lacks_is_a_question_mark(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    print_any_encoding()
    print("2 → 3", flush=True)
    assert stream.buffer.getvalue() == b"2 ? 3\n"  # type: ignore[attr-defined]


def test_a_reader_that_left_ends_the_command_quietly() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        done = subprocess.run(
            [*PHOTONLINK, "keyrate", "--presets"],
            stdout=theirs, stderr=subprocess.PIPE, check=False, timeout=120,
        )  # fmt: skip
    finally:
        os.close(theirs)
    assert done.returncode == ExitStatus.FAILURE
    assert done.stderr == b""


@pytest.mark.row("numbers with 17 digits, rates as 2.101e+06")
@pytest.mark.parametrize(
    ("value", "text"),
    [(2_101_234.5, "2,101,234"), (0.00812345678, "0.008123"), (0, "0"), (12.0, "12")],
)
def test_numbers_are_readable(value: float, text: str) -> None:
    assert readable(value) == text


@pytest.mark.row("--duration inf accepted")
@pytest.mark.parametrize("value", ["inf", "nan", "-1", "ten"])
@pytest.mark.parametrize("command", ["demo", "node"])
def test_a_duration_that_is_no_duration_is_wrong_usage(command: str, value: str) -> None:
    more = ["station.toml"] if command == "node" else []
    done = _run(command, *more, "--duration", value)
    assert done.returncode == ExitStatus.USAGE
    assert b"--duration" in done.stderr


@pytest.mark.row("Ctrl-C while importing prints a traceback")
def test_ctrl_c_while_importing_is_quiet() -> None:
    """Ctrl-C at the first import of a photonlink module, before any handler is installed."""
    program = (
        "import os, signal, sys\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'photonlink.pipeline.cli.main': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        "from photonlink.pipeline.cli.entry import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=60, check=False
    )
    assert done.returncode in (ExitStatus.INTERRUPTED, -signal.SIGINT)
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("planning.model", ["keyrate", "gys2004", "--points", "2"]),
        ("planning.plan", ["plan", "gys2004"]),
        ("recordings.analyze", ["analyze", __file__]),
    ],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_signal_to_a_command_at_work_is_no_success_and_no_traceback(
    module: str, arguments: list[str], number: signal.Signals
) -> None:
    """Sent where the command imports the module that does its work."""
    program = (
        "import os, sys\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == 'photonlink.pipeline.{module}': os.kill(os.getpid(), {number:d})\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        f"sys.argv[1:] = {arguments!r}\n"
        "from photonlink.pipeline.cli.entry import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=60, check=False
    )
    assert done.returncode in (ExitStatus.INTERRUPTED, -number), done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("closed", ["0", "1", "2", "0,1,2"])
def test_streams_that_the_parent_has_closed_are_no_fault(closed: str) -> None:
    program = (
        f"import os, sys\n[os.close(n) for n in ({closed},)]\n"
        f"os.execv(sys.executable, [{', '.join(map(repr, PHOTONLINK))}, 'keyrate', '--presets'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == ExitStatus.SUCCESS, done.stderr
    assert done.stderr == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_disk_that_is_full_is_named() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*PHOTONLINK, "keyrate", "--presets"],
            stdout=full, stderr=subprocess.PIPE, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == ExitStatus.FAILURE
    assert done.stderr == b"photonlink: No space left on device\n"


@pytest.mark.parametrize(
    "text",
    ["H=0,V=1,D=\u00b2,A=3", "H=0", "H=0,V=1,D=2,A=", "H=0,H=1,D=2,A=3", "H=0,V=1,D=2,A=3,HV=4"],
)
def test_a_channel_map_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(recordings.MapError):
        recordings.parse_map(text)
