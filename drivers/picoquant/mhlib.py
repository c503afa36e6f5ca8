"""The part of PicoQuant's MHLib that the driver uses: prototypes, modes, flags, warnings.

Names and signatures as in QMI's wrapper (``QuTech-Delft/QMI: qmi/instruments/picoquant``). Nothing
here comes from the vendor's header or package, whose licence ties it to bought hardware.
"""

from __future__ import annotations

import enum

from photonlink.hal.links.prototypes import Function, Prototypes

_DEVICE = "int device"
PROTOTYPES = Prototypes(
    (
        Function("MH_GetLibraryVersion", "out text[16384] version"),
        Function("MH_GetErrorString", "out text[16384] text, int code"),
        # the vendor says 8 bytes of serial number; a larger buffer costs nothing, cannot overrun
        Function("MH_OpenDevice", f"{_DEVICE}, out text[64] serial"),
        Function("MH_CloseDevice", _DEVICE),
        Function("MH_Initialize", f"{_DEVICE}, int mode, int reference"),
        Function(
            "MH_GetHardwareInfo",
            f"{_DEVICE}, out text[16384] model, out text[16384] part, out text[16384] version",
        ),
        Function("MH_GetBaseResolution", f"{_DEVICE}, out double ps, out int binning_steps"),
        Function("MH_GetNumOfInputChannels", f"{_DEVICE}, out int inputs"),
        Function("MH_SetInputEdgeTrg", f"{_DEVICE}, int input, int level_mv, int edge"),
        Function("MH_SetInputChannelOffset", f"{_DEVICE}, int input, int offset_ps"),
        Function("MH_SetInputDeadTime", f"{_DEVICE}, int input, int on, int dead_time_ps"),
        Function("MH_SetInputChannelEnable", f"{_DEVICE}, int input, int enable"),
        Function("MH_StartMeas", f"{_DEVICE}, int duration_ms"),
        Function("MH_StopMeas", _DEVICE),
        Function("MH_CTCStatus", f"{_DEVICE}, out int finished"),
        Function("MH_GetFlags", f"{_DEVICE}, out int flags"),
        Function("MH_GetElapsedMeasTime", f"{_DEVICE}, out double elapsed_ms"),
        Function("MH_ReadFiFo", f"{_DEVICE}, unsigned int *records, out int count"),
        Function("MH_GetSyncRate", f"{_DEVICE}, out int rate_hz"),
        Function("MH_GetCountRate", f"{_DEVICE}, int input, out int rate_hz"),
        Function("MH_GetWarnings", f"{_DEVICE}, out int warnings"),
    ),
    error_text="MH_GetErrorString",
)

MAX_DEVICES = 8
READ_RECORDS = 1_048_576
MODE_T2 = 2
REFERENCE = {"internal": 0, "external": 1}
OFFSET_LIMIT_PS = 99_999
LONGEST_MS = 360_000_000  # 100 h: the vendor's stated maximum, unverified here


class Flag(enum.IntFlag):
    """Status of a measurement."""

    OVERFLOW = 0x01  # of a histogram: means nothing in T2 mode
    FIFO_FULL = 0x02
    SYNC_LOST = 0x04  # normal in T2 mode when nothing is at the sync input
    REFERENCE_LOST = 0x08
    SYSTEM_ERROR = 0x10
    ACTIVE = 0x20
    COUNTS_DROPPED = 0x40


WARNINGS = {
    0x1: "sync rate is zero",
    0x2: "sync rate below 100 Hz",
    0x4: "sync rate too high",
    0x10: "no counts at any input",
    0x40: "total rate too high for the USB line",
    0x100: "input rate above 5 % of the sync rate",
    0x200: "sync divider above 1",
    0x400: "histogram span too small",
    0x800: "offset not needed",
    0x1000: "sync divider too small",
    0x2000: "counts dropped",
}


def warning_texts(bits: int) -> str:
    """The warnings in words; unknown bits as numbers."""
    words = [text for bit, text in WARNINGS.items() if bits & bit]
    rest = bits & ~sum(WARNINGS)
    return "; ".join([*words, *([f"0x{rest:x}"] if rest else [])])
