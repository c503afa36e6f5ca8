"""A small vendor library in C, built for tests of code that calls one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from photonlink.hal.links.prototypes import Function, Prototypes, nonzero_fails

SOURCE = """
#include <string.h>
#include <unistd.h>
int X_Add(int a, int b) { return a + b; }
int X_Sleep(int ms) { usleep(1000 * ms); return 0; }
int X_Fill(const char *name, int count, double *total, int *squares) {
  *total = strlen(name) + 0.5;
  for (int i = 0; i < count; i++) squares[i] = i * i;
  return 0;
}
int X_Version(void) { return -42; }
int X_Busy(void) { return 7; }
int X_Text(char *text, int code) { strcpy(text, code == -7 ? "no device" : "?"); return 0; }
"""
PROTOTYPES = Prototypes(
    (
        Function("X_Add", "int a, int b"),
        Function("X_Sleep", "int ms"),
        Function("X_Text", "out text[64] text, int code"),
        Function("X_Fill", "in text name, int count, out double total, out int[4] squares"),
        Function("X_Version", value=True),
        Function("X_Busy", fails=nonzero_fails),
    ),
    error_text="X_Text",
)


def build(folder: Path, extra: str = "") -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    source, library = folder / "x.c", folder / "libx.so"
    source.write_text(SOURCE + extra)
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True, timeout=60
    )
    return library
