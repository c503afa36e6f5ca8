"""Vendors' Python packages: imported when needed, called from one thread, their exceptions mapped.

A stand-in is a module with the same names, given by its path in the address: the driver is the
same. A module that has ``SIM_IS_EMULATOR = True`` is an emulator wherever it lies.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from photonlink.hal.errors import (
    InstrumentError,
    LinkClosed,
    LinkError,
    LinkNotFound,
    LinkTimeout,
    PhotonlinkError,
    StationError,
)
from photonlink.hal.links.address import Address
from photonlink.hal.links.owner_thread import OwnerThread
from photonlink.hal.tags import Provenance

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Raises:
    """One row of a package's exception map: first that fits counts.

    kind: the package's exception (name of its class, or of a base). contains: in its text, "" for
    any. error: ours.
    """

    kind: str
    contains: str
    error: type[PhotonlinkError]


class VendorPackage:
    """``package:Swabian.TimeTagger`` or ``package:///abs/path/stand_in.py``."""

    def __init__(
        self, address: Address, *, raises: Sequence[Raises] = (), timeout_s: float = 5.0
    ) -> None:
        if address.scheme != "package":
            raise StationError("a vendor's package needs package:…", where=address.uri)
        self.address = address
        self._raises, self.timeout_s = tuple(raises), timeout_s
        self._thread = OwnerThread(address.uri)
        self._module: ModuleType | None = None

    @property
    def uri(self) -> str:
        return self.address.uri

    @property
    def is_open(self) -> bool:
        return self._module is not None

    @property
    def provenance(self) -> Provenance:
        stands_in = getattr(self._module, "SIM_IS_EMULATOR", None) is True
        return Provenance.EMULATED if stands_in else Provenance.REAL

    async def connect(self) -> None:
        """Import it, in its thread. LinkNotFound when it is not installed."""
        try:
            self._module = await self._thread.run(self._load, self.timeout_s)
        except BaseException:
            self._thread.stop()
            raise

    def _load(self) -> ModuleType:
        name = self.address.path
        try:
            if not Path(name).is_absolute():
                return importlib.import_module(name)
            if not Path(name).is_file():
                raise LinkNotFound("no such module", where=self.uri)
            spec = importlib.util.spec_from_file_location(Path(name).stem, name)
            if spec is None or spec.loader is None:
                raise LinkNotFound("this is no Python module", where=self.uri)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        except LinkError:
            raise
        except ImportError as error:
            raise LinkNotFound(
                f"the package cannot be imported: {error}",
                where=self.uri,
                hint="Install it from its vendor",
            ) from error
        except Exception as error:
            raise LinkError(
                f"the package fails while it is imported: {type(error).__name__}: {error}",
                where=self.uri,
            ) from error
        return module

    async def close(self) -> None:
        """Forget the package; Python keeps it imported."""
        self._module = None
        self._thread.stop()

    def post(self, work: Callable[[], object]) -> None:
        """Queue work for the package's thread without waiting: for ``emergency_off``."""
        self._thread.post(work)

    async def run(self, work: Callable[[Any], T], timeout_s: float | None = None) -> T:
        """``work(module)`` in the package's thread; its exceptions are mapped to ours."""
        module = self._module
        if module is None:
            raise LinkClosed("the package is not open", where=self.uri)
        try:
            limit = self.timeout_s if timeout_s is None else timeout_s
            return await self._thread.run(lambda: work(module), limit)
        except PhotonlinkError as error:
            if isinstance(error, LinkTimeout):
                raise LinkTimeout(error.what, where=self.uri, hint="It may hang") from None
            raise
        except Exception as error:
            raise self._ours(error) from error

    def _ours(self, error: Exception) -> PhotonlinkError:
        names = {kind.__name__ for kind in type(error).__mro__}
        text = f"{type(error).__name__}: {error}"
        for row in self._raises:
            if row.kind in names and row.contains in str(error):
                return row.error(text, where=self.uri)
        return InstrumentError(text, where=self.uri)
