"""A node's errors before it opens an instrument."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from photonlink.hal.errors import BenchError, LinkError
from photonlink.pipeline.cli.exit_status import ExitStatus
from photonlink.pipeline.cli.main import app
from photonlink.pipeline.demo.files import write_demo_files
from photonlink.pipeline.keys.locking import InUseError, lock_node
from photonlink.pipeline.node.node import Node, NodeOptions
from photonlink.pipeline.node.report import Reporter
from photonlink.pipeline.node.station import load_node_station
from photonlink.pipeline.node.transport import Listener, PeerAddress, _listen_hint


@pytest.mark.row('an unresolvable host is "is another node running here?"')
async def test_a_host_that_does_not_exist_is_no_other_node() -> None:
    with pytest.raises(LinkError, match="no such host"):
        await Listener(PeerAddress("no.such.host.invalid", 7101)).start()


async def test_a_port_in_use_is_another_node() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(LinkError, match="another node"):
            await Listener(PeerAddress("127.0.0.1", taken.getsockname()[1])).start()


def test_every_reason_has_its_own_advice() -> None:
    hints = {
        _listen_hint(OSError(number, "x"))
        for number in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES)
    }
    assert len(hints) == 3


@pytest.mark.row('state_dir on a file is "File exists"')
@pytest.mark.parametrize("name", ["state", "state/below"])
def test_a_state_folder_that_is_a_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "state").write_text("")
    with contextlib.ExitStack() as stack, pytest.raises(InUseError, match="file, not a folder"):
        lock_node(tmp_path / name, stack)


@pytest.mark.row("node exits 0 without any key")
@pytest.mark.parametrize(("bits", "status"), [(0, ExitStatus.NO_KEY), (1, ExitStatus.SUCCESS)])
def test_the_exit_status_of_a_node_tells_whether_there_is_key(
    bits: int, status: ExitStatus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(self: Node) -> dict[str, int]:
        return {"secret_bits": bits}

    monkeypatch.setattr(Node, "run", run)
    files = write_demo_files(tmp_path, 1, 7101, seed=None, block_bits=None)
    done = CliRunner().invoke(app, ["node", str(files.stations["alice"]), "--json-lines"])
    assert done.exit_code == status, done.output


@pytest.mark.row("no alarm for aborted blocks, a bench that did not open, zero key")
async def test_a_bench_that_does_not_open_is_an_alarm(tmp_path: Path) -> None:
    files = write_demo_files(tmp_path, 1, 7101, seed=None, block_bits=None)
    out = io.StringIO()
    node = Node(
        load_node_station(files.stations["alice"]),
        NodeOptions(),
        Reporter("alice", json_lines=True, out=out),
    )
    with pytest.raises(BenchError):  # no emulator runs, and no instrument is there
        await node.run()
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    (alarm,) = [e for e in told if e["event"] == "alarm"]
    assert (alarm["code"], alarm["active"]) == ("bench_not_opened", True)
    assert "pump: could not be opened" in alarm["text"]
    (summary,) = [e for e in told if e["event"] == "summary"]
    assert summary["secret_bits"] == 0


def test_a_second_node_is_refused_before_its_bench(tmp_path: Path) -> None:
    with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
        lock_node(tmp_path / "state", first)
        with pytest.raises(InUseError, match="uses this directory"):
            lock_node(tmp_path / "state", second)
