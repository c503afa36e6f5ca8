"""The part of PicoQuant's MHLib that the driver uses: prototypes, modes, flags, warnings.

Interface facts from the shared fact sheet, section 2.5. Nothing here comes from the vendor's
header or package, whose licence ties it to bought hardware.
"""

from __future__ import annotations

import enum

DECLARATIONS = """
int MH_GetLibraryVersion(char *version);
int MH_GetErrorString(char *text, int code);
int MH_OpenDevice(int device, char *serial);
int MH_CloseDevice(int device);
int MH_Initialize(int device, int mode, int reference);
int MH_GetHardwareInfo(int device, char *model, char *part, char *version);
int MH_GetBaseResolution(int device, double *resolution_ps, int *binning_steps);
int MH_GetNumOfInputChannels(int device, int *inputs);
int MH_SetInputEdgeTrg(int device, int input, int level_mv, int edge);
int MH_SetInputChannelOffset(int device, int input, int offset_ps);
int MH_SetInputDeadTime(int device, int input, int on, int dead_time_ps);
int MH_SetInputChannelEnable(int device, int input, int enable);
int MH_StartMeas(int device, int duration_ms);
int MH_StopMeas(int device);
int MH_CTCStatus(int device, int *finished);
int MH_GetFlags(int device, int *flags);
int MH_GetElapsedMeasTime(int device, double *elapsed_ms);
int MH_ReadFiFo(int device, unsigned int *records, int *count);
int MH_GetSyncRate(int device, int *rate_hz);
int MH_GetCountRate(int device, int input, int *rate_hz);
int MH_GetWarnings(int device, int *warnings);
"""

MAX_DEVICES = 8
TEXT_BYTES = 16_384
SERIAL_BYTES = 64  # the sheet says 8; a larger buffer costs nothing and cannot overrun
READ_RECORDS = 1_048_576
MODE_T2 = 2
REFERENCE = {"internal": 0, "external": 1}
OFFSET_LIMIT_PS = 99_999
LONGEST_MS = 360_000_000  # 100 h: the vendor's stated maximum, not in our sheet, unverified


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
