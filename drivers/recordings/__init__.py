"""Recordings as time taggers: PTU, quTAG, S-Fifteen a1 and TDC1, Swabian dumps, and our own."""

from photonlink.drivers.recordings.container import RecordingWriter
from photonlink.drivers.recordings.ptu import write_ptu
from photonlink.drivers.recordings.recording import FileRecording, open_recording

__all__ = ["FileRecording", "RecordingWriter", "open_recording", "write_ptu"]
