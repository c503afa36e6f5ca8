"""A node's errors before it opens an instrument."""

from __future__ import annotations

import contextlib
import errno
import socket
from pathlib import Path

import pytest

from photonlink.hal.errors import LinkError
from photonlink.pipeline.keys.locking import InUseError, lock_node
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


def test_a_second_node_is_refused_before_its_bench(tmp_path: Path) -> None:
    with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
        lock_node(tmp_path / "state", first)
        with pytest.raises(InUseError, match="uses this directory"):
            lock_node(tmp_path / "state", second)
