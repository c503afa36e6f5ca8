"""Secret buffers: results, refusals, and no leak of bits."""

from __future__ import annotations

import copy
import hmac
import os
import pickle
import stat
import subprocess
import sys
import textwrap
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photonlink.pipeline.native.base import NativeArgumentError, NativeError, NativeStateError
from photonlink.pipeline.native.secret import SecretBits, SecretFileError, secret_memory_locked
from photonlink.pipeline.node.locked_memory import can_lock

LENGTHS = [0, 1, 7, 8, 9, 63, 64, 65, 127, 128, 129, 1000]
KNOWN = bytes(range(1, 65))  # a pattern that no message contains by chance


def make(bits: str) -> SecretBits:
    value = int(bits or "0", 2) << (-len(bits) % 8)
    return SecretBits.take(bytearray(value.to_bytes((len(bits) + 7) // 8, "big")), len(bits))


def text(secret: SecretBits) -> str:
    return "".join(f"{byte:08b}" for byte in secret.disclose())[: len(secret)]


@pytest.mark.parametrize("n", LENGTHS)
def test_new_is_zero_and_random_is_not(n: int) -> None:
    assert SecretBits(n).disclose() == bytes((n + 7) // 8)
    first, second = SecretBits.random(n), SecretBits.random(n)
    assert len(first) == len(first.slice(0, n)) == n
    if n >= 63:
        assert not first.equals(second)
        assert 0 < first.ones() < n
    if n % 8:
        assert first.disclose()[-1] & (0xFF >> n % 8) == 0


def test_take_moves_and_wipes() -> None:
    data = bytearray(b"\xff" * 9)
    secret = SecretBits.take(data, 65)
    assert data == bytes(9)
    assert text(secret) == "1" * 65
    with pytest.raises(NativeError):
        SecretBits.take(bytearray(2), 17)


bits = st.text(alphabet="01", max_size=300)


@given(st.lists(bits, max_size=6))
def test_concat(parts: list[str]) -> None:
    assert text(SecretBits.concat([make(part) for part in parts])) == "".join(parts)


@given(bits, st.data())
def test_slice_select_wipe(value: str, data: st.DataObject) -> None:
    n = len(value)
    start = data.draw(st.integers(0, n))
    stop = data.draw(st.integers(start, n))
    secret = make(value)
    assert text(secret.slice(start, stop)) == value[start:stop]
    if n:
        index = data.draw(st.lists(st.integers(0, n - 1), max_size=80))
        for dtype in (np.int64, np.uint32):
            chosen = secret.select(np.array(index, dtype=dtype))  # type: ignore[arg-type]
            assert text(chosen) == "".join(value[i] for i in index)
    secret.wipe_range(start, stop)
    assert text(secret) == value[:start] + "0" * (stop - start) + value[stop:]


@given(bits, bits)
def test_xor_equals_ones(left: str, right: str) -> None:
    a, b = make(left), make(right)
    assert a.equals(b) == (left == right)
    assert a.ones() == left.count("1")
    if len(left) != len(right):
        with pytest.raises(NativeArgumentError):
            a.xor_in(b)
        return
    a.xor_in(b)
    assert text(a) == "".join(str(int(x != y)) for x, y in zip(left, right, strict=True))


def test_equals_sees_every_single_bit() -> None:
    base = SecretBits.random(131)
    for i in range(131):
        other = base.slice(0, 131)
        flip = make("0" * i + "1" + "0" * (130 - i))
        other.xor_in(flip)
        assert not base.equals(other)
        other.xor_in(flip)
        assert base.equals(other)


def test_combining_a_buffer_with_itself() -> None:
    secret = SecretBits.random(77)
    assert secret.equals(secret)
    secret.xor_in(secret)
    assert secret.ones() == 0


@pytest.mark.parametrize(
    ("start", "stop"), [(-1, 4), (5, 4), (0, 33), (33, 33), (-(2**40), 1), (0, 2**40)]
)
def test_ranges_are_checked(start: int, stop: int) -> None:
    secret = SecretBits(32)
    with pytest.raises(NativeArgumentError):
        secret.slice(start, stop)
    with pytest.raises(NativeArgumentError):
        secret.wipe_range(start, stop)


def test_lengths_and_indices_are_checked() -> None:
    for n in (-1, 2**62):
        with pytest.raises(NativeArgumentError):
            SecretBits(n)
    secret = SecretBits(10)
    for index in (-1, 10, 2**40):
        with pytest.raises(NativeArgumentError):
            secret.select(np.array([0, index], np.int64))
    with pytest.raises(TypeError):
        secret.select(np.array([0.0]))
    assert len(secret.select(np.empty(0, np.int64))) == 0


@pytest.mark.parametrize("n", [0, 1, 8, 511, 512, 513, 519, 1000, 5000])
@pytest.mark.parametrize("nonce_bytes", [0, 1, 47, 48, 56, 111, 112, 1000])
def test_hmac_against_the_standard_library(n: int, nonce_bytes: int) -> None:
    secret, nonce = SecretBits.random(n), os.urandom(nonce_bytes)
    expected = hmac.digest(secret.disclose(), n.to_bytes(8, "big") + nonce, "sha256")
    assert secret.hmac_sha256(nonce) == expected


# ---- files ----


def test_files_round_trip_and_append(tmp_path: Path) -> None:
    path = tmp_path / "pool"
    first, second = SecretBits.random(128), SecretBits.random(100)
    path.write_bytes(b"old contents that must go")
    path.chmod(0o644)
    first.write_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    second.write_file(path, append=True)
    assert path.stat().st_size == 16 + 13
    assert SecretBits.read_file(path, 0, 128).equals(first)
    assert SecretBits.read_file(path, 16, 100).equals(second)
    assert SecretBits.read_file(path, 16, 99).equals(second.slice(0, 99))
    with (tmp_path / "other").open("wb") as file:
        first.write_file(file.fileno())
    assert (tmp_path / "other").read_bytes() == first.disclose()


def test_files_that_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "pool"
    SecretBits.random(80).write_file(path)
    for offset, n in ((0, 81), (10, 1), (11, 8), (2**40, 8)):
        with pytest.raises(SecretFileError, match=rf"bit {n} from byte {offset}"):
            SecretBits.read_file(path, offset, n)
    with pytest.raises(NativeArgumentError):
        SecretBits.read_file(path, -1, 8)
    with pytest.raises(SecretFileError, match="no such file"):
        SecretBits.read_file(tmp_path / "absent", 0, 8)
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(OSError, match="symbolic"):
        SecretBits(8).write_file(link)
    if Path("/dev/full").exists():
        fd = os.open("/dev/full", os.O_WRONLY)
        try:
            with pytest.raises(SecretFileError, match="disk"):
                SecretBits.random(8).write_file(fd)
        finally:
            os.close(fd)


# ---- after release, and protection of the bits ----


def test_nothing_works_after_close(tmp_path: Path) -> None:
    secret, other = SecretBits.take(bytearray(KNOWN)), SecretBits(512)
    with secret:
        assert secret.ones() > 0
    secret.close()
    assert len(secret) == 512
    calls: list[Any] = [
        secret.disclose,
        secret.export,
        secret.ones,
        lambda: secret.handle,
        lambda: secret.slice(0, 1),
        lambda: secret.select(np.zeros(1, np.int64)),
        lambda: secret.hmac_sha256(b""),
        lambda: secret.wipe_range(0, 1),
        lambda: secret.xor_in(other),
        lambda: other.xor_in(secret),
        lambda: other.equals(secret),
        lambda: SecretBits.concat([other, secret]),
        lambda: secret.write_file(tmp_path / "x"),
    ]
    for call in calls:
        with pytest.raises(NativeStateError):
            call()


def fragments() -> list[str]:
    return [KNOWN[i : i + 4].hex() for i in range(0, 60)] + [repr(KNOWN[8:16])[2:-1]]


def test_no_way_of_printing_or_copying_shows_bits() -> None:
    secret = SecretBits.take(bytearray(KNOWN))
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>80}",
        f"{[secret]}",
        f"{secret!a}",
    ]
    attempts: list[Any] = [
        lambda: pickle.dumps(secret),
        lambda: copy.copy(secret),
        lambda: copy.deepcopy(secret),
        lambda: bytes(secret),  # type: ignore[call-overload]
        lambda: list(secret),  # type: ignore[call-overload]
        lambda: memoryview(secret),  # type: ignore[arg-type]
        lambda: secret[0],  # type: ignore[index]
        lambda: secret == secret,
        lambda: secret != SecretBits(512),
        lambda: {secret},
        lambda: secret.__dict__,
        lambda: secret.slice(0, 10**6),
        lambda: secret.xor_in(SecretBits(1)),
        lambda: secret.select(np.array([999])),
    ]
    for attempt in attempts:
        with pytest.raises((TypeError, AttributeError, NativeError)) as caught:
            attempt()
        shown.append("".join(traceback.format_exception(caught.value)))
        shown.append(repr(caught.value))
    for fragment in fragments():
        assert not any(fragment in line for line in shown)
    assert repr(secret) == "<SecretBits of 512 bits>"


def mapping_flags(secret: SecretBits) -> set[str]:
    """VmFlags of a mapping with the flags that a secret must have; empty if there is none."""
    flags = [
        set(line.split()[1:])
        for line in Path("/proc/self/smaps").read_text().splitlines()
        if line.startswith("VmFlags")
    ]
    return next((f for f in flags if {"dd", "wf"} <= f and "wr" in f), set())


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux's /proc")
def test_memory_is_locked_not_dumped_not_inherited() -> None:
    secret = SecretBits.random(128)
    flags = mapping_flags(secret)
    assert {"dd", "wf"} <= flags  # dd: not in core dumps; wf: wiped on fork
    assert ("lo" in flags) == secret_memory_locked()


def run(code: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


LIMITED = """
    import os, resource
    from photonlink.pipeline.native.secret import SecretBits, secret_memory_locked
    from photonlink.pipeline.native.base import NativeMemoryError
    resource.setrlimit(resource.RLIMIT_MEMLOCK, ({soft}, {hard}))
    if os.geteuid() == 0:
        os.setuid(65534)  # root may lock without limit
    try:
        SecretBits({n_bits})
        print("allocated, locked:", secret_memory_locked())
    except NativeMemoryError as error:
        print("refused:", error)
"""


@pytest.mark.skipif(not can_lock(), reason="this machine allows too little locked memory")
def test_lock_limit_is_an_error_with_a_hint() -> None:
    done = run(LIMITED.format(soft=0, hard=0, n_bits=128))
    assert done.stdout.startswith("refused:"), done.stderr
    assert "ulimit -l" in done.stdout
    assert "PHOTONLINK_SECRET_MEMORY=unlocked" in done.stdout


@pytest.mark.skipif(not can_lock(), reason="this machine allows too little locked memory")
def test_lock_limit_is_raised_to_the_hard_one() -> None:
    done = run(LIMITED.format(soft=65536, hard=4 << 20, n_bits=8 << 20))
    assert done.stdout == "allocated, locked: True\n", done.stderr


def test_opting_out_of_locking_is_explicit_and_visible() -> None:
    limited = LIMITED.format(soft=0, hard=0, n_bits=128)
    done = run(limited, {"PHOTONLINK_SECRET_MEMORY": "unlocked"})
    assert done.stdout == "allocated, locked: False\n", done.stderr
    assert run(limited, {"PHOTONLINK_SECRET_MEMORY": "yes"}).stdout.startswith("refused")


def test_a_forked_child_has_no_secrets_and_does_not_crash() -> None:
    done = run(
        """
        import os
        from photonlink.pipeline.native.base import NativeStateError
        from photonlink.pipeline.native.secret import SecretBits
        from photonlink.pipeline.native.hashing import PolyMac, Toeplitz
        secret, toeplitz = SecretBits.random(128), Toeplitz()
        mac = PolyMac(secret)
        toeplitz.begin(1000, 1000)
        toeplitz.add(SecretBits.random(1000))
        child = os.fork()
        if child == 0:
            refused, own = 0, SecretBits.random(1000)
            for use in (
                secret.disclose, secret.ones,
                mac.reset, lambda: mac.update(b"with zeros as key"), lambda: mac.tag(own, 0),
                lambda: toeplitz.add(own, 0, 0), lambda: toeplitz.finish(own, bytes(125)),
            ):
                try:
                    use()
                except NativeStateError:
                    refused += 1
            secret.close()
            mac.close()
            os._exit(refused)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), secret.ones() > 0)
        """
    )
    assert done.stdout == "7 True\n", done.stderr
