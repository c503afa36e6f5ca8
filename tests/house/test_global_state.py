"""The native modules keep no state between calls except values that are set once."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter

import pytest

from photonlink.firmware_sim.physics import _kernels
from photonlink.hal import _decode
from photonlink.pipeline import _core

WRITABLE = {".data", ".bss", ".tdata", ".tbss"}
# from the compiler's start-up files and cffi's module
FOREIGN = {"completed.0", "__dso_handle", "__TMC_END__", "_cffi_exports", "_cffi_types"}
# from libsodium: function tables chosen by CPU features, under our pthread_once, and tables that
# are never written; its source of random numbers and its allocator are not used
SODIUM = {
    "implementation", "_cpu_features", "stream", "devices.0", "canary", "page_size",
    "optblocker_u64", "randombytes_sysrandom_implementation",
    "crypto_onetimeauth_poly1305_donna_implementation",
    "crypto_onetimeauth_poly1305_sse2_implementation",
    "crypto_stream_chacha20_ref_implementation",
    "crypto_stream_chacha20_dolbeau_ssse3_implementation",
    "crypto_stream_chacha20_dolbeau_avx2_implementation",
}  # fmt: skip
# written under a pthread_once only: the kernels' level (both), whether secrets are locked, and
# that libsodium's kernels were chosen
DECIDED_ONCE = {
    "core": Counter(once=2, decided=1, locking=1, kernels_chosen=1),
    "decode": Counter(once=1, decided=1),
    "kernels": Counter(),
}
MODULES = {"core": _core, "decode": _decode, "kernels": _kernels}

pytestmark = pytest.mark.skipif(not shutil.which("objdump"), reason="needs objdump (binutils)")


def writable(table: str) -> Counter[str]:
    """Objects of ``objdump -t`` in sections that stay writable, by name.

    Tables of pointers (.data.rel.ro) are written by the loader and then read-only.
    """
    found: Counter[str] = Counter()
    for line in table.splitlines():
        head, tab, tail = line.partition("\t")
        if tab and head.split()[-1] in WRITABLE and head.split()[-2] == "O":
            found[tail.split()[-1]] += 1
    return found


def symbols(path: str) -> str:
    return subprocess.run(
        ["objdump", "-t", path], capture_output=True, text=True, check=True, timeout=60
    ).stdout


@pytest.mark.parametrize("room", MODULES)
def test_nothing_is_writable_but_what_is_decided_once(room: str) -> None:
    path = MODULES[room].__file__
    assert path
    table = symbols(path)
    if "_cffi_types" not in table:
        pytest.skip("a stripped module names nothing")
    found = writable(table)
    assert found["_cffi_types"] == 1
    ours = Counter({name: n for name, n in found.items() if name not in FOREIGN | SODIUM})
    assert ours == DECIDED_ONCE[room]


def test_the_reader_sees_a_variable() -> None:
    line = "0000000000066304 l     O .bss\t0000000000000004              counter\n"
    thread = "0000000000000000 g     O .tbss\t0000000000000004 .hidden mine\n"
    constant = "0000000000066304 l     O .data.rel.ro\t0000000000000020              names\n"
    assert writable(line + thread + constant) == Counter(counter=1, mine=1)
