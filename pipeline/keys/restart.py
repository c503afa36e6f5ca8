"""Wipes a store that cannot be trusted any more."""

from __future__ import annotations

import contextlib

from photonlink.pipeline.keys.files import wipe
from photonlink.pipeline.keys.locking import lock_node
from photonlink.pipeline.keys.node_store import StorePlace
from photonlink.pipeline.keys.store import StoreError


def burn_store(place: StorePlace) -> list[str]:
    """Wipe keys, pads, pre-shared key, ledger and anchor; names of what was wiped, in that order.

    Raises InUseError, StoreError; it can then be repeated. The ledger is wiped last but one and the
    anchor last, so that a half-wiped store does not open.
    """
    folder, done = place.folder, []
    with contextlib.ExitStack() as stack:
        lock_node(folder, stack)
        keys = folder / "keys"
        paths = sorted(keys.iterdir()) if keys.is_dir() else []
        paths += [folder / "psk", folder / "ledger.log", place.anchor_path]
        for path in paths:
            if path.is_file():
                try:
                    wipe(path)
                except OSError as error:
                    raise StoreError(
                        f"cannot be wiped ({error.strerror})", where=str(path)
                    ) from error
                done.append(path.name)
    return done
