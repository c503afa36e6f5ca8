"""``wlm_by_qmi.py``: reads a HighFinesse wavemeter with QMI, and prints JSON.

A program of its own: QMI loads ``libwlmData.so`` by its name (LD_LIBRARY_PATH).
"""

import json

import qmi
from qmi.core.exceptions import QMI_InstrumentException
from qmi.instruments.high_finesse.wlm import HighFinesse_Wlm

qmi.start("wavemeter", None)
wlm = qmi.make_instrument("wlm", HighFinesse_Wlm)
wlm.open()
found = {
    "version": wlm.get_version(),
    "model": wlm.get_idn().model,
    "started": wlm.start_server(),
    "state": wlm.get_operation_state(),
    "thz": wlm.get_frequency(1),
    "nm": wlm.get_wavelength(1),
    "uw": wlm.get_power(1),
}
for channel in (2, 8):
    try:
        wlm.get_wavelength(channel)
    except QMI_InstrumentException as error:
        found[f"channel {channel}"] = str(error)
wlm.stop_server()
found["stopped"] = wlm.get_operation_state()
wlm.close()
qmi.stop()
print(json.dumps(found))
