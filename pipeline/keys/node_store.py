"""A node's store: locked first, then checked, then used; interrupted wiping is finished at the
opening.

One folder: ``lock``, ``ledger.log``, ``psk`` (the node's sealed copy), ``keys/``, and ``salt``
with a passphrase. The anchor lies outside.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from photonlink.pipeline.keys.damage import check_all, damaged_messages
from photonlink.pipeline.keys.ledger import Ledger, LedgerError
from photonlink.pipeline.keys.locking import lock_node
from photonlink.pipeline.keys.psk import PreSharedKey, PskError, load_psk, load_sealed_psk
from photonlink.pipeline.keys.seals import StoreSeal
from photonlink.pipeline.keys.store import DirectoryStore, StoreError
from photonlink.pipeline.keys.store_key import KeySource, create_key_file, open_store_key


@dataclass(frozen=True, slots=True)
class StorePlace:
    """Place, owner and key source of a node's store."""

    folder: Path
    link: str
    role: str
    key: KeySource
    anchor: Path | None = None  # None: beside the folder, with the suffix .anchor

    @property
    def anchor_path(self) -> Path:
        return self.anchor or self.folder.with_name(self.folder.name + ".anchor")


class NodeStore:
    """Ledger, keys and pre-shared key of one node, locked against other processes while open.

    findings: oddities found and corrected at the opening, for the operator.
    """

    def __init__(self, place: StorePlace, stack: contextlib.ExitStack) -> None:
        """``stack`` holds the lock; use ``open``."""
        folder = place.folder
        self.place, self._stack = place, stack
        self.seal = StoreSeal(open_store_key(place.key, folder), place.link, place.role)
        stack.callback(self.seal.close)
        self.ledger = Ledger.open(folder, self.seal)
        stack.callback(self.ledger.close)
        self.keys = DirectoryStore(folder / "keys", self.seal)
        self.findings = self.ledger.findings
        self._psk_path = folder / "psk"

    @classmethod
    def open(cls, place: StorePlace, *, renew_anchor: bool = False) -> Self:
        """Raises InUseError, StoreKeyError, LedgerError (damaged or rolled back), StoreError."""
        with contextlib.ExitStack() as stack:
            try:
                lock_node(place.folder, stack)
            except OSError as error:
                raise StoreError(
                    f"cannot be made or locked ({error.strerror})", where=str(place.folder)
                ) from error
            store = cls(place, stack)
            store._refuse_newer_files()
            store.ledger.anchor(place.anchor_path, renew=renew_anchor)
            store.finish_wiping()
            store.findings += damaged_messages(store.ledger, store.keys)
            store._stack = stack.pop_all()
        return store

    def _refuse_newer_files(self) -> None:
        """Refuse a ledger that is older than the files: there are files of blocks beyond its
        last.
        """
        newer = [p for p, block, kind in self.keys.files() if kind and self._unheard_of(block)]
        if newer:
            raise LedgerError(
                f"ledger_rolled_back: {newer[0].name} is of a block that the ledger does not know",
                where=str(self.place.folder),
                hint="The ledger was restored from a backup, or lost. Burn what the store "
                "holds and exchange a new pre-shared key.",
            )

    def _unheard_of(self, block: int) -> bool:
        return block >= self.ledger.state.next_block

    def finish_wiping(self) -> None:
        """Wipe files of blocks that the ledger has ended, and partial files of a crash."""
        state = self.ledger.state
        holds = {"key": state.has_key, "pad": state.has_pads, "msg": state.has_message}
        for path, block, kind in self.keys.files():
            if kind not in holds or not holds[kind](block):
                self.keys.wipe_file(path)
                self.findings.append(f"{path.name}: wiped, which a crash had kept from being done")

    # ---- the pre-shared key ----
    def psk(self, carrier: Path) -> PreSharedKey:
        """The node's pre-shared key: its sealed copy, which is made from ``carrier`` at first.

        Raises PskError, LedgerError: damaged, not the ledger's key, or rolled back.
        """
        state = self.ledger.state
        if not _there(self._psk_path):
            psk = load_psk(carrier)
            with _closing_on_error(psk):
                self._first_psk(psk, carrier)
            return psk
        psk, spent = load_sealed_psk(self._psk_path, self.seal)
        with _closing_on_error(psk):
            if psk.key_id != state.psk_id:
                raise PskError(
                    f"the stored pre-shared key {psk.key_id} is not the ledger's {state.psk_id}",
                    where=str(self._psk_path),
                    hint="One of them was restored from a backup: exchange a new one.",
                )
            self._refuse_other_carrier(psk, carrier)
            behind = [pool for pool, end in spent.items() if state.pads.get(pool, 0) < end]
            if behind:
                raise LedgerError(
                    f"ledger_rolled_back: erased pads of {behind[0]} are free by the ledger",
                    where=str(self.place.folder),
                    hint="The ledger was restored from a backup: exchange a new pre-shared key.",
                )
            psk.write_sealed(self._psk_path, self.seal, state.erasable())
        return psk

    def _first_psk(self, psk: PreSharedKey, carrier: Path) -> None:
        state = self.ledger.state
        if state.psk_id and state.pads:
            raise PskError(
                "the node's sealed copy of the pre-shared key is gone",
                where=str(self._psk_path),
                hint="Exchange a new one: 'photonlink psk replace'.",
            )
        self.ledger.bind(psk.key_id, (psk.pool_bytes(True), psk.pool_bytes(False)))
        psk.write_sealed(self._psk_path, self.seal, {})
        self.findings.append(
            f"the pre-shared key is sealed in the store now: destroy {carrier} once both nodes run"
        )

    def _refuse_other_carrier(self, psk: PreSharedKey, carrier: Path) -> None:
        if not _there(carrier):
            return
        with contextlib.closing(load_psk(carrier)) as other:
            if other.key_id != psk.key_id:
                raise PskError(
                    f"{carrier} holds the pre-shared key {other.key_id}, the store {psk.key_id}",
                    where=str(self._psk_path),
                    hint="'photonlink psk replace' takes a new one into use, on both nodes.",
                )

    def replace_psk(self, carrier: Path) -> str:
        """Replace the pre-shared key: pads and positions start again, stored key stays.

        Blocks in doubt burn. Returns the new public id. Raises PskError for a key that was in use
        before.
        """
        with contextlib.closing(load_psk(carrier)) as psk:
            state = self.ledger.state
            if psk.key_id == state.psk_id:
                raise PskError("this pre-shared key is in use already", where=str(carrier))
            for entry in [*state.pending(), *state.unfinished()]:
                reason = "the pre-shared key was replaced while this block was in doubt"
                self.ledger.append(
                    {"t": "block", "block": entry.block, "status": "burnt", "reason": reason,
                     "untold": True}
                )  # fmt: skip
            pools = [psk.pool_bytes(True), psk.pool_bytes(False)]
            self.ledger.append({"t": "psk", "id": psk.key_id, "pools": pools})
            psk.write_sealed(self._psk_path, self.seal, {})
            self.finish_wiping()
            return psk.key_id

    def copy_to(self, folder: Path, psk: PreSharedKey) -> None:
        """Copy the whole store, sealed with a fresh key that is written beside it: for recordings,
        whose key protects nothing. ``open_copy`` opens the copy.
        """
        create_key_file(folder / "store.key")
        with open_copy(folder, self.place.link, self.place.role) as copy:
            state = copy.ledger.state
            state.apply(json.loads(json.dumps(self.ledger.state.snapshot())))
            for entry in state.blocks.values():
                if state.has_key(entry.block) and entry.status != "open" and entry.net_bits:
                    with self.keys.get_key(entry.block, entry.net_bits, entry.key_seal) as bits:
                        entry.key_seal = copy.keys.put_key(entry.block, bits)
                if state.has_pads(entry.block) and entry.status != "open" and entry.refill_bits:
                    with self.keys.get_pads(entry.block, entry.refill_bits, entry.pad_seal) as bits:
                        entry.pad_seal = copy.keys.put_pads(entry.block, bits)
            copy.ledger.compact()
            psk.write_sealed(copy._psk_path, copy.seal, state.erasable())

    # ---- damage ----
    def check(self) -> list[str]:
        """Decrypt every record of key and pads; burn the damaged ones. Returns what was burnt, and
        why.
        """
        return check_all(self.ledger, self.keys)

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _there(path: Path) -> bool:
    """Raises PskError."""
    try:
        return path.exists()
    except OSError as error:
        raise PskError(f"cannot be read ({error.strerror})", where=str(path)) from error


@contextlib.contextmanager
def _closing_on_error(psk: PreSharedKey) -> Iterator[None]:
    try:
        yield
    except BaseException:
        psk.close()
        raise


def open_copy(folder: Path, link: str, role: str) -> NodeStore:
    """Open the copy that ``NodeStore.copy_to`` wrote into ``folder``."""
    source = KeySource(folder / "store.key")
    return NodeStore.open(StorePlace(folder / "state", link, role, source))
