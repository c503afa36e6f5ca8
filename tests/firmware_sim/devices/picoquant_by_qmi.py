"""``picoquant_by_qmi.py FAMILY MODE BINNING``: a measurement with QMI, printed as JSON.

A program of its own: QMI loads the vendor's library by its name, so its folder must be in
LD_LIBRARY_PATH before the program starts.
"""

import json
import sys
import time

import qmi
from qmi.instruments.picoquant.hydraharp import PicoQuant_HydraHarp400
from qmi.instruments.picoquant.multiharp import PicoQuant_MultiHarp150
from qmi.instruments.picoquant.picoharp import PicoQuant_PicoHarp300

TACQ_MS = 400
KINDS = {
    "mh": PicoQuant_MultiHarp150,
    "hh": PicoQuant_HydraHarp400,
    "ph": PicoQuant_PicoHarp300,
}


def main(family: str, mode: str, binning: int) -> None:
    qmi.start("picoquant", None)
    harp = qmi.make_instrument("harp", KINDS[family], "1000007")
    harp.open()
    harp.initialize(*([mode] if family == "ph" else [mode, "INTERNAL"]))
    found = {
        "serial": harp.get_serial_number(),
        "info": harp.get_hardware_info(),
        "resolution": harp.get_base_resolution(),
        "tacq_ms": TACQ_MS,
    }
    if mode != "T2":
        harp.set_binning(binning)
    if mode == "HIST" and family != "ph":
        harp.set_histogram_length(6)
    harp.start_measurement(TACQ_MS)
    events, end = [], time.monotonic() + 1.2
    while time.monotonic() < end:
        if mode != "HIST":
            events += [(int(kind), int(at)) for kind, at in harp.get_events()]
        time.sleep(0.05)
    assert not harp.get_measurement_active()
    found["flags"], found["warnings"] = harp.get_flags(), harp.get_warnings()
    harp.stop_measurement()
    if mode == "HIST":
        call = {"mh": (1,), "hh": (1, 0), "ph": (0,)}[family]
        found["histogram"] = harp.get_histogram(*call).tolist()
    else:
        found["events"] = [[t for kind, t in events if kind == n] for n in range(8)]
        found["syncs"] = [t for kind, t in events if kind == 64]
    harp.close()
    qmi.stop()
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
