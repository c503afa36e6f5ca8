"""Every fault found in use of the product has a test, named after it by ``pytest.mark.row``.

``python tests/house/test_faults_found.py`` prints the table: the fault, its tests.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]

ROWS: dict[str, tuple[str, ...]] = {
    "HAL and node": (
        "every instrument is made safe, not a list of kinds",
        "configure that hangs leaves open_bench as a bare ExceptionGroup",
        "a foreign exception in snapshot ends supervisor and node",
        "emission leases have no caller",
    ),
    "drivers and emulators": (
        "DLC pro: echoed replies with CR LF",
        "DLC pro: extra lines before a set's status",
        "DLC pro over serial: welcome message, plain prompt",
        "DLC pro: param-disp, serial number, system type, unavailable parameters",
        "DLC pro: parameters of the vendor's SDK",
        "DLC pro: current-offset determines current-set",
        "MultiHarp: functions of the vendor's header, error texts",
        "MultiHarp: hardware information before MH_Initialize",
        "MultiHarp: ReadFiFo returns in 0.5 ms",
        "TDC1: what the vendor's software sends",
        "TDC1: text in the binary stream",
        "an emulator raises for its input",
        "pty: sets lost when the client closes right after writing",
        "pty: TIOCEXCL stays after the client closed",
        "pty: 1000 queries get 512 replies",
        "no descriptors left: stderr grows",
        "one emulator for somebody else's software",
        "settings of emulators are in no document",
    ),
    "recordings": (
        "T3 events sorted within one header sync period",
        "whole-time formats taken to be in order",
        "default histogram bin ignores the tick",
        "resolutions that went through single precision",
        "a unit that the file does not carry is assumed silently",
        "formats that cannot be named on the command line",
        "header tags that contradict each other",
        "nearly all records damaged and still exit 0",
        "TOML with a byte order mark",
        "FIFO or stdin as input",
    ),
    "light": (
        "SIGHUP ends a node at once and leaves the laser emitting",
        "SIGKILL: emission stays on until somebody acts",
        "an interlock opened in mid run is never reported",
        "no way to ask for light again",
        "no command to switch everything off",
    ),
    "MQTT as a watcher sees it": (
        "MQTT: both ends publish the same topics and clear each other's alarm",
        "MQTT: two links of one site take each other's connection",
        "MQTT: an alarm cleared while the broker was away stays",
        "MQTT: peer_absent stays after a stop, a kill, into the next start",
        "MQTT: an idle publisher does not notice a broker restart",
        "alarms that outlive their cause within a run",
        "no alarm for aborted blocks, a bench that did not open, zero key",
        "MQTT: topics and payloads do not name the node",
        "MQTT: laser state, bias, temperatures are not published",
        "MQTT: no TLS to the broker, no client certificate",
        "MQTT: password_file relative, not UTF-8, 0644",
    ),
    "node and demo": (
        "node exits 0 without any key",
        "after the ledger died it runs on with light and without key",
        "demo --json prints no JSON when a node dies",
        "kill -9 or HUP of the demo leaves nodes and the key's folder",
        "the same seed gives different key on a loaded host",
        "channels = { A = 9 } on a four-input tagger accepted",
        "parameters found wrong only after the bench was opened",
        "5,000 nested brackets, 30 million comment lines",
        "--duration inf accepted",
        'a directory or a symlink loop is "no such station file"',
        'an unresolvable host is "is another node running here?"',
        'state_dir on a file is "File exists"',
        'wrong broker password is "broker lost"',
        "Ctrl-C while importing prints a traceback",
        "no time stamp in any line",
        "files of node --record cannot be analysed",
        "the terminal view loses QBER, key and alarms at 80x24",
        "spd_h_lost: without a reason",
    ),
    "command line": (
        "piped output is cut to 80 columns and fails on poor encodings",
        "numbers with 17 digits, rates as 2.101e+06",
        "plan for Micius shows 833,796 expected bits beside an account of 819,894",
        "yin2020 proposes thresholds that give 0 bits",
        'a far link is "recommended" probabilities 0.0000/0.0015/0.9985',
        "tracebacks: co_dbm = 4000, block_s = 1e15",
        "traceback: --png x.bmpx",
        'rate_hz = true, "1e9", mu = 500',
        '[chanel] reports "channel: Field required"',
        "the picture's range comes from the first link",
        "the picture has no marker at the link's own distance",
        "neumann2022 takes 10-14 s",
        "start of any command about 1 s",
        "bad input of any kind to any command",
    ),
}


def marked(folder: Path) -> dict[str, list[str]]:
    """Text of every ``pytest.mark.row`` → the tests with that mark."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.row":
                    words = ast.literal_eval(mark.args[0])
                    found[words].append(f"{path.relative_to(folder)}::{node.name}")
    return dict(found)


def test_every_fault_has_its_test_and_every_mark_its_fault() -> None:
    rows, found = [row for part in ROWS.values() for row in part], marked(TESTS)
    assert len(rows) == len(set(rows))
    assert not [row for row in rows if row not in found], "no test carries these"
    assert not set(found) - set(rows), "marks of no fault in the list"


def test_the_search_for_marks_sees_them(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(
        "import pytest\n@pytest.mark.row('a fault')\n@pytest.mark.leaks('x')\n"
        "async def test_it(): ...\ndef test_other(): ...\n"
    )
    assert marked(tmp_path) == {"a fault": ["test_x.py::test_it"]}


if __name__ == "__main__":
    for part, rows in ROWS.items():
        print(f"\n{part}")
        for row in rows:
            print(f"  {row}\n      " + "\n      ".join(marked(TESTS).get(row, ["NONE"])))
