"""Every method of every context of the core, found by inspection. A call after release, with a
released key or with a seed of the wrong length gives a named error. Also lengths of 2^31 + 1 for
every length argument. New methods are found and called automatically; a new argument name fails
until it is added to VALUES."""

from __future__ import annotations

import copy
import importlib
import inspect
import mmap
import pickle
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import photonlink.pipeline.native as native
from photonlink.pipeline.native import base
from photonlink.pipeline.native.base import (
    NativeArgumentError,
    NativeError,
    NativeStateError,
)
from photonlink.pipeline.native.cascade import CascadeAlice, CascadeBob
from photonlink.pipeline.native.cascade_many import CascadeAlices, CascadeBobs
from photonlink.pipeline.native.events import NativeEvents
from photonlink.pipeline.native.hashing import PolyMac, Toeplitz, simd_level, verification_hash
from photonlink.pipeline.native.ldpc import LdpcAlice, LdpcBob
from photonlink.pipeline.native.matching import match_count, match_pairs
from photonlink.pipeline.native.quiet import NativeQuiet, Noise, Slot, SlotClock
from photonlink.pipeline.native.sealing import SealingKey
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.native.sifting import sift_bits

HUGE = 2**31 + 1
N = 9000  # bits of a key in these tests
SEED = bytes(32)
lib, ffi = base.lib, base.ffi


def _key(bits: int = N) -> SecretBits:
    return SecretBits.random(bits)


def _times(*values: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array(values, np.int64)


def _store() -> NativeEvents:
    channel_map = np.full(256, 255, np.uint8)
    channel_map[1:5] = range(4)
    return NativeEvents(channel_map, 100, 1 << 16)


def _quiet() -> NativeQuiet:
    channel_map = np.full(256, 255, np.uint8)
    channel_map[1:5] = range(4)
    return NativeQuiet(
        channel_map,
        delay_ps=(0, 0, 0, 0),
        scale_ps=100,
        bound_ps=4000,
        quiet_ps=50_000,
        seed=SEED,
        max_events=1 << 16,
    )


def _many(cls: type[Any], extra: dict[str, Any]) -> Any:
    """A context with a key in progress in slot 0."""
    many = cls(1)
    many.start(0, _key(), 0, N, seed=SEED, **extra)
    return many


def _amplification() -> Toeplitz:
    context = Toeplitz()
    context.begin(N, N // 2)
    context.add(_key())
    return context


CONTEXTS: dict[type[Any], Callable[[], Any]] = {
    SecretBits: _key,
    SealingKey: SealingKey.fresh,
    CascadeAlice: lambda: CascadeAlice(_key(), qber=0.1, seed=SEED, leak_cap_bits=N),
    CascadeBob: lambda: CascadeBob(_key(), qber=0.1, seed=SEED),
    CascadeAlices: lambda: _many(CascadeAlices, {"leak_cap_bits": N}),
    CascadeBobs: lambda: _many(CascadeBobs, {"qber": 0.1}),
    LdpcAlice: lambda: LdpcAlice(_key(), qber=0.1, seed=SEED, leak_cap_bits=N),
    LdpcBob: lambda: LdpcBob(_key(), qber=0.1, seed=SEED),
    PolyMac: lambda: PolyMac(_key(128)),
    Toeplitz: _amplification,
    NativeEvents: _store,
    NativeQuiet: _quiet,
    Noise: lambda: Noise(SEED, scale_ps=100, bound_ps=4000),
}
# a valid value of every argument, by name
VALUES: dict[str, Callable[[], Any]] = {
    **dict.fromkeys(("key", "x", "other", "pad", "bits", "key_block"), _key),
    "y": lambda: _key(N // 2),
    "seed": lambda: SEED,
    "qber": lambda: 0.1,
    "leak_cap_bits": lambda: N,
    **dict.fromkeys(("request", "parities", "syndrome", "nonce"), lambda: bytes(8)),
    "data": lambda: bytearray(8),
    **dict.fromkeys(("tag", "public_key"), lambda: bytes(16)),
    **dict.fromkeys(
        ("slot", "at", "first", "start", "pad_offset_bits", "time_ps", "start_ps"), lambda: 0
    ),
    **dict.fromkeys(("n_bits", "n"), lambda: N),
    "n_out": lambda: N // 2,
    "stop": lambda: 8,
    "most": lambda: 9,
    "source": lambda: b"",
    "delay_ps": lambda: _times(0, 0, 0, 0),
    **dict.fromkeys(("index", "indices"), lambda: _times(0)),
    "end_ps": lambda: 9,
    "channel": lambda: np.ones(1, np.uint8),
    "randomness": lambda: bytes,
    **dict.fromkeys(("purpose", "context", "record"), lambda: bytes(48)),
    "descriptor": lambda: 1,
    "through_ps": lambda: 9,
    "clock": lambda: SlotClock(0),
    **dict.fromkeys(("window_ps", "track_ps"), lambda: 9),
    "bin_bits": lambda: 3,
    "offset_ps": lambda: None,
    "step_ps": lambda: 1,
    "target": lambda: Path("/dev/null"),
    "tag_bits": lambda: 64,
}
AMPLIFICATION_SEED = {
    "plain": (N + N // 2 - 1 + 7) // 8,
    **dict.fromkeys(("modified", "modified_into", "finish"), (N - 1 + 7) // 8),
}
OTHERS: dict[tuple[type[Any], str, str], Callable[[], Any]] = {
    (NativeEvents, "add", "time_ps"): lambda: _times(5),
    (NativeQuiet, "add", "time_ps"): lambda: _times(5),
    (Noise, "add", "time_ps"): lambda: _times(5),
    **{
        (NativeQuiet, name, "slot"): lambda: Slot(0, 9, 50_000, 3) for name in ("announce", "pairs")
    },
    (NativeQuiet, "pairs", "data"): lambda: bytes(4),
    (LdpcBob, "receive", "bits"): bytes,
    (CascadeAlices, "step", "target"): lambda: bytearray(4096),
    (CascadeBobs, "step", "target"): lambda: bytearray(4096),
    **{
        (Toeplitz, name, "seed"): lambda n=n: bytes(n)  # type: ignore[misc]
        for name, n in AMPLIFICATION_SEED.items()
    },
}
# properties implemented in Python alone: the record at which the last step stopped
WITHOUT_C = {(CascadeAlices, "failed_at"), (CascadeBobs, "failed_at")}


def _classes() -> set[type[Any]]:
    """All classes that hold C memory: every class of pipeline/native with ``close``."""
    found = set()
    for module in pkgutil.iter_modules(native.__path__):
        where = f"{native.__name__}.{module.name}"
        for _, cls in inspect.getmembers(importlib.import_module(where), inspect.isclass):
            if cls.__module__ == where and hasattr(cls, "close") and cls is not base.Handle:
                found.add(cls)
    return found


def _members() -> list[tuple[type[Any], str]]:
    return [
        (cls, name)
        for cls in CONTEXTS
        for name, member in inspect.getmembers_static(cls)
        if not name.startswith("_") and name != "close"
        if isinstance(member, property) or inspect.isfunction(member)
        if (cls, name) not in WITHOUT_C
    ]


def _parameters(cls: type[Any], name: str) -> list[str]:
    member = inspect.getattr_static(cls, name)
    if isinstance(member, property):
        return []
    return [
        p.name
        for p in list(inspect.signature(member).parameters.values())[1:]
        if p.default is inspect.Parameter.empty or p.name in VALUES
    ]


def _arguments(cls: type[Any], name: str) -> dict[str, Any]:
    names = _parameters(cls, name)
    return {n: (OTHERS.get((cls, name, n)) or VALUES[n])() for n in names}


def _call(context: Any, name: str, arguments: dict[str, Any]) -> Any:
    member = getattr(context, name)  # evaluates a property
    return member(**arguments) if callable(member) else member


EVERY = [pytest.param(cls, name, id=f"{cls.__name__}.{name}") for cls, name in _members()]


def test_every_context_is_known() -> None:
    assert _classes() == set(CONTEXTS)
    assert len(EVERY) > 60


@pytest.mark.parametrize(("cls", "name"), EVERY)
def test_after_release_a_named_error(cls: type[Any], name: str) -> None:
    context = CONTEXTS[cls]()
    context.close()
    context.close()  # a second close is allowed
    with pytest.raises(NativeStateError):
        _call(context, name, _arguments(cls, name))


@pytest.mark.parametrize(("cls", "name"), EVERY)
def test_a_released_key_is_a_named_error(cls: type[Any], name: str) -> None:
    arguments = _arguments(cls, name)
    keys = [n for n, value in arguments.items() if isinstance(value, SecretBits)]
    if not keys:
        return
    for key in keys:
        context = CONTEXTS[cls]()
        arguments[key].close()
        with pytest.raises(NativeStateError):
            _call(context, name, arguments)
        arguments[key] = VALUES[key]()
        context.close()


def test_a_released_key_is_refused_by_what_has_no_context() -> None:
    key, maps = _key(), [np.zeros((N + 7) // 8, np.uint8)] * 3
    key.close()
    for call in (
        lambda: CascadeAlice(key, qber=0.1, seed=SEED, leak_cap_bits=9),
        lambda: CascadeBob(key, qber=0.1, seed=SEED),
        lambda: LdpcAlice(key, qber=0.1, seed=SEED, leak_cap_bits=9),
        lambda: LdpcBob(key, qber=0.1, seed=SEED),
        lambda: PolyMac(key),
        lambda: verification_hash(key, bytes(16), 64),
        lambda: sift_bits(key, *maps),
        lambda: SecretBits.concat([_key(), key]),
    ):
        with pytest.raises(NativeStateError):
            call()


SEEDED = [p for p in EVERY if "seed" in _parameters(*p.values)]  # type: ignore[arg-type]


@pytest.mark.parametrize(("cls", "name"), SEEDED)
@pytest.mark.parametrize("off", [-1, 1])
def test_a_seed_of_the_wrong_length_is_refused(cls: type[Any], name: str, off: int) -> None:
    arguments = _arguments(cls, name)
    before = arguments["y"].export() if "y" in arguments else b""
    arguments["seed"] = bytes(len(arguments["seed"]) + off)
    context = CONTEXTS[cls]()
    with pytest.raises(ValueError):  # noqa: PT011 - NativeArgumentError or a length error
        _call(context, name, arguments)
    if "y" in arguments:
        assert arguments["y"].export() == before  # no partial output
    context.close()


@pytest.mark.parametrize("cls", [CascadeAlice, CascadeBob, LdpcAlice, LdpcBob])
@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_new_context_refuses_a_seed_of_the_wrong_length(cls: type[Any], length: int) -> None:
    cap = {"leak_cap_bits": 9} if cls in (CascadeAlice, LdpcAlice) else {}
    with pytest.raises(ValueError, match=f"{length} bytes, 32"):
        cls(_key(), qber=0.1, seed=bytes(length), **cap)


# ---- 2^31 + 1 ----


def test_keys_of_more_than_2_to_31_bits(huge: SecretBits) -> None:
    alices, bobs = CONTEXTS[CascadeAlices](), CONTEXTS[CascadeBobs]()
    alice, bob = CONTEXTS[LdpcAlice](), CONTEXTS[LdpcBob]()
    leak = alice.leak_bits
    refused: list[Callable[[], Any]] = [
        lambda: LdpcAlice(huge, qber=0.1, seed=SEED, leak_cap_bits=9),
        lambda: LdpcBob(huge, qber=0.1, seed=SEED),
        lambda: alice.restart(huge, qber=0.1, seed=SEED, leak_cap_bits=9),
        lambda: bob.restart(huge, qber=0.1, seed=SEED),
        lambda: alices.start(0, huge, 0, HUGE, seed=SEED, leak_cap_bits=9),
        lambda: alices.start(0, huge, HUGE - 1, HUGE, seed=SEED, leak_cap_bits=9),
        lambda: alices.start(HUGE - 1 - 2**31, huge, HUGE, 8, seed=SEED, leak_cap_bits=9),
        lambda: Toeplitz().begin(N, HUGE),
        lambda: Toeplitz().begin(-HUGE, 0),
        lambda: _amplification().add(huge),
    ]
    for call in refused:
        with pytest.raises(NativeError):
            call()
    assert alice.leak_bits == leak
    # the last piece of a key of more than 2^31 bits is accepted like any other
    alices.start(0, huge, 2**31 - 8000, 8001, seed=SEED, leak_cap_bits=9)
    with pytest.raises(NativeArgumentError):
        bobs.store(0, huge, 2**31 - 8, 10)


def _zeros(n_bytes: int) -> mmap.mmap:
    """Zeros: the same page, mapped repeatedly."""
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    memory = mmap.mmap(-1, n_bytes, flags=private, prot=mmap.PROT_READ)
    memory.madvise(mmap.MADV_HUGEPAGE)  # avoids half a million page faults
    return memory


def test_more_gates_than_2_to_31(huge: SecretBits) -> None:
    last = np.zeros((HUGE + 7) // 8, np.uint8)
    last[-1] = 0x80
    bases = np.frombuffer(_zeros(len(last)), np.uint8)
    with sift_bits(huge, last, bases, bases) as out:
        assert len(out) == 1
        assert out.ones() == 0


def _product(a: int, b: int) -> int:
    """Product in GF(2^128), modulo x^128 + x^7 + x^2 + x + 1."""
    out = 0
    for i in range(127, -1, -1):
        out = out << 1 ^ (0x87 | 1 << 128 if out >> 127 else 0)
        out ^= a if b >> i & 1 else 0
    return out


def test_more_bytes_than_2_to_31_are_all_counted() -> None:
    """The hash of zeros is their number in bits times the key."""
    n = HUGE if simd_level() not in ("portable", "sse") else 2**20 + 1  # these take half a minute
    key = 0x0F1E2D3C4B5A69788796A5B4C3D2E1F0
    mac = PolyMac(SecretBits.take(bytearray(key.to_bytes(16))))
    with _zeros(n) as zeros, memoryview(zeros) as view:
        mac.update(view)
    assert int.from_bytes(mac.tag(SecretBits(128), 0)) == _product(8 * n, key)


def test_more_times_than_2_to_31() -> None:
    """All times are equal, so both loops end early; the length must not be truncated."""
    many = np.frombuffer(_zeros(8 * HUGE), np.int64)
    some = _times(-5, -3, 0)
    assert match_count(some, many, 0) == 1
    assert [x.tolist() for x in match_pairs(some, many, 0)] == [[2], [0]]


@pytest.mark.parametrize("cls", list(CONTEXTS), ids=lambda cls: cls.__name__)
def test_no_context_is_copied_or_pickled(cls: type[Any]) -> None:
    """Two Python objects that share one C object would free it twice."""
    context = CONTEXTS[cls]()
    handle = context._handle
    for made in (context, handle):
        for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="copied"):
                attempt(made)
