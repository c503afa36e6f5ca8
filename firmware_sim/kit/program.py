"""Instruments that are read by a command-line program: the emulator provides the program."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from photonlink.firmware_sim.kit.device import EmulatedDevice
from photonlink.firmware_sim.wires.program import ERR, OUT, ProgramWire, Run
from photonlink.firmware_sim.wires.session import Session, Wire


class ProgramError(Exception):
    """A run that ends with a status and text on standard error, or with ``out`` on its output."""

    def __init__(self, text: str, status: int = 1, *, out: bool = False) -> None:
        super().__init__(text)
        self.status, self.kind = status, OUT if out else ERR


class ProgramDevice(EmulatedDevice):
    """Override :meth:`printed`, or :meth:`go` for runs that continue."""

    PROGRAM: ClassVar[str]
    """Name of the program."""
    MISSING: ClassVar[str] = "no such device"
    """What it says when the instrument is not there,"""
    MISSING_KIND: ClassVar[int] = ERR
    """and where: OUT or ERR."""
    WIRES = ("program",)
    NO_FAULTS: ClassVar[tuple[str, ...]] = ("ignore-sets",)

    def make_wires(self, run_dir: Path) -> dict[str, Wire]:
        address = self.config.address.partition("://")[2]
        folder = Path(address) if address else run_dir / self.name
        wire = ProgramWire(self.serve, folder, self.PROGRAM, self.MISSING, self.MISSING_KIND)
        return {"command": wire}

    def printed(self, arguments: list[str]) -> str:
        """Output of a run with these arguments. ProgramError when it fails."""
        raise NotImplementedError

    async def go(self, arguments: list[str], run: Run) -> None:
        """One whole run, except its end."""
        reply = self.printed(arguments).encode()
        left = await self.faults.through(
            reply,
            " ".join([self.PROGRAM, *arguments, "\n"]).encode(),
            b"a warning of the program\n",
        )
        if left is None:
            while await run.signal() is not None:
                pass  # silent: the program hangs until it is killed
            return
        await run.write(left)

    async def serve(self, session: Session) -> None:
        run, status = Run(session), 0
        arguments = await run.arguments()
        if arguments is None:
            return
        try:
            await self.go(arguments, run)
        except ProgramError as error:
            status = error.status
            await run.write(f"{error}\n".encode(), error.kind)
        except Exception as error:  # noqa: BLE001 - never raises for input
            self.broken(error)
            status = 1
        await run.end(status)
