"""Signing a document and checking a signature: the context is always the document's type."""

from latticebank.crypto.signatures import SigningKey, VerifyingKey
from latticebank.documents.document import Document, to_bytes


def sign(key: SigningKey, document: Document) -> tuple[bytes, bytes]:
    """Return the bytes of a document and their signature."""
    signed = to_bytes(document)
    return signed, key.sign(signed, document.type.encode())


def verify(key: VerifyingKey, received: bytes, signature: bytes, document_type: str) -> None:
    """Check the signature of received bytes as a document of this type.

    Raises:
        InvalidSignature: it is not this key's signature of these bytes for this purpose.

    """
    key.verify(signature, received, document_type.encode())
