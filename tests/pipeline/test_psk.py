"""The pre-shared key file: created once, private, and refused when invalid in any way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from photonlink.pipeline.keys.psk import MIN_BYTES, PreSharedKey, PskError, create_psk, load_psk


def test_a_file_comes_back_as_the_same_key(tmp_path: Path) -> None:
    path = tmp_path / "link.psk"
    key_id = create_psk(path, 4096)
    first, second = load_psk(path), load_psk(path)
    assert first.key_id == key_id == second.key_id
    assert first.prove(b"x") == second.prove(b"x")
    assert first.check(second.prove(b"x"), b"x")
    assert not first.check(second.prove(b"x"), b"y")
    assert first.mac_key("bob").equals(second.mac_key("bob"))
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600


def test_two_files_hold_different_keys(tmp_path: Path) -> None:
    ids = {create_psk(tmp_path / name) for name in "abc"}
    assert len(ids) == 3
    keys = [load_psk(tmp_path / name) for name in "abc"]
    assert len({key.prove(b"x") for key in keys}) == 3


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "link.psk"
    create_psk(path)
    before = path.read_bytes()
    with pytest.raises(PskError, match="never overwritten"):
        create_psk(path)
    assert path.read_bytes() == before


@pytest.mark.skipif(os.name != "posix", reason="file modes are checked on POSIX only")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "link.psk"
    create_psk(path)
    path.chmod(mode)
    with pytest.raises(PskError, match="chmod 600"):
        load_psk(path)


@pytest.mark.parametrize("damage", ["cut", "long", "magic", "empty", "absent"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "link.psk"
    create_psk(path)
    whole = path.read_bytes()
    changed = {
        "cut": whole[:-1], "long": whole + b"\0", "magic": b"X" + whole[1:], "empty": b"",
    }  # fmt: skip
    if damage == "absent":
        path.unlink()
    else:
        path.write_bytes(changed[damage])
    with pytest.raises(PskError) as caught:
        load_psk(path)
    assert str(path) in str(caught.value)


def test_all_parts_are_different_places_of_the_secret() -> None:
    psk = PreSharedKey.generate(MIN_BYTES)
    parts = [psk.mac_key("alice"), psk.mac_key("bob")]
    for handshake in (True, False):
        size = psk.pool_bytes(handshake)
        assert size % 16 == 0
        assert size > 0
        for direction in ("alice", "bob"):
            parts += [psk.pad(direction, handshake, p, 16) for p in range(0, size, 16)]
            for position in (-1, size - 15, size):
                with pytest.raises(IndexError):
                    psk.pad(direction, handshake, position, 16)
    seen = {bytes(part.disclose()) for part in parts}
    assert len(seen) == len(parts)
    assert 16 * len(parts) + 32 <= MIN_BYTES


@pytest.mark.parametrize("n_bytes", [0, MIN_BYTES - 1, (1 << 24) + 1])
def test_an_impossible_size_is_refused(n_bytes: int) -> None:
    with pytest.raises(PskError):
        PreSharedKey.generate(n_bytes)


def test_nothing_secret_in_the_repr() -> None:
    psk = PreSharedKey.generate(MIN_BYTES)
    assert psk.mac_key("alice").disclose().hex() not in repr(psk)
    assert psk.key_id in repr(psk)
