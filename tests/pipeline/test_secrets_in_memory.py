"""Row M6: secrets in the memory of a running process, read from outside (/proc/PID/mem)."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from photonlink.pipeline.keys.psk import create_psk

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc")

HEAD, FIXED = 28, 64  # bytes of the carrier's header; bytes of the secret before its pads
PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from stores import add_block, place
from photonlink.pipeline.keys.delivery import deliver
from photonlink.pipeline.keys.node_store import NodeStore
from photonlink.pipeline.keys.pads import BlockPads
from photonlink.pipeline.native.hashing import PolyMac
from photonlink.pipeline.native.secret import SecretBits

folder = Path(sys.argv[1])
store = NodeStore.open(place(folder))
psk = store.psk(folder / "link.psk")
pads = BlockPads(psk, store.ledger, store.keys)

def block(number, source):
    "A block whose key lies in a file that was there before: Python never sees it."
    store.ledger.append({"t": "block", "block": number, "status": "open"})
    with SecretBits.read_file(source, 0, 4096) as bits:
        seal = store.keys.put_key(number, bits)
    pads.reserve(number, {d: pads.next(d) for d in ("alice", "bob")})
    with psk.mac_key("alice") as key:
        mac = PolyMac(key)
    for direction in ("alice", "bob"):
        mac.update(b"a segment")
        with pads.take(number, direction) as pad:
            mac.tag(pad, 0)
    mac.close()
    store.ledger.append({"t": "block", "block": number, "status": "prepared",
                         "secret_bits": 4096, "key_seal": seal, "provenance": "real"})

for number in (1, 2, 3):
    block(number, folder / f"source-{number}")
for number in (1, 3):
    store.ledger.append({"t": "block", "block": number, "status": "released"})
store.ledger.append({"t": "block", "block": 2, "status": "burnt", "reason": "test"})
store.keys.remove(2)
pads.burn()
deliver(store.ledger, store.keys, 1, folder / "out", allow_marked=False)
print("done", flush=True)
sys.stdin.read()
"""


def mappings(pid: int) -> list[tuple[int, int, bool]]:
    """Start, end, and whether it is excluded from core files, of every readable mapping."""
    found: list[tuple[int, int, bool]] = []
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and len(words[1]) == 4:
            start, end = (int(n, 16) for n in words[0].split("-"))
            found.append((start, end if words[1].startswith("r") else start, False))
        elif words[0] == "VmFlags:" and "dd" in words:
            found[-1] = (*found[-1][:2], True)
    return found


def words(data: bytes) -> npt.NDArray[np.uint64]:
    return np.frombuffer(data[: len(data) // 8 * 8], dtype="<u8")


def seen(pid: int, secrets: dict[str, bytes], *, dumped: bool = False) -> dict[str, int]:
    """How many aligned 8-byte pieces of each secret are in memory; any 16 bytes of it contain one.

    dumped: search only memory that a core file would contain.
    """
    pieces = np.unique(np.concatenate([words(secret) for secret in secrets.values()]))
    likely = np.zeros(1 << 16, bool)
    likely[pieces & 0xFFFF] = True
    hits: set[int] = set()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for start, end, kept_out in mappings(pid):
            if dumped and kept_out:
                continue
            try:
                memory.seek(start)
                data = memory.read(end - start)
            except (OSError, OverflowError, ValueError):  # vvar, vsyscall
                continue
            for shift in range(8):
                found = words(data[shift:])
                found = found[likely[found & 0xFFFF]]
                hits.update(found[np.isin(found, pieces)].tolist())
    return {
        name: sum(piece in hits for piece in words(secret).tolist())
        for name, secret in secrets.items()
    }


@pytest.fixture
def running(tmp_path: Path) -> int:  # type: ignore[misc]
    create_psk(tmp_path / "link.psk", 1024)
    for number in (1, 2, 3):
        (tmp_path / f"source-{number}").write_bytes(os.urandom(512))
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(Path(__file__).parent)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdin
    try:
        assert process.stdout.readline() == "done\n"
        yield process.pid
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def test_m6_nothing_spent_delivered_or_burnt_is_in_memory(tmp_path: Path, running: int) -> None:
    carrier = (tmp_path / "link.psk").read_bytes()
    secret = carrier[HEAD:-32]
    pads = (len(secret) - FIXED) // 16
    handshake = 16 * (pads // 8)
    block = 16 * ((pads - 2 * (pads // 8)) // 2)
    start = FIXED + 2 * handshake
    spent = secret[start : start + 48] + secret[start + block : start + block + 48]
    key = (tmp_path / "out").read_bytes()
    assert key == (tmp_path / "source-1").read_bytes()
    rest, store_key = (
        secret[start + 64 : start + block],
        (tmp_path / "store.key").read_bytes()[8:40],
    )
    found = seen(
        running,
        {
            "spent pads": spent,
            "delivered key": key,
            "burnt key": (tmp_path / "source-2").read_bytes(),
            "stored key": (tmp_path / "source-3").read_bytes(),
            "pads to be used": rest,
            "key of the store": store_key,
        },
    )
    assert found == {
        "spent pads": 0, "delivered key": 0, "burnt key": 0, "stored key": 0,
        "pads to be used": len(rest) // 8,  # shows that the scan finds secrets
        "key of the store": 4,
    }  # fmt: skip
    in_core_file = seen(running, {"psk": secret, "key of the store": store_key}, dumped=True)
    assert in_core_file == {"psk": 0, "key of the store": 0}


def test_m6_the_command_line_allows_no_core_file_and_no_debugger(tmp_path: Path) -> None:
    program = (
        "import sys; sys.argv = ['photonlink', 'psk', 'new', sys.argv[1]]\n"
        "from photonlink.pipeline.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "import resource\n"
        "from pathlib import Path\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), Path('/proc/self/mem').stat().st_uid)\n"
    )
    seen_as = {}
    for name in ("", "allowed"):
        environment = os.environ | {"PHOTONLINK_DEBUGGER": name}
        command = [sys.executable, "-c", program, str(tmp_path / f"{name}.psk")]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        seen_as[name] = done.stdout.splitlines()[-1].rsplit(" ", 1)
    assert seen_as[""][0] == "(0, 0)"
    assert seen_as[""][1] == "0", "a process that is not dumpable belongs to root in /proc"
    assert seen_as["allowed"][0] == str(resource.getrlimit(resource.RLIMIT_CORE))
