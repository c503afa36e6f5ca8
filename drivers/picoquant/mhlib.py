"""The part of PicoQuant's MHLib, HHLib and PHLib that the drivers use: prototypes, modes, flags.

Names and signatures as in QMI's wrapper (``QuTech-Delft/QMI: qmi/instruments/picoquant``). Nothing
here comes from the vendor's header or package, whose licence ties it to bought hardware.
"""

from __future__ import annotations

import enum

from photonlink.hal.links.prototypes import Function, Prototypes

GONE = frozenset({-10, -36, -37, -38})
"""Device not open; a command, a bulk read, a reset over USB failed."""
_DEVICE = "int device"


def _functions(prefix: str, *more: Function) -> Prototypes:
    """The functions of all families, and further ones of one family."""
    shared = (
        Function(f"{prefix}_GetLibraryVersion", "out text[16384] version"),
        Function(f"{prefix}_GetErrorString", "out text[16384] text, int code"),
        # the vendor says 8 bytes of serial number; a larger buffer costs nothing, cannot overrun
        Function(f"{prefix}_OpenDevice", f"{_DEVICE}, out text[64] serial"),
        Function(f"{prefix}_CloseDevice", _DEVICE),
        Function(
            f"{prefix}_GetHardwareInfo",
            f"{_DEVICE}, out text[16384] model, out text[16384] part, out text[16384] version",
        ),
        Function(f"{prefix}_GetFeatures", f"{_DEVICE}, out int features"),
        Function(f"{prefix}_GetBaseResolution", f"{_DEVICE}, out double ps, out int binning_steps"),
        Function(f"{prefix}_GetResolution", f"{_DEVICE}, out double ps"),
        Function(f"{prefix}_SetSyncDiv", f"{_DEVICE}, int divider"),
        Function(f"{prefix}_SetBinning", f"{_DEVICE}, int binning"),
        Function(f"{prefix}_StartMeas", f"{_DEVICE}, int duration_ms"),
        Function(f"{prefix}_StopMeas", _DEVICE),
        Function(f"{prefix}_CTCStatus", f"{_DEVICE}, out int finished"),
        Function(f"{prefix}_GetFlags", f"{_DEVICE}, out int flags"),
        Function(f"{prefix}_GetElapsedMeasTime", f"{_DEVICE}, out double elapsed_ms"),
        Function(f"{prefix}_GetCountRate", f"{_DEVICE}, int input, out int rate_hz"),
        Function(f"{prefix}_GetWarnings", f"{_DEVICE}, out int warnings"),
    )
    return Prototypes((*shared, *more), gone=GONE, error_text=f"{prefix}_GetErrorString")


def _modular(prefix: str, *more: Function) -> Prototypes:
    """Functions of MultiHarp and HydraHarp that PicoHarp lacks."""
    return _functions(
        prefix,
        Function(f"{prefix}_Initialize", f"{_DEVICE}, int mode, int reference"),
        Function(f"{prefix}_GetNumOfInputChannels", f"{_DEVICE}, out int inputs"),
        Function(f"{prefix}_SetInputChannelOffset", f"{_DEVICE}, int input, int offset_ps"),
        Function(f"{prefix}_SetInputChannelEnable", f"{_DEVICE}, int input, int enable"),
        Function(f"{prefix}_GetSyncRate", f"{_DEVICE}, out int rate_hz"),
        Function(f"{prefix}_GetSyncPeriod", f"{_DEVICE}, out double seconds"),
        Function(f"{prefix}_ClearHistMem", _DEVICE),
        *more,
    )


PROTOTYPES = _modular(
    "MH",
    Function("MH_SetInputEdgeTrg", f"{_DEVICE}, int input, int level_mv, int edge"),
    Function("MH_SetSyncEdgeTrg", f"{_DEVICE}, int level_mv, int edge"),
    Function("MH_SetInputDeadTime", f"{_DEVICE}, int input, int on, int dead_time_ps"),
    Function("MH_ReadFiFo", f"{_DEVICE}, unsigned int *records, out int count"),
    Function("MH_GetHistogram", f"{_DEVICE}, unsigned int *counts, int input"),
)
HYDRAHARP = _modular(
    "HH",
    Function("HH_SetInputCFD", f"{_DEVICE}, int input, int level_mv, int zero_cross_mv"),
    Function("HH_SetSyncCFD", f"{_DEVICE}, int level_mv, int zero_cross_mv"),
    Function("HH_ReadFiFo", f"{_DEVICE}, unsigned int *records, int room, out int count"),
    Function("HH_GetHistogram", f"{_DEVICE}, unsigned int *counts, int input, int clear"),
)
PICOHARP = _functions(
    "PH",
    Function("PH_Initialize", f"{_DEVICE}, int mode"),
    Function("PH_SetInputCFD", f"{_DEVICE}, int input, int level_mv, int zero_cross_mv"),
    Function("PH_SetSyncOffset", f"{_DEVICE}, int offset_ps"),
    Function("PH_ReadFiFo", f"{_DEVICE}, unsigned int *records, int room, out int count"),
    Function("PH_ClearHistMem", f"{_DEVICE}, int block"),
    Function("PH_GetHistogram", f"{_DEVICE}, unsigned int *counts, int block"),
)

MAX_DEVICES = 8
READ_RECORDS = 1_048_576
HISTOGRAM_BINS = 65_536
MODES = {"histogram": 0, "t2": 2, "t3": 3}
FEATURE_TTTR = 0x02
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


PICOHARP_FLAGS = {0x0003: Flag.FIFO_FULL, 0x0040: Flag.OVERFLOW, 0x0100: Flag.SYSTEM_ERROR}
"""PicoHarp's own bits."""


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
