"""What can go wrong with keys, signatures, seals and proofs."""

from typing import ClassVar

from latticebank.values.errors import BankError, Fault


class UnknownAlgorithm(BankError):
    """A name, or a stored form, of no algorithm that the bank has registered."""

    code = "unknown-algorithm"
    title = "The bank does not know this algorithm"
    fault: ClassVar[Fault] = Fault.INVALID


class AlgorithmUnavailable(BankError):
    """A registered algorithm that the library lacks or computes wrongly. Nothing takes its place: the bank does not start."""

    code = "algorithm-unavailable"
    title = "An algorithm that the bank needs is not available"
    fault: ClassVar[Fault] = Fault.INTERNAL


class AlgorithmNotPermitted(BankError):
    """A registered algorithm that may not do this, such as a classical signature that would authorise something new."""

    code = "algorithm-not-permitted"
    title = "This algorithm is not permitted here"
    fault: ClassVar[Fault] = Fault.REFUSED


class InvalidKey(BankError):
    """Bytes that are no key of their algorithm."""

    code = "invalid-key"
    title = "This is not a key of its algorithm"
    fault: ClassVar[Fault] = Fault.INVALID


class InvalidSignature(BankError):
    """A signature that this key did not make over this message in this context."""

    code = "invalid-signature"
    title = "The signature does not verify"
    fault: ClassVar[Fault] = Fault.FORBIDDEN


class SealBroken(BankError):
    """Sealed bytes that were changed, cut, moved to another place, or sealed under another key."""

    code = "seal-broken"
    title = "Sealed data cannot be opened"
    fault: ClassVar[Fault] = Fault.INTERNAL


class PassphraseWrong(BankError):
    """A passphrase that does not open the file."""

    code = "passphrase-wrong"
    title = "The passphrase is wrong"
    fault: ClassVar[Fault] = Fault.FORBIDDEN


class NotCanonical(BankError):
    """JSON that is not strict, not plain, or not in the form of RFC 8785; `field` is a JSON pointer (RFC 6901)."""

    code = "not-canonical"
    title = "This is not canonical JSON"
    fault: ClassVar[Fault] = Fault.INVALID


class InvalidProof(BankError):
    """A Merkle proof that does not lead to the root."""

    code = "invalid-proof"
    title = "The proof does not hold"
    fault: ClassVar[Fault] = Fault.INVALID


class TileNotFound(BankError):
    """A path that no tile of a log has."""

    code = "tile-not-found"
    title = "The log has no such tile"
    fault: ClassVar[Fault] = Fault.NOT_FOUND


class TilesDamaged(BankError):
    """Tiles that are not those of a tree of their size."""

    code = "tiles-damaged"
    title = "The tiles of a log do not fit together"
    fault: ClassVar[Fault] = Fault.INTERNAL


class MalformedNote(BankError):
    """Bytes that are no signed note, a verifier key that is none, or a note that is no checkpoint."""

    code = "malformed-note"
    title = "This is no signed note of a log"
    fault: ClassVar[Fault] = Fault.INVALID


class NotSigned(BankError):
    """A checkpoint without the signature of a key that has to sign it."""

    code = "not-signed"
    title = "The checkpoint lacks a signature"
    fault: ClassVar[Fault] = Fault.FORBIDDEN


class InvalidToken(BankError):
    """An internal token that is malformed, of another audience, out of time, or not signed by its issuer."""

    code = "invalid-token"
    title = "The token is not valid"
    fault: ClassVar[Fault] = Fault.UNAUTHENTICATED


class UnknownKeyId(InvalidToken):
    """A token that names a key not in the set at hand; a newer set may hold it."""
