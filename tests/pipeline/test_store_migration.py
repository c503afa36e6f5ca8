"""A store of version 1 becomes a sealed one; if that is impossible, it is burnt on request."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from stores import add_block, place
from typer.testing import CliRunner

from photonlink.hal.station import StationError
from photonlink.pipeline.cli.main import app
from photonlink.pipeline.keys.delivery import deliver, stored_blocks
from photonlink.pipeline.keys.ledger import Ledger, LedgerError
from photonlink.pipeline.keys.migrate import MigrationError, is_version_1, migrate
from photonlink.pipeline.keys.node_store import NodeStore
from photonlink.pipeline.keys.psk import MAGIC_1, PskError, create_psk, load_psk
from photonlink.pipeline.keys.restart import burn_store
from photonlink.pipeline.keys.store_key import StoreKeyError, create_key_file
from photonlink.pipeline.node.open_store import open_store
from photonlink.pipeline.node.station import load_node_station


def record(**fields: Any) -> bytes:
    body = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    length = struct.pack("<I", len(body))
    return b"\xa5\x5a" + length + struct.pack("<I", zlib.crc32(length + body)) + body


def block(number: int, status: str, **fields: Any) -> bytes:
    return record(t="block", block=number, status=status, **fields)


@pytest.fixture
def old(tmp_path: Path) -> dict[int, bytes]:
    """A store of version 1: block 1 delivered, 2 and 3 stored, 4 in doubt; 3 has refilled pads."""
    state = tmp_path / "state"
    (state / "keys").mkdir(parents=True, mode=0o700)
    log, keys = b"PLLEDGR1" + record(t="psk", id="ab") + record(t="session", epoch=5, id="s"), {}
    for number in (1, 2, 3, 4):
        refill = 16 if number == 3 else 0
        log += block(number, "open", sifted_bits=9, key_bits=5, test_bits=4, session="s")
        log += block(number, "prepared", secret_bits=512 + 32 * refill, provenance="real",
                     leak_bits=1, epsilon=1e-10, refill_handshake_bytes=refill,
                     refill_block_bytes=refill)  # fmt: skip
        keys[number] = os.urandom(64)
        if number != 1:
            (state / f"keys/block-{number:08d}.key").write_bytes(keys[number])
        if number != 4:
            log += block(number, "released")
    (state / "keys/block-00000003.pad").write_bytes(os.urandom(64))
    (state / "ledger.log").write_bytes(log + record(t="delivered", block=1))
    return keys


def test_stored_key_is_sealed_and_nothing_plain_stays(
    tmp_path: Path, old: dict[int, bytes]
) -> None:
    where = place(tmp_path)
    with pytest.raises(LedgerError, match="key migrate"):
        NodeStore.open(where)
    told = migrate(where)
    assert [t for t in told if "512 bits of key sealed" in t] == told[:2]
    assert "new pre-shared key" in told[-1]
    everything = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert not any(key[:16] in everything for key in old.values())
    with NodeStore.open(where) as store:
        assert [(b.block, b.bits) for b in stored_blocks(store.ledger)] == [(2, 512), (3, 512)]
        assert store.ledger.state.next_block == 5
        assert store.ledger.state.epoch == 5
        for number in (2, 3):
            deliver(store.ledger, store.keys, number, tmp_path / f"{number}", allow_marked=False)
            assert (tmp_path / f"{number}").read_bytes() == old[number]
    with pytest.raises(MigrationError, match="no store of version 1"):
        migrate(where)


# Stores of Alice and Bob, written by version 1 (commit e4d92bc), killed while block 5 was open:
# blocks 1 to 4 released, some of their lengths not whole bytes, block 1 delivered; and a carrier of
# the same version.
REAL = Path(__file__).resolve().parents[1] / "cases/store_version_1"


def edited(text: str, told: list[tuple[str, str]]) -> str:
    """The station file with the edits that the refusal names, by line."""
    lines, end = text.splitlines(), ""
    for number, what in told:
        line = lines[int(number) - 1]
        if "write schema = 2" in what:
            line = "schema = 2"
        elif "[channels]" in what and "move" in what:
            (inputs,) = re.findall(r"channels = \{ (.*?) \}", line)
            line, end = "", "\n[channels]\n" + inputs.replace(", ", "\n") + "\n"
        else:
            assert "settings.detector: delete this" in what
            line = re.sub(r'detector = "\w", ', "", line)
        lines[int(number) - 1] = line
    return "\n".join(lines) + end


def test_a_link_of_version_1_is_migrated_as_it_was_left(tmp_path: Path) -> None:
    """Runs the command for both ends with the stations of version 1: each refusal names the edits,
    and with these edits the migration continues."""
    plain, given = {}, {}
    for side in ("alice", "bob"):
        folder = tmp_path / side
        shutil.copytree(REAL, folder)
        station, state = folder / f"{side}.toml", folder / f"{side}-state"
        plain[side] = {p.name: p.read_bytes() for p in (state / "keys").glob("*.key")}
        run = CliRunner().invoke(app, ["key", "migrate", str(station)])
        assert isinstance(run.exception, StationError)
        told = re.findall(r"toml:(\d+): (.*)", str(run.exception))
        station.write_text(edited(station.read_text(), told))
        run = CliRunner().invoke(app, ["key", "migrate", str(station)])
        assert isinstance(run.exception, StoreKeyError)
        assert "new-store-key" in str(run.exception)
        assert "store_key" in str(run.exception)
        assert {p.name for p in (state / "keys").glob("*.key")} <= plain[side].keys()
        create_key_file(folder / "store.key")
        text = station.read_text().replace("[node]", '[node]\nstore_key = "store.key"')
        station.write_text(text)
        run = CliRunner().invoke(app, ["key", "migrate", str(station)])
        assert run.exit_code == 0, run.output
        assert run.output.count("bits of key sealed") == 3
        left = b"".join(p.read_bytes() for p in state.rglob("*") if p.is_file())
        assert not any(key[:16] in left for key in plain[side].values())
        listed = CliRunner().invoke(app, ["key", "list", str(station)])
        assert "block 1" not in listed.output
        assert "block 2: 605 bits, emulated" in listed.output
        for block in ("2", "3", "4"):
            out = folder / f"key-{block}"
            run = CliRunner().invoke(app, ["key", "take", str(station), block, str(out)])
            assert run.exit_code == 0, run.output
            assert out.read_bytes() == plain[side][f"block-{int(block):08d}.key"]
            given.setdefault(block, set()).add(out.read_bytes())
        (folder / "link.psk").chmod(0o600)  # git does not store this mode
        with open_store(load_node_station(station)) as store:
            assert store.ledger.state.next_block == 6
            assert store.ledger.state.epoch == 1
            with pytest.raises(PskError, match="psk new"):
                store.psk(folder / "link.psk")
    assert {block: len(keys) for block, keys in given.items()} == {"2": 1, "3": 1, "4": 1}


def test_a_migration_is_taken_up_again_after_a_crash(
    tmp_path: Path, old: dict[int, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash at each write of the migration to the ledger."""
    where, append = place(tmp_path), Ledger.append

    class Died(BaseException):
        pass

    for survived in range(20):
        left = [survived]

        def mortal(self: Ledger, record: dict[str, Any], left: list[int] = left) -> None:
            if not left[0]:
                raise Died
            left[0] -= 1
            append(self, record)

        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "append", mortal)
            try:
                migrate(where)
                break
            except Died:
                assert is_version_1(tmp_path / "state")
    assert survived > 3
    with NodeStore.open(where) as store:
        assert [b.block for b in stored_blocks(store.ledger)] == [2, 3]


def test_a_damaged_store_of_version_1_is_left_as_it_is(
    tmp_path: Path, old: dict[int, bytes]
) -> None:
    path = tmp_path / "state/ledger.log"
    changed = bytearray(path.read_bytes())
    changed[60] ^= 1
    path.write_bytes(changed)
    with pytest.raises(MigrationError, match="damaged"):
        migrate(place(tmp_path))
    assert path.read_bytes() == changed
    assert (tmp_path / "state/keys/block-00000002.key").read_bytes() == old[2]


def test_a_pre_shared_key_of_version_1_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "link.psk"
    create_psk(path, 1024)
    data = path.read_bytes()
    path.write_bytes(MAGIC_1 + data[8:-32])
    with pytest.raises(PskError, match="psk new"):
        load_psk(path)


def test_a_store_beyond_help_is_burnt_and_begins_anew(tmp_path: Path) -> None:
    with NodeStore.open(place(tmp_path)) as store:
        add_block(store, 1)
    path = tmp_path / "state/ledger.log"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(LedgerError, match="key restart"):
        NodeStore.open(place(tmp_path))
    assert burn_store(place(tmp_path)) == ["block-00000001.key", "ledger.log", "state.anchor"]
    with NodeStore.open(place(tmp_path)) as store:
        assert stored_blocks(store.ledger) == []
