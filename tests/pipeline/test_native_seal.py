"""Sealing against published vectors and a second implementation; the vendored files themselves."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from photonlink.pipeline.native.base import NativeArgumentError
from photonlink.pipeline.native.sealing import OVERHEAD_BYTES, SealBroken, SealingKey
from photonlink.pipeline.native.secret import SecretBits

VENDOR = Path(__file__).resolve().parents[2] / "pipeline/core/vendor"
# draft-irtf-cfrg-xchacha-03, appendix A.3.1
TEXT = (
    b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
    b"future, sunscreen would be it."
)
AAD = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
KEY = bytes(range(0x80, 0xA0))
NONCE = bytes(range(0x40, 0x58))
SEALED = bytes.fromhex(
    "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39"
    "ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
    "21f9664c97637da9768812f615c68b13b52e"
)
TAG = bytes.fromhex("c0875924c1c7987947deafd8780acf49")


def key_of(data: bytes) -> SealingKey:
    return SealingKey(SecretBits.take(bytearray(data)))


def test_the_published_vector_opens() -> None:
    bits = key_of(KEY).unseal(AAD, NONCE + SEALED + TAG, 8 * len(TEXT))
    assert bits.disclose() == TEXT
    assert key_of(KEY).unseal_public(AAD, NONCE + SEALED + TAG) == TEXT


def hchacha20(key: bytes, nonce: bytes) -> bytes:
    """draft-irtf-cfrg-xchacha-03, section 2.2, in plain Python."""
    words = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574]
    words += [int.from_bytes((key + nonce)[i : i + 4], "little") for i in range(0, 48, 4)]

    def quarter(a: int, b: int, c: int, d: int) -> None:
        for to, other, into, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            words[to] = (words[to] + words[other]) & 0xFFFFFFFF
            mixed = words[into] ^ words[to]
            words[into] = (mixed << by | mixed >> (32 - by)) & 0xFFFFFFFF

    for _ in range(10):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return b"".join(w.to_bytes(4, "little") for w in words[:4] + words[12:])


@pytest.mark.parametrize("size", [0, 1, 15, 16, 63, 64, 65, 1000, 70_001])
def test_a_second_implementation_reads_what_is_sealed(size: int) -> None:
    raw, context = bytes((i * 181 + size) % 256 for i in range(size)), b"context" * 9
    record = key_of(KEY).seal(context, SecretBits.take(bytearray(raw)))
    assert len(record) == size + OVERHEAD_BYTES
    nonce = record[:24]
    other = ChaCha20Poly1305(hchacha20(KEY, nonce[:16]))
    assert other.decrypt(bytes(4) + nonce[16:], record[24:], context) == raw
    assert key_of(KEY).unseal_public(context, record) == raw


def test_every_bit_and_length_of_a_record_counts() -> None:
    key, bits = SealingKey.fresh(), SecretBits.random(203)
    record = key.seal(b"block 1", bits)
    assert key.unseal(b"block 1", record, 203).equals(bits)
    for at in range(8 * len(record)):
        changed = bytearray(record)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(SealBroken):
            key.unseal(b"block 1", bytes(changed), 203)
    for wrong in (record[:-1], record + b"\0", b"", record[:39], bytes(len(record))):
        with pytest.raises(SealBroken):
            key.unseal(b"block 1", wrong, 203)
    with pytest.raises(SealBroken):
        key.unseal(b"block 2", record, 203)
    with pytest.raises(SealBroken):
        SealingKey.fresh().unseal(b"block 1", record, 203)
    with pytest.raises(SealBroken):
        key.unseal(b"block 1", record, 195)


def test_a_nonce_never_comes_twice_and_a_length_in_bits_is_kept() -> None:
    key, bits = SealingKey.fresh(), SecretBits(128)
    assert len({key.seal(b"", bits)[:24] for _ in range(1000)}) == 1000
    whole = SecretBits.take(bytearray(b"\xff"))
    with pytest.raises(SealBroken):  # bits after the last one must be zero in every secret
        key.unseal(b"", key.seal(b"", whole), 5)


def test_derived_keys_are_keyed_blake2b() -> None:
    key = key_of(KEY)
    wanted = hashlib.blake2b(b"ledger", key=KEY, digest_size=32).digest()
    assert key.digest(b"ledger") == wanted
    assert (
        key.derive(b"ledger").digest(b"")
        == hashlib.blake2b(b"", key=wanted, digest_size=32).digest()
    )
    assert key.derive(b"anchor").digest(b"x") != key.derive(b"ledger").digest(b"x")


def test_a_passphrase_is_stretched_by_argon2id() -> None:
    argon2 = pytest.importorskip("cryptography.hazmat.primitives.kdf.argon2")
    words, salt = b"correct horse", bytes(range(16))
    mine = SealingKey.from_passphrase(
        SecretBits.take(bytearray(words)), salt, kibibytes=256, passes=3
    )
    other = argon2.Argon2id(salt=salt, length=32, iterations=3, lanes=1, memory_cost=256)
    assert mine.digest(b"") == key_of(other.derive(words)).digest(b"")


def test_a_key_has_256_bits_and_tells_nothing() -> None:
    with pytest.raises(NativeArgumentError):
        SealingKey(SecretBits.random(128))
    with pytest.raises(NativeArgumentError):
        SealingKey.from_passphrase(SecretBits.random(64), b"short")
    assert repr(key_of(KEY)) == "<SealingKey>"


@pytest.mark.parametrize("name", ["libsodium", "monocypher"])
def test_the_vendored_files_are_unmodified(name: str) -> None:
    folder = VENDOR / name
    table = (folder / "README.md").read_text(encoding="utf-8")
    digests = dict(re.findall(r"`([\w./-]+)` \| `([0-9a-f]{64})`", table))
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert digests.keys() == files - {"README.md"}
    for file, digest in digests.items():
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == digest


def test_a_record_sealed_in_pieces_is_the_same_record(tmp_path: Path) -> None:
    """In pieces into a file, at once, and by another library, at lengths that fit no block size."""
    for size in (3, 1021, 3 * (1 << 16) + 77):
        bits = SecretBits.random(8 * size)
        path = tmp_path / f"{size}"
        with path.open("wb", buffering=0) as file:
            tag = key_of(KEY).seal_to(file.fileno(), b"place", bits)
        record = path.read_bytes()
        assert record[-16:] == tag
        assert key_of(KEY).unseal(b"place", record, 8 * size).equals(bits)
        other = ChaCha20Poly1305(hchacha20(KEY, record[:16]))
        assert other.decrypt(bytes(4) + record[16:24], record[24:], b"place") == bits.disclose()
