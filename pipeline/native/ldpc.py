"""No node uses this yet, as Cascade leaks less: error correction by LDPC codes.

One message each way, for links with long delays.

Alice sends the syndrome of her key once. Bob decodes the difference of the keys; where that fails
he asks for single bits of her key, a few rounds at most (docs/ldpc.md has codes and messages).
Only Alice sends anything about the key; she counts it in ``leak_bits``. The error pattern is
treated as public (Tupkary and Lütkenhaus, PR Applied 20, 064040, 2023).
"""

from __future__ import annotations

from photonlink.pipeline._core import ffi, lib
from photonlink.pipeline.native.base import Handle, Uncopied, check
from photonlink.pipeline.native.cascade import checked_seed
from photonlink.pipeline.native.secret import SecretBits

MIN_BITS: int = lib.PL_LDPC_MIN_BITS
MAX_BITS: int = lib.PL_LDPC_MAX_BITS
_BYTES = ffi.typeof("uint8_t[]")
_WORK_BYTES = 3 << 20  # of a decoder, touched as far as the code in use needs it


class LdpcAlice(Uncopied):
    """Sends the syndrome of ``key``, which is copied and stays as it is.

    qber: the agreed estimate of the error rate, 0 to 0.125; it chooses the code and must be the
    same at both ends. seed: SEED_BYTES public random bytes agreed for this block, drawn after its
    key was sifted.
    leak_cap_bits: nothing is sent that takes ``leak_bits`` beyond it.
    Errors: NativeArgumentError for a key outside MIN_BITS..MAX_BITS or a qber out of range,
    NativeStateError after ``close``.
    """

    def __init__(self, key: SecretBits, *, qber: float, seed: bytes, leak_cap_bits: int) -> None:
        slot = ffi.new("pl_ldpc_alice **")
        check(
            lib.pl_ldpc_alice_new(slot, key.handle, qber, checked_seed(seed), max(leak_cap_bits, 0))
        )
        self._handle = Handle(slot[0], lib.pl_ldpc_alice_free, len(key) // 8)

    def restart(self, key: SecretBits, *, qber: float, seed: bytes, leak_cap_bits: int) -> None:
        """Begin another block, of any length and rate, in the memory of this object.

        When it is refused (errors as above), the running block goes on.
        """
        self._handle.call(
            lib.pl_ldpc_alice_restart, key.handle, qber, checked_seed(seed), max(leak_cap_bits, 0)
        )

    def syndrome(self) -> bytes:
        """The one message. It is counted when it is first made; later calls give the same bytes.

        NativeLimitError: the cap would be passed; nothing is sent or counted.
        """
        size = self._handle.call(lib.pl_ldpc_alice_message_bytes)
        out = ffi.new(_BYTES, size)
        size = self._handle.call(lib.pl_ldpc_alice_syndrome, out, size)
        return bytes(ffi.buffer(out, size))

    def disclose(self, request: bytes) -> bytes:
        """The key bits that Bob asks for, one bit each; each is counted, also when repeated.

        NativeDataError: malformed or out of range. NativeLimitError: the cap would be passed.
        Nothing is sent or counted then.
        """
        out = ffi.new(_BYTES, len(request) // 32 + 1)
        size = self._handle.call(lib.pl_ldpc_alice_disclose, request, len(request), out, len(out))
        return bytes(ffi.buffer(out, size))

    @property
    def leak_bits(self) -> int:
        """Bits sent so far: syndrome and disclosed key bits."""
        return self._handle.call(lib.pl_ldpc_alice_leak)

    def close(self) -> None:
        self._handle.close()


class LdpcBob(Uncopied):
    """Finds and corrects the differences between ``key`` (copied) and Alice's.

    When all frames are corrected the keys agree but for a small probability: a verification hash
    must follow. Errors: as LdpcAlice.
    """

    def __init__(self, key: SecretBits, *, qber: float, seed: bytes) -> None:
        self._n_bits = len(key)
        slot = ffi.new("pl_ldpc_bob **")
        check(lib.pl_ldpc_bob_new(slot, key.handle, qber, checked_seed(seed)))
        self._handle = Handle(slot[0], lib.pl_ldpc_bob_free, _WORK_BYTES + self._n_bits // 2)

    def restart(self, key: SecretBits, *, qber: float, seed: bytes) -> None:
        """Begin another block: as LdpcAlice.restart."""
        self._handle.call(lib.pl_ldpc_bob_restart, key.handle, qber, checked_seed(seed))
        self._n_bits = len(key)

    def decode(self, syndrome: bytes) -> int:
        """Decodes once; returns how many frames are still wrong (0: corrected).

        NativeDataError: not a message for this key length and qber (another may follow).
        NativeStateError: called twice.
        """
        return self._handle.call(lib.pl_ldpc_bob_decode, syndrome, len(syndrome))

    def request(self) -> bytes | None:
        """Which bits would help most, of all frames that are still wrong; None: corrected.

        The same bytes again while an answer is outstanding.
        """
        size = self._handle.call(lib.pl_ldpc_bob_request, ffi.NULL, 0)
        if not size:
            return None
        out = ffi.new(_BYTES, size)
        self._handle.call(lib.pl_ldpc_bob_request, out, size)
        return bytes(ffi.buffer(out, size))

    def receive(self, bits: bytes) -> int:
        """The answer to the last request; decodes again; returns how many frames are still wrong.

        NativeDataError: wrong length (the request stays open), or bits that contradict the
        syndrome (the block is lost). NativeStateError: nothing was asked.
        """
        return self._handle.call(lib.pl_ldpc_bob_receive, bits, len(bits))

    @property
    def frames(self) -> int:
        """How many frames the key was cut into."""
        return self._handle.call(lib.pl_ldpc_bob_frames)

    @property
    def iterations(self) -> int:
        """Decoder iterations so far, summed over frames."""
        return self._handle.call(lib.pl_ldpc_bob_iterations)

    @property
    def errors_corrected(self) -> int:
        return self._handle.call(lib.pl_ldpc_bob_errors)

    def corrected(self) -> SecretBits:
        """A copy of the key as corrected so far."""
        key = SecretBits(self._n_bits)
        self._handle.call(lib.pl_ldpc_bob_key, key.handle)
        return key

    def close(self) -> None:
        self._handle.close()
