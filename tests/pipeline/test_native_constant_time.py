"""The core's secret-handling functions neither branch on secrets nor use them as addresses.

The secrets are marked as undefined memory, and Memcheck reports every branch or address that
depends on them. Covers the kernels that valgrind can run; with PHOTONLINK_LONG (the longer job,
``.ci/sanitize secrets``) built by gcc and clang at -O1 and -O3.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CORE = Path(__file__).resolve().parents[2] / "pipeline/core"
PARTS = "cpu secret gf128* polymac sha256 toeplitz* cascade* ldpc* sift_bitmap"
SOURCES = [path for pattern in PARTS.split() for path in sorted(CORE.glob(f"{pattern}.c"))]
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
BUILDS = [(name, level) for name in COMPILERS for level in ("-O3", "-O1")]
if not os.environ.get("PHOTONLINK_LONG"):
    BUILDS = BUILDS[:1]

pytestmark = [
    pytest.mark.skipif(not shutil.which("valgrind"), reason="needs valgrind"),
    pytest.mark.skipif(not COMPILERS, reason="needs gcc or clang"),
]


def build(compiler: str, optimisation: str, folder: Path) -> Path:
    program = folder / "constant_time"
    folders = (CORE, CORE / "include", CORE.parents[1] / "hal" / "decode" / "include")
    command = [compiler, "-std=c11", "-D_GNU_SOURCE", optimisation]
    command += [f"-I{folder}" for folder in folders]
    command += [str(CORE / "test/test_constant_time.c"), *map(str, SOURCES)]
    subprocess.run([*command, "-o", str(program), "-pthread", "-lm"], check=True, timeout=400)
    return program


def memcheck(program: Path, level: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["valgrind", "--error-exitcode=9", "-q", str(program), *arguments]
    environment = os.environ | {"PHOTONLINK_SIMD": level}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(("compiler", "optimisation"), BUILDS)
def test_no_branch_and_no_address_depends_on_a_secret(
    compiler: str, optimisation: str, tmp_path: Path
) -> None:
    program = build(compiler, optimisation, tmp_path)
    for level in ("portable", "sse", "avx2"):
        done = memcheck(program, level)
        assert done.returncode == 0, done.stderr
    found = memcheck(program, "portable", "leak")
    assert found.returncode == 9
    assert "depends on uninitialised value" in found.stderr
