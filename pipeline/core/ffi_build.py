"""cffi definition of ``_core``: the cdef is this room's public headers, joined."""

import runpy
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
DECODE = HERE.parents[1] / "hal" / "decode"  # whose status and header joiner the core shares
cdef = runpy.run_path(str(DECODE / "join_headers.py"))["cdef"]
ffibuilder = FFI()
ffibuilder.cdef(cdef(HERE / "core.h", HERE / "include", DECODE / "include"))
ffibuilder.set_source("photonlink.pipeline._core", '#include "core.h"\n')
