"""cffi definition of ``_kernels``: the cdef is the declarations header itself."""

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
ffibuilder = FFI()
ffibuilder.cdef((HERE / "kernels_decl.h").read_text(encoding="utf-8"))
ffibuilder.set_source("photonlink.firmware_sim.physics._kernels", '#include "kernels.h"\n')
