"""How records on disk are sealed: a key for each kind of record, bound to the record's place."""

from __future__ import annotations

import json
import struct

from photonlink.pipeline.native.sealing import SealBroken, SealingKey
from photonlink.pipeline.native.secret import SecretBits

SLOT_BYTES = 512
_COUNT = struct.Struct("<H")


class StoreSeal:
    """Seals the records of one store: bound to link, role, kind of record and place.

    ``place``: public values that distinguish records of one kind (block, length, sequence).
    """

    def __init__(self, key: SealingKey, link: str, role: str) -> None:
        self.link, self.role = link, role
        self._root, self._keys = key, dict[str, SealingKey]()

    def _key(self, kind: str) -> SealingKey:
        if kind not in self._keys:
            self._keys[kind] = self._root.derive(f"photonlink store 2 {kind}".encode())
        return self._keys[kind]

    def _context(self, kind: str, place: dict[str, str | int]) -> bytes:
        fields = {"kind": kind, "link": self.link, "role": self.role, "place": place}
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()

    def seal(self, kind: str, bits: SecretBits, **place: str | int) -> bytes:
        return self._key(kind).seal(self._context(kind, place), bits)

    def seal_to(self, kind: str, descriptor: int, bits: SecretBits, **place: str | int) -> bytes:
        """Write the record to a descriptor; returns its tag. Raises OSError."""
        return self._key(kind).seal_to(descriptor, self._context(kind, place), bits)

    def unseal(self, kind: str, record: bytes, n_bits: int, **place: str | int) -> SecretBits:
        """Raises SealBroken."""
        return self._key(kind).unseal(self._context(kind, place), record, n_bits)

    def seal_public(self, kind: str, data: bytes, **place: str | int) -> bytes:
        return self._key(kind).seal_public(self._context(kind, place), data)

    def unseal_public(self, kind: str, record: bytes, **place: str | int) -> bytes:
        """Raises SealBroken."""
        return self._key(kind).unseal_public(self._context(kind, place), record)

    def close(self) -> None:
        """Wipe the keys, the root key included."""
        for key in (*self._keys.values(), self._root):
            key.close()

    # ---- two slots, written in turn, so that one is always intact ----
    def slot(self, kind: str, fields: dict[str, str | int], **place: str | int) -> bytes:
        """SLOT_BYTES that hold ``fields``."""
        sealed = self.seal_public(kind, json.dumps(fields).encode(), **place)
        return (_COUNT.pack(len(sealed)) + sealed).ljust(SLOT_BYTES, b"\0")

    def read_slot(self, kind: str, data: bytes, **place: str | int) -> dict[str, str | int] | None:
        """The fields of a slot; None for one that was never written.

        Raises SealBroken: damaged, or torn while it was written.
        """
        if not any(data):
            return None
        size = _COUNT.unpack_from(data)[0]
        sealed, rest = data[_COUNT.size : _COUNT.size + size], data[_COUNT.size + size :]
        if len(data) != SLOT_BYTES or any(rest):
            raise SealBroken("the seal is broken: something stands behind the record")
        fields: dict[str, str | int] = json.loads(self.unseal_public(kind, sealed, **place))
        return fields
