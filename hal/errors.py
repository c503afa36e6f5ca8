"""One exception tree. Every error holds the fault, the place, the last data seen, and a hint."""

from __future__ import annotations

from collections.abc import Mapping


class PhotonlinkError(Exception):
    """Root of everything this project raises on purpose.

    what:  the fault in one sentence.   where: address, file or key it happened at.
    hint:  what the operator can do.    seen:  the last bytes or value seen, made printable.
    """

    def __init__(self, what: str, *, where: str = "", hint: str = "", seen: str = "") -> None:
        self.what, self.where, self.hint, self.seen = what, where, hint, seen
        super().__init__(what)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.seen:
            text += f" (last seen: {self.seen})"
        return f"{text}. {self.hint}" if self.hint else text


class TagBlockError(PhotonlinkError, ValueError):
    """A TagBlock was built from arrays of the wrong kind."""


class LinkError(PhotonlinkError):
    """Something went wrong on the way to an instrument; ``retryable``: asking again may help."""

    retryable = False


class LinkTimeout(LinkError, TimeoutError):
    """No (complete) reply by the deadline. The link is dirty until it was resynchronised."""

    retryable = True


class LinkClosed(LinkError, ConnectionError):
    """The other end went away: unplugged, killed, connection reset."""


class LinkDesync(LinkError):
    """The reply does not belong to the question and is not used."""

    retryable = True


class LinkBusy(LinkError):
    """Another process holds the device."""


class LinkPermission(LinkError, PermissionError):
    """The operating system refuses access; the hint names the udev rule or group."""


class LinkNotFound(LinkError, FileNotFoundError):
    """No such port, host, library or device."""


class InstrumentError(PhotonlinkError):
    """The instrument answered, and its answer is a refusal or makes no sense."""


class DriverFault(InstrumentError):
    """A driver or a vendor's package raised an unexpected exception; ``__cause__`` is the
    original.
    """


class ReadbackMismatch(InstrumentError):
    """A setting was accepted but reads back as something else."""


class LimitError(InstrumentError, ValueError):
    """A value outside the instrument's or the station's limits. Never clipped silently."""


class IdentityError(InstrumentError):
    """Another model or serial number than the station file says answers at the address."""


class AcquisitionError(InstrumentError):
    """A tagger stopped taking data by itself (memory overrun, time elapsed): start it again.

    A new acquisition has a new time zero, without relation to the old one.
    """


class StationError(PhotonlinkError, ValueError):
    """The station file is wrong: the message names line, key and the nearest known key."""


class BenchError(PhotonlinkError):
    """Instruments of a bench could not be opened: one readable tree of failures and reasons.

    causes: (driver, address, error) of every address that was tried.
    """

    causes: tuple[tuple[str, str, PhotonlinkError], ...] = ()

    @classmethod
    def of(cls, bench: str, failures: Mapping[str, PhotonlinkError]) -> BenchError:
        tree = "".join(f"\n  {name}: {error}" for name, error in failures.items())
        made = cls(f"{len(failures)} instrument(s) could not be opened{tree}", where=bench)
        made.causes = tuple(c for e in failures.values() for c in getattr(e, "causes", ()))
        return made


class RecordingError(PhotonlinkError, ValueError):
    """A recording is damaged. ``position`` is the byte offset; what was readable is kept."""

    def __init__(
        self, what: str, *, where: str = "", hint: str = "", seen: str = "", position: int = 0
    ) -> None:
        super().__init__(what, where=where, hint=hint, seen=seen)
        self.position = position

    def __str__(self) -> str:
        if not self.position:  # the file as a whole
            return super().__str__()
        place = f"at byte {self.position}"
        where = f"{self.where}: {place}" if self.where else place
        return str(PhotonlinkError(self.what, where=where, hint=self.hint, seen=self.seen))


def first_error(error: BaseException) -> BaseException:
    """The first exception of tasks that failed together; groups are searched at any depth."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
