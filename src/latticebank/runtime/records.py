"""The small JSON files by which a backup and an archive say what they are.

They lie where others may have been, and what they say is acted upon: so nothing in them is guessed, passed over or taken twice.
"""

import json
from pathlib import Path
from typing import TypeVar

import msgspec

from latticebank.runtime.disk import write_durably

MAX_BYTES = 65_536
_MAKER = "latticebank"

Record = TypeVar("Record", bound=msgspec.Struct)


def read_record(path: Path, kind: type[Record], version: int, **known: str) -> Record:
    """The record in a file; `known` are members that are not written in it.

    Raises:
        ValueError: it is no record of this kind and version.
        OSError: it cannot be read.

    """
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes")
    try:
        written = json.loads(content.decode(), object_pairs_hook=_each_once)
        if not isinstance(written, dict) or known.keys() & written.keys():
            raise ValueError("not the members of a record")
        made_by, format_ = written.pop("made_by", None), written.pop("format", None)
        if made_by != _MAKER or type(format_) is not int or format_ != version:
            raise ValueError("another format")
        return msgspec.convert(written | known, kind)
    except (RecursionError, msgspec.ValidationError) as error:
        raise ValueError(str(error)) from error


def write_record(path: Path, record: msgspec.Struct, version: int, *left_out: str) -> None:
    """Replace the file by a record of this version, without the members that are known otherwise."""
    members = {name: value for name, value in msgspec.to_builtins(record).items() if name not in left_out}
    write_durably(path, json.dumps({"made_by": _MAKER, "format": version, **members}, indent=2) + "\n")


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name is there twice")
    return members
