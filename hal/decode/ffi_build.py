"""cffi definition of ``_decode``: the cdef is this room's public headers, joined."""

import runpy
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
cdef = runpy.run_path(str(HERE / "join_headers.py"))["cdef"]
ffibuilder = FFI()
ffibuilder.cdef(cdef(HERE / "decode.h", HERE / "include"))
ffibuilder.set_source("photonlink.hal._decode", '#include "decode.h"\n')
