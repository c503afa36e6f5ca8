"""A vendor's library in a process of its own, for libraries that one process may open only once, or
that take their process down with them.

The parent (:class:`LibraryProcess`) stands where the loaded library would; this file, run as a
program, is the child: it loads the library and makes the calls that it is asked for. Requests and
replies are JSON, one a line, on the child's standard input and output. The child ends when its
input does, so none outlives its parent; a parent that closes it ends it, even in a call that hangs.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import cffi

from photonlink.hal.errors import LinkClosed, LinkNotFound
from photonlink.hal.links.prototypes import Call, Function, Prototypes

END_S = 2.0


class LibraryProcess:
    """The parent's side. Used from the library's thread only, but for ``kill``."""

    def __init__(self, path: str, prototypes: Prototypes, uri: str) -> None:
        self._uri = uri
        table = [[f.name, f.arguments, f.returns] for f in prototypes.functions]
        self._process = subprocess.Popen(  # noqa: S603 - this very file
            [sys.executable, "-m", __name__, path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._table = table
        self.missing: list[str] = []
        self.stand_in = False

    def load(self) -> None:
        """Have it load the library: which functions it lacks, and whether it is a stand-in."""
        loaded = self._exchange(self._table)
        if "error" in loaded:
            raise LinkNotFound(f"the library cannot be loaded: {loaded['error']}", where=self._uri)
        self.missing, self.stand_in = loaded["missing"], loaded["stand_in"]

    def call(self, name: str, args: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
        """What the function returned, and what it wrote. LinkClosed when the child is gone."""
        reply = self._exchange([name, list(args)])
        if "error" in reply:
            raise TypeError(reply["error"])
        return reply["returned"], tuple(reply["values"])

    def _exchange(self, request: Any) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        line = ""
        if stdin is not None and stdout is not None:
            with contextlib.suppress(OSError, ValueError):  # gone, or closed here
                stdin.write(json.dumps(request) + "\n")
                stdin.flush()
                line = stdout.readline()
        if not line:
            raise LinkClosed(
                "the library has ended its process", where=self._uri,
                seen=f"exit status {self._process.poll()}",
            )  # fmt: skip
        return json.loads(line)

    def kill(self) -> None:
        """End the child, from any thread: first by the end of its input."""
        with contextlib.suppress(OSError, ValueError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def serve(path: str) -> None:
    """The child: a table first, then calls, until its input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the library prints is no reply
    functions = {row[0]: Function(*row) for row in json.loads(sys.stdin.readline())}
    ffi: Any = cffi.FFI()
    ffi.cdef(Prototypes(tuple(functions.values())).declarations + "\nint SIM_IsEmulator(void);")
    try:
        library: Any = ffi.dlopen(path)
        answer: dict[str, Any] = {
            "missing": [name for name in functions if not _has(library, name)],
            "stand_in": _has(library, "SIM_IsEmulator") and bool(library.SIM_IsEmulator()),
        }
    except OSError as error:
        answer = {"error": str(error)}
    while True:
        replies.write(json.dumps(answer) + "\n")
        replies.flush()
        line = sys.stdin.readline()
        if not line:
            return
        name, args = json.loads(line)
        try:
            call = Call(ffi, functions[name], args)
            returned = getattr(library, name)(*call.arguments)
            text = isinstance(returned, ffi.CData)
            plain = ffi.string(returned).decode("latin-1") if text else returned
            answer = {"returned": plain, "values": call.values()}
        except (TypeError, OverflowError) as error:
            answer = {"error": str(error)}


def _has(library: Any, name: str) -> bool:
    return hasattr(library, name)


if __name__ == "__main__":
    serve(sys.argv[1])
