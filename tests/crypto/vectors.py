"""Published test vectors, as they lie in the shared data."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Vector = dict[str, Any]


def wycheproof(shared_data: Path, name: str) -> Iterator[tuple[Vector, Vector]]:
    """Each test of a file of Project Wycheproof, with the group that it stands in."""
    file = json.loads((shared_data / "vectors" / "wycheproof" / "testvectors_v1" / f"{name}_test.json").read_text())
    count = 0
    for group in file["testGroups"]:
        for test in group["tests"]:
            count += 1
            yield group, test
    assert count == file["numberOfTests"]


def hpke(shared_data: Path, kem: int, kdf: int) -> list[Vector]:
    """The vectors of draft-ietf-hpke-pq for a KEM and a KDF, by their numbers."""
    found: list[Vector] = json.loads((shared_data / "vectors" / "hpke-pq" / "test-vectors.json").read_text())
    return [vector for vector in found if (vector["mode"], vector["kem_id"], vector["kdf_id"]) == (0, kem, kdf)]


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)
