"""Every call of the store fails once, with EIO and with ENOSPC; it recovers without a restart.

    python tests/reliability/store_faults.py [--every N] [--length CALLS]

A store's sequence (open, pre-shared key, blocks, pads, a delivery, compaction) runs once to count
its calls on files, then once more for every call that can fail, each in a process of its own. A
failed step is tried again, as in a node. Then the store is opened again: no key may be lost or
delivered twice, and no reported step may be missing. Exits with 1 otherwise.
"""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "pipeline"))
TRIES = 12
BURNT = 4  # the last block
PAGE = struct.Struct("@5l")  # fail_nth.c: first call, errno, length, calls seen, failed
T = TypeVar("T")


def again(call: Callable[[], T]) -> T:
    """Repeat a failed call in the same process, as a node does after a fault of its disk."""
    from photonlink.hal.errors import PhotonlinkError

    for left in reversed(range(TRIES)):
        try:
            return call()
        except PhotonlinkError:  # any other exception would end a node
            if not left:
                raise
    raise AssertionError


def distil(store: Any, number: int) -> bytes:
    """Do the steps of a block in the store, each repeated while it fails; its key."""
    from photonlink.pipeline.native.secret import SecretBits

    ledger, bits = store.ledger, SecretBits.random(512)

    def record(status: str, **fields: object) -> None:
        entry = ledger.state.blocks.get(number)
        if entry is None or entry.status != status:
            ledger.append({"t": "block", "block": number, "status": status, **fields})

    def reserve() -> None:
        spent = {d: ledger.state.pads.get(f"{d}/block", 0) for d in ("alice", "bob")}
        pads = {d: max(16 * number, at) for d, at in spent.items()}
        ledger.append({"t": "reserve", "block": number, "pads": pads})

    again(lambda: record("open", sifted_bits=9))
    seal = again(lambda: store.keys.put_key(number, bits))
    again(reserve)
    again(lambda: record("prepared", secret_bits=512, key_seal=seal, provenance="real"))
    if number == BURNT:
        again(lambda: record("burnt", reason="x"))
        again(lambda: store.keys.remove(number))
    else:
        again(lambda: record("released"))
    return bits.disclose()


def give(store: Any, out: Path, key: bytes) -> None:
    """Deliver block 1 at most once; if it is lost, the ledger records it."""
    from photonlink.hal.errors import PhotonlinkError
    from photonlink.pipeline.keys.delivery import deliver

    for _ in range(TRIES):
        try:
            deliver(store.ledger, store.keys, 1, out, allow_marked=False)
        except (PhotonlinkError, OSError):
            if 1 in store.ledger.state.delivered:  # recorded before a byte left: lost, and reported
                return
            out.unlink(missing_ok=True)
        else:
            break
    assert out.read_bytes() == key


def live(folder: Path) -> None:
    """Run the sequence once; raises AssertionError or PhotonlinkError when it went wrong."""
    from stores import place

    from photonlink.pipeline.keys.node_store import NodeStore

    where = place(folder)
    store = again(lambda: NodeStore.open(where))
    again(lambda: store.psk(folder / "link.psk")).close()
    keys = {number: distil(store, number) for number in range(1, BURNT + 1)}
    again(store.ledger.compact)
    give(store, folder.with_name(folder.name + "-out"), keys[1])
    again(lambda: store.ledger.append({"t": "session", "epoch": 1, "id": "s"}))
    store.close()
    os.environ["FAIL_FOLDER"] = ""
    with NodeStore.open(where) as found:
        check(found, keys)
        found.psk(folder / "absent").close()


def check(found: Any, keys: dict[int, bytes]) -> None:
    """Check the store after all faults."""
    state = found.ledger.state
    wanted = {1: "released", 2: "released", 3: "released", BURNT: "burnt"}
    assert {n: b.status for n, b in state.blocks.items()} == wanted
    assert state.epoch == 1
    assert state.delivered == {1}
    names = {p.name for p, _, _ in found.keys.files()}
    assert names == {"block-00000002.key", "block-00000003.key"}
    for number in (2, 3):
        with found.keys.get_key(number, 512, state.blocks[number].key_seal) as bits:
            assert bits.disclose() == keys[number]


def build(folder: Path) -> Path:
    shim = folder / "fail_nth.so"
    source = HERE / "fail_nth.c"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-D_LARGEFILE64_SOURCE", "-O1", str(source),
         "-o", str(shim), "-ldl"], check=True, timeout=60,
    )  # fmt: skip
    return shim


def one(folder: Path, number: int, code: int, length: int) -> tuple[bool, int]:
    """Run the sequence with one fault in a fork: whether it went well, and its number of calls."""
    life, control = folder / "life", folder / "control"
    shutil.rmtree(life, ignore_errors=True)
    (folder / "life-out").unlink(missing_ok=True)
    life.mkdir()
    shutil.copy(folder / "link.psk", life / "link.psk")
    shutil.copy(folder / "store.key", life / "store.key")
    with control.open("r+b") as page:  # in place, as it is mapped
        page.write(PAGE.pack(number, code, length, 0, 0))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.environ["FAIL_FOLDER"] = str(life / "state")
            live(life)
            status = 0
        except BaseException as error:  # noqa: BLE001 - it is printed, and the process ends
            print(f"call {number}, {errno.errorcode.get(code)}: {error!r}", flush=True)
        finally:
            sys.stdout.flush()
            sys.exit(status)
    _, status = os.waitpid(child, 0)
    return status == 0, PAGE.unpack(control.read_bytes())[3]


def inside(folder: Path, every: int, length: int) -> int:
    """Try all faults, in a process with the shim loaded."""
    import stores

    from photonlink.pipeline.keys.psk import create_psk

    create_psk(folder / "link.psk", 1024)
    stores.place(folder)
    failed = tried = 0
    for code in (errno.EIO, errno.ENOSPC):
        well, calls = one(folder, 0, code, 1)
        if not well or calls < 50:
            print(f"without a fault: {calls} calls")
            return 1
        for number in range(1 + (every > 1) * (code % every), calls + 1, every):
            tried += 1
            failed += not one(folder, number, code, length)[0]
    print(f"{tried} faults of {length} in a row, {failed} went wrong")
    return int(failed > 0)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--length", type=int, default=1)
    parser.add_argument("--inside", type=Path)
    options = parser.parse_args()
    if options.inside:
        return inside(options.inside, options.every, options.length)
    with tempfile.TemporaryDirectory(prefix="photonlink-faults-") as name:
        folder = Path(name)
        (folder / "control").write_bytes(PAGE.pack(0, 0, 1, 0, 0))
        environment = os.environ | {
            "LD_PRELOAD": str(build(folder)),
            "FAIL_FOLDER": "",
            "FAIL_CONTROL": str(folder / "control"),
            "PHOTONLINK_SECRET_MEMORY": "unlocked",
        }
        command = [sys.executable, __file__, "--inside", name]
        command += ["--every", str(options.every), "--length", str(options.length)]
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
