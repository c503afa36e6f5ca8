"""cffi definition of ``_decode``: the cdef is the declarations header itself."""

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
ffibuilder = FFI()
ffibuilder.cdef((HERE / "decode_decl.h").read_text(encoding="utf-8"))
ffibuilder.set_source("photonlink.hal._decode", '#include "decode.h"\n')
