"""Universal hashes over secrets: message authentication, verification, privacy amplification."""

from __future__ import annotations

from photonlink.pipeline._core import ffi, lib
from photonlink.pipeline.native.base import Handle, NativeArgumentError, Uncopied, check
from photonlink.pipeline.native.secret import SecretBits, held
from photonlink.pipeline.native.sizes import POINT_BYTES, TAG_BYTES

_BYTES = ffi.typeof("uint8_t[]")
_UPDATE = lib.pl_polymac_update
_TAG, _VERIFY = lib.pl_polymac_tag, lib.pl_polymac_verify


def simd_level() -> str:
    """Which kernels this process uses; PHOTONLINK_SIMD forces them.

    x86-64: portable, sse, avx2, vpclmul, avx512; 64-bit Arm: portable, neon. Raises
    NativeArgumentError when it names no level of the architecture, or one that this machine
    lacks (the portable kernels are then in use).
    """
    return ffi.string(lib.pl_simd_name(check(lib.pl_simd_level()))).decode()


class PolyMac(Uncopied):
    """One running Wegman-Carter hash over GF(2^128) (x^128+x^7+x^2+x+1), 16-byte tags.

    H = (...((b1 k) ^ b2) k ^ ... ^ length) k over big-endian blocks, the last padded with zeros,
    then one block with the length in bits; tag = H xor 128 pad bits. Two different messages of
    at most L bits collide with probability at most (ceil(L/128) + 1) 2^-128 over the secret k,
    which is kept while every tag takes a fresh pad (Portmann, IEEE TIT 60, 4383, 2014).
    """

    def __init__(self, key: SecretBits) -> None:
        """``key``: 128 bits, copied into locked memory of its own."""
        slot = ffi.new("pl_polymac **")
        with held(key._handle):
            check(lib.pl_polymac_new(slot, key.handle))
        self._handle = Handle(slot[0], lib.pl_polymac_free, 4096)
        self._tag = ffi.new(_BYTES, TAG_BYTES)
        self._tag_bytes = ffi.buffer(self._tag)

    # For short messages Handle.call would take longer than the hash. So the pointers are passed
    # directly; C refuses the NULL of a closed handle.

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Appends public bytes to the message; any lengths, any division."""
        source = data if isinstance(data, bytes) else ffi.from_buffer(_BYTES, data)
        with self._handle._lock:
            status = _UPDATE(self._handle._pointer, source, len(source))
        if status:
            check(status)

    def reset(self) -> None:
        """Drops the message so far; keeps the key."""
        self._handle.call(lib.pl_polymac_reset)

    def tag(self, pad: SecretBits, pad_offset_bits: int) -> bytes:
        """The 16-byte tag of the message, masked by 128 bits of ``pad``; starts a new message.

        The caller wipes those pad bits and never uses them again.
        """
        with self._handle._lock, pad._handle._lock:
            status = _TAG(self._handle._pointer, pad._handle._pointer, pad_offset_bits, self._tag)
            tag: bytes = self._tag_bytes[:]
        if status:
            check(status)
        return tag

    def verify(self, tag: bytes, pad: SecretBits, pad_offset_bits: int) -> bool:
        """Whether ``tag`` belongs to the message, in constant time; starts a new message.

        A tag of the wrong length is refused like any other forgery.
        """
        padded = tag if len(tag) == TAG_BYTES else bytes(TAG_BYTES)
        with self._handle._lock, pad._handle._lock:
            right = _VERIFY(self._handle._pointer, pad._handle._pointer, pad_offset_bits, padded)
        return check(right) == 1 and len(tag) == TAG_BYTES

    def close(self) -> None:
        """Wipes key and state."""
        self._handle.close()

    def __repr__(self) -> str:
        return "<PolyMac>"


def verification_hash(key_block: SecretBits, public_key: bytes, tag_bits: int) -> bytes:
    """The first ``tag_bits`` (1 to 128) bits of a polynomial hash of the block at a public point.

    Same polynomial as PolyMac, evaluated at ``public_key`` (16 bytes, drawn at random by one side
    after reconciliation). Returns ceil(tag_bits/8) bytes, unused bits zero. They are public:
    charge tag_bits to the leak.

    Two different blocks of n bits collide with probability at most
    (ceil(n/128) + 1) 2^-tag_bits: their difference is a non-zero polynomial of degree
    d <= ceil(n/128) + 1 in the point. A collision means that its value is one of the
    2^(128 - tag_bits) field elements with zero leading bits, each of which at most d of the
    2^128 points reach.
    """
    if len(public_key) != POINT_BYTES:
        raise NativeArgumentError(lib.PL_E_ARGUMENT)
    out = bytearray(TAG_BYTES)
    target = ffi.from_buffer(_BYTES, out, require_writable=True)
    key_block._handle.call(lib.pl_verification_hash, public_key, tag_bits, target)
    return bytes(out[: (tag_bits + 7) // 8])


class Toeplitz(Uncopied):
    """Privacy amplification with working memory that is kept (and wiped) between blocks.

    A block comes whole (``plain``, ``modified``) or in pieces (``begin``, ``add`` and ``finish``),
    with the same result. One block at a time: beginning a block drops an unfinished one.
    """

    def __init__(self) -> None:
        slot = ffi.new("pl_toeplitz **")
        check(lib.pl_toeplitz_new(slot))
        self._handle = Handle(slot[0], lib.pl_toeplitz_free)

    def plain(self, x: SecretBits, seed: bytes, n_out: int) -> SecretBits:
        """y_i = XOR_{j<n} seed[i-j+n-1] x_j for i < n_out <= n; seed of n + n_out - 1 bits.

        ``seed`` has exactly ceil(bits/8) bytes, most significant bit first, drawn after
        reconciliation and sent authenticated. 2-universal (Carter and Wegman 1979).
        """
        return self._hash(x, seed, n_out, 0)

    def modified(self, x: SecretBits, seed: bytes | bytearray, n_out: int) -> SecretBits:
        """y = x[:n_out] xor T x[n_out:], seed of n - 1 bits (also 2-universal; Hayashi 2011)."""
        return self._hash(x, seed, n_out, 1)

    def modified_into(self, y: SecretBits, x: SecretBits, seed: bytes | bytearray) -> None:
        """``modified`` into an existing buffer, whose length is that of the hash."""
        self._hash_into(y, x, seed, 1)

    def begin(self, n: int, n_out: int, *, modified: bool = True) -> None:
        """Begin a block of ``n`` bits, which is hashed to ``n_out`` bits."""
        self._handle.call(lib.pl_toeplitz_begin, n, n_out, int(modified))

    def add(self, x: SecretBits, start: int = 0, stop: int | None = None) -> None:
        """The next bits of the block: those of ``x`` from ``start`` to before ``stop``.

        They are transformed at once, and ``x`` is not needed afterwards. Raises NativeLimitError
        when the block has fewer bits left (none are taken), NativeStateError without a block.
        """
        count = (len(x) if stop is None else stop) - start
        with held(self._handle, x._handle):
            check(lib.pl_toeplitz_add(self._handle.pointer, x.handle, start, count))

    def finish(self, y: SecretBits, seed: bytes | bytearray) -> None:
        """The hash of the block into ``y``; ``seed`` as above, drawn after the last ``add``.

        Raises NativeStateError while bits are missing, NativeArgumentError for the wrong length
        of ``y`` or ``seed``; the block then remains unfinished.
        """
        source = ffi.from_buffer(_BYTES, seed)
        with held(self._handle, y._handle):
            check(lib.pl_toeplitz_finish(self._handle.pointer, y.handle, source, len(seed)))

    def _hash(
        self, x: SecretBits, seed: bytes | bytearray, n_out: int, modified: int
    ) -> SecretBits:
        y = SecretBits(n_out)
        self._hash_into(y, x, seed, modified)
        return y

    def _hash_into(
        self, y: SecretBits, x: SecretBits, seed: bytes | bytearray, modified: int
    ) -> None:
        n_out = len(y)
        bits = max(0, len(x) - 1 if modified else len(x) + n_out - 1)
        if len(seed) != (bits + 7) // 8:
            error = NativeArgumentError(lib.PL_E_ARGUMENT)
            error.hint = f"The seed needs {(bits + 7) // 8} bytes, not {len(seed)}"
            raise error
        source = ffi.from_buffer(_BYTES, seed)
        with held(self._handle, y._handle, x._handle):
            check(
                lib.pl_toeplitz_hash(
                    self._handle.pointer, y.handle, x.handle, source, len(seed), modified
                )
            )

    def close(self) -> None:
        self._handle.close()


def toeplitz(x: SecretBits, seed: bytes, n_out: int) -> SecretBits:
    """``Toeplitz.plain`` for one block."""
    context = Toeplitz()
    try:
        return context.plain(x, seed, n_out)
    finally:
        context.close()


def toeplitz_modified(x: SecretBits, seed: bytes, n_out: int) -> SecretBits:
    """``Toeplitz.modified`` for one block."""
    context = Toeplitz()
    try:
        return context.modified(x, seed, n_out)
    finally:
        context.close()
