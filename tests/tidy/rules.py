"""The house rules that no linter knows. Each looks at one file and yields what breaks it.

A rule says where it holds, and its exceptions are the named lists at the top, each with its reason.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from tests.tidy.source import ROOT, Finding, Rule, Source

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

# Rooms where money is counted, below src/latticebank.
MONEY_ROOMS = ("values/money", "banking/ledger", "banking/takeover")

# (room, words of the line) -> why this float is no money
FLOATS_THAT_ARE_NOT_MONEY = {
    ("banking/ledger", "await asyncio.sleep("): "seconds to wait before the next attempt",
}

# Rooms outside the services' stores that own tables or the database itself: prefixes below src/latticebank.
SQL_ROOMS = (
    "kernel/alembic",
    "kernel/bus",
    "kernel/configuration",
    "kernel/consumer",
    "kernel/database",
    "kernel/migrations",
    "kernel/outbox",
    "kernel/relay",
    "runtime",
)

# Where a transaction may end: the unit of work, the migrations' own connection, the ledger's write path.
COMMIT_ROOMS = ("kernel/database", "kernel/migrations", "banking/ledger/store")

SERVICE_FOLDERS = ("security", "banking", "intelligence")
NOT_SERVICES = ("banking/takeover",)  # a client's room: it reads files and calls the ledger
SERVICE_ROOMS = (
    *("__init__", "model", "store", "service", "wire", "api"),
    *("client", "events", "subscriptions", "jobs", "migrations"),
)

WORDLESS_NAMES = ("utils", "util", "helpers", "helper", "manager", "managers", "common", "misc", "data", "process")

TESTS_OF_NO_ROOM = ("conformance", "docs", "faults", "e2e", "tidy", "benchmarks")

# The rules and their samples name what they forbid.
TIDY_ITSELF = "tests/tidy"

_SQL = re.compile(
    r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|ALTER|DROP|TRUNCATE|COPY|MERGE INTO|LOCK TABLE|WITH)\s"
)
_LEFT_TO_DO = re.compile(r"\b(?:TODO|FIXME)\b|(?:#|//|--|/\*|<!--)\s*XXX\b")
_REGISTRY = re.compile(
    r"://[^\s\"']*(?:pypi|pythonhosted|npmjs|yarnpkg|crates\.io|proxy\.golang|repo1?\.maven|debian\.org)", re.IGNORECASE
)
_RESOLVED = ("pyproject.toml", "Makefile", ".npmrc", "package.json", "package-lock.json")
_SOMEONES_FOLDER = re.compile(r"(?<![\w.:/~}-])/(?:work|root|home/[a-z]\w*|Users/[A-Za-z]\w*)/")


def within(path: PurePosixPath, rooms: tuple[str, ...]) -> bool:
    """Whether the path is one of the rooms, in one of them, or a file whose name begins like one (`outbox_relay`)."""
    return any(str(path) == room or str(path).startswith((f"{room}/", f"{room}_")) for room in rooms)


def file_length(source: Source) -> Iterator[Finding]:
    lines = source.text.count("\n")
    if source.is_python and lines > MAX_FILE_LINES:
        advice = f"{lines} lines, at most {MAX_FILE_LINES}: split it by concept into a folder of the same name"
        yield Finding(source.path, lines, "file length", advice)


def function_length(source: Source) -> Iterator[Finding]:
    for node in source.nodes if source.is_python else []:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                advice = f"{node.name} has {lines} lines, at most {MAX_FUNCTION_LINES}: name its steps"
                yield Finding(source.path, node.lineno, "function length", advice)


def no_float_near_money(source: Source) -> Iterator[Finding]:
    if source.room is None or not within(source.room, MONEY_ROOMS):
        return
    for node in source.nodes:
        match node:
            case ast.Constant(value=float() | complex()):
                seen, advice = "float literal", "count in minor units, as int"
            case ast.Name(id="float" | "complex"):
                seen, advice = "float type", "count in minor units, as int, or compute with Decimal"
            case ast.BinOp(op=ast.Div(), right=right) if not _is_text(right):
                seen, advice = "true division", "use // and say who gets the rest (for a path: joinpath)"
            case ast.AugAssign(op=ast.Div()):
                seen, advice = "true division", "use // and say who gets the rest"
            case _:
                continue
        line = source.lines[node.lineno - 1]
        if not any(within(source.room, (room,)) and words in line for room, words in FLOATS_THAT_ARE_NOT_MONEY):
            yield Finding(source.path, node.lineno, "no float near money", f"{seen}: {advice}")


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def sql_only_in_stores(source: Source) -> Iterator[Finding]:
    room = source.room
    if room is None or {"store", "migrations"} & set(room.parts) or within(room, SQL_ROOMS):
        return
    for node in source.nodes:
        match node:
            case ast.Constant(value=str(words)) if _SQL.match(words):
                seen = "SQL"
            case ast.ImportFrom(module="sqlalchemy", names=names) if any(name.name == "text" for name in names):
                seen = "sqlalchemy.text"
            case ast.Attribute(value=ast.Name(id="sqlalchemy" | "sa"), attr="text"):
                seen = "sqlalchemy.text"
            case _:
                continue
        yield Finding(source.path, node.lineno, "SQL only in stores", f"{seen}: move it to the service's store.py")


def commit_in_one_place(source: Source) -> Iterator[Finding]:
    if source.room is None or within(source.room, COMMIT_ROOMS):
        return
    for node in source.nodes:
        match node:
            case ast.Call(func=ast.Attribute(attr="commit" | "rollback" as ending)):
                advice = f"{ending}(): let the unit of work end the transaction (kernel.database.begin)"
                yield Finding(source.path, node.lineno, "commit in one place", advice)


def names_say_what(source: Source) -> Iterator[Finding]:
    for name in source.path.with_suffix("").parts if source.is_python else []:
        if name in WORDLESS_NAMES:
            advice = f"{name!r} says nothing: name it for the concept it holds"
            yield Finding(source.path, 1, "names say what", advice)


def service_rooms(source: Source) -> Iterator[Finding]:
    room = source.room
    if room is None or within(room, NOT_SERVICES):
        return
    match room.parts:
        case (folder, _, name, *_) if folder in SERVICE_FOLDERS:
            pass
        case (folder, name) if folder in SERVICE_FOLDERS and name != "__init__":
            advice = f"a service is a folder: {folder}/{name}/"
            yield Finding(source.path, 1, "service rooms", advice)
            return
        case ("gateway", name, *_):
            pass
        case _:
            return
    if name not in SERVICE_ROOMS:
        advice = f"{name!r} is no room of a service; the rooms are {', '.join(SERVICE_ROOMS[1:])}, and folders of these"
        yield Finding(source.path, 1, "service rooms", advice)


def nothing_left_to_do(source: Source) -> Iterator[Finding]:
    if not source.path.is_relative_to(TIDY_ITSELF):
        advice = "do it, or record the decision not to in docs/decisions"
        yield from _matches(_LEFT_TO_DO, source, "nothing left to do", advice)


def no_registry_named(source: Source) -> Iterator[Finding]:
    if source.path.suffix == ".lock" or source.path.name in _RESOLVED:
        advice = "names a registry's address: lock with `make lock` (npm: omit-lockfile-registry-resolved=true)"
        yield from _matches(_REGISTRY, source, "no registry named", advice)


def no_persons_folder(source: Source) -> Iterator[Finding]:
    if not source.path.is_relative_to(TIDY_ITSELF):
        advice = "a folder of one machine: take it from a setting or from where the file is"
        yield from _matches(_SOMEONES_FOLDER, source, "no person's folder", advice)


def _matches(pattern: re.Pattern[str], source: Source, rule: str, advice: str) -> Iterator[Finding]:
    for number, line in enumerate(source.lines, start=1):
        if pattern.search(line):
            yield Finding(source.path, number, rule, advice)


def tests_mirror_rooms(source: Source) -> Iterator[Finding]:
    path = source.path
    is_test = path.parts[0] == "tests" and path.name.startswith("test_") and path.suffix == ".py"
    if not is_test or path.parts[1] in TESTS_OF_NO_ROOM:
        return
    folder = path.parent.relative_to("tests")
    module = folder / path.stem.removeprefix("test_") if len(path.parts) == 2 else folder
    room = ROOT / "src" / "latticebank" / module
    if not (room.is_dir() or room.with_suffix(".py").is_file()):
        advice = f"there is no room {module} in src/latticebank: put the test where its room is"
        yield Finding(path, 1, "tests mirror rooms", advice)


RULES: tuple[Rule, ...] = (
    file_length,
    function_length,
    no_float_near_money,
    sql_only_in_stores,
    commit_in_one_place,
    names_say_what,
    service_rooms,
    nothing_left_to_do,
    no_registry_named,
    no_persons_folder,
    tests_mirror_rooms,
)
