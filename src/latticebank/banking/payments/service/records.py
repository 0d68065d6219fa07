"""Where what customers signed lies: the places that bind a sealed document to its row."""

from uuid import UUID

from latticebank.crypto.envelope import field_place


def document_place(payment: UUID) -> bytes:
    """Return the place of what was signed for a single payment."""
    return field_place("signed_documents", "document", str(payment))


def manifest_place(batch: UUID) -> bytes:
    """Return the place of a signed manifest."""
    return field_place("batches", "manifest", str(batch))


def texts_place(batch: UUID, piece: int) -> bytes:
    """Return the place of a piece of a batch's payments."""
    return field_place("batch_texts", "texts", f"{batch}/{piece}")
