"""Copies of embedded clusters that were stopped: a fifth of the work of making one."""

import json
import secrets
from pathlib import Path


def give_identity(folder: Path) -> None:
    """Give the copied folder of an embedded PostgreSQL an identity of its own, by which its processes are known."""
    marker = folder / "latticebank.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "identity": secrets.token_hex(8)}))
