"""The part of tdcbase that the drivers use: prototypes, kinds of signals, the record.

Names and signatures as in the vendor's public headers tdcbase.h and tdcmultidev.h; the older forms
of quTAU and ID801 as ``idq-id801`` 1.0.2 declares them.
"""

from __future__ import annotations

import enum

import numpy as np

from photonlink.hal.links.prototypes import Function, Prototypes, nonzero_fails

RING = 1_000_000
RECORD = np.dtype([("time", "<i8"), ("channel", "<u2")])
FIVE_CHANNELS = 0x0010


class Signal(enum.IntEnum):
    """What an input expects."""

    LVTTL = 1
    NIM = 2
    MISC = 3


_SHARED = (
    Function("TDC_perror", "int code", returns="const char *", value=True),
    Function("TDC_init", "int device_id"),
    Function("TDC_deInit"),
    Function("TDC_getCurrentAddress", "out unsigned int number"),
    Function(
        "TDC_getDeviceInfo",
        "unsigned int number, out int type, out int id, out text[64] serial, out int connected",
    ),
    Function("TDC_enableChannels", "int mask"),
    Function("TDC_getDataLost", "out int lost"),
    Function("TDC_setTimestampBufferSize", "int size"),
    Function("TDC_freezeBuffers", "int freeze"),
    Function("TDC_setChannelDelays", "const int *delays"),
    Function(
        "TDC_getLastTimestamps", "int reset, int64_t *times, uint8_t *channels, out int valid"
    ),
)

GONE = frozenset({2, 3})
"""No connection was established; the USB driver could not be reached."""
PROTOTYPES = Prototypes(
    (
        *_SHARED,
        Function("TDC_getTimebase", "out double seconds"),
        Function("TDC_checkFeatures", value=True),
        Function("TDC_setFiveChannelMode", "int on"),
        Function(
            "TDC_configureSignalConditioning",
            "int channel, int conditioning, int edge, double threshold",
        ),
        Function("TDC_setDeadTime", "int channel, int ps"),
        Function("TDC_getCoincCounters", "out int[31] counts, out int updates"),
        Function("TDC_getDeviceParams", "out int window, out int exposure"),
    ),
    fails=nonzero_fails,
    gone=GONE,
    error_text="TDC_perror",
)
OLDER_PROTOTYPES = Prototypes(
    (
        *_SHARED,
        Function("TDC_getTimebase", returns="double", value=True),
        Function("TDC_getDevType", value=True),
        Function("TDC_switchTermination", "int on"),
        Function(
            "TDC_configureSignalConditioning",
            "int channel, int conditioning, int edge, int termination, double threshold",
        ),
        Function("TDC_getCoincCounters", "out int[19] counts, out int updates"),
        Function("TDC_getDeviceParams", "out int mask, out int window, out int exposure"),
    ),
    fails=nonzero_fails,
    gone=GONE,
    error_text="TDC_perror",
)
