"""How the tests of `verify` ask for a verdict."""

import json
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from latticebank.verify.command import Wanted, run


class Verdict(NamedTuple):
    """How the command ended, and all that it told."""

    code: int
    told: str
    faults: list[str]


@pytest.fixture
def judge(tmp_path: Path) -> Callable[..., Verdict]:
    """Verify things under a policy: a dict is a receipt, a text a checkpoint, a path itself."""

    def judged(things: Any, policy: str, **options: Any) -> Verdict:
        paths: list[Path] = []
        for number, thing in enumerate(
            things if isinstance(things, Sequence) and not isinstance(things, str | bytes) else [things]
        ):
            paths.append(tmp_path / f"thing-{number}" if not isinstance(thing, Path) else thing)
            if isinstance(thing, bytes):
                paths[-1].write_bytes(thing)
            elif not isinstance(thing, Path):
                paths[-1].write_text(thing if isinstance(thing, str) else json.dumps(thing))
        policy_path = tmp_path / "policy"
        policy_path.write_bytes(policy.encode(errors="surrogateescape"))
        for name, text in options.items():
            if isinstance(text, str):
                options[name] = tmp_path / name
                options[name].write_text(text)
        out = StringIO()
        code = run(Wanted(paths, policy_path, as_json=True, **options), out, out)
        told = out.getvalue()
        subjects = json.loads(told)["subjects"] if code != 2 else []
        faults = [fault for each in subjects for fault in each["faults"]]
        return Verdict(code, told, faults)

    return judged
