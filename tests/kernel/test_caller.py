"""The operator is known by a token that lies in one file, for the bank's own user, and nowhere else."""

import asyncio
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import pytest

from latticebank.kernel.authentication import CredentialAuthenticator, credentials_in
from latticebank.kernel.caller import ANONYMOUS, OPERATOR, Caller, CredentialRefused, service_caller
from latticebank.kernel.credential_file import (
    TOKEN_FILE,
    UnsafeCredentialFile,
    operator_token_digest,
    read_operator_token,
    read_service_token,
)
from latticebank.kernel.http import Router, permit
from tests.kernel.serving import Desk, context_in, problem, service_of

WRONG = [
    "",
    "Bearer",
    "Bearer ",
    "Bearer x",
    "Bearer lbo_" + "A" * 43,
    "Bearer lbo_" + "A" * 42 + "=",
    "Bearer lbo_" + "é" * 43,
    "Basic b3BlcmF0b3I6eA==",
    "lbo_" + "A" * 43,
    "Bearer lbo_" + "A" * 5000,
]


def test_the_token_is_made_once_for_the_bank_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    token = read_operator_token(folder)
    assert stat.S_IMODE((folder / TOKEN_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert read_operator_token(folder) == token
    assert token.startswith("lbo_")
    assert operator_token_digest(folder) == sha256(token.encode()).digest()
    assert [entry.name for entry in folder.iterdir()] == [TOKEN_FILE]


def test_banks_that_start_at_once_agree_on_one_token(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(read_operator_token, [tmp_path] * 16))) == 1


def loosen_file(folder: Path) -> None:
    (folder / TOKEN_FILE).chmod(0o640)


def loosen_folder(folder: Path) -> None:
    folder.chmod(0o777)


def link_file(folder: Path) -> None:
    (folder / TOKEN_FILE).rename(folder / "elsewhere")
    (folder / TOKEN_FILE).symlink_to(folder / "elsewhere")


def dangling_link(folder: Path) -> None:
    (folder / TOKEN_FILE).unlink()
    (folder / TOKEN_FILE).symlink_to(folder / "nowhere")


def folder_in_place(folder: Path) -> None:
    (folder / TOKEN_FILE).unlink()
    (folder / TOKEN_FILE).mkdir()


def empty_file(folder: Path) -> None:
    (folder / TOKEN_FILE).write_text("")


def longer_token(folder: Path) -> None:
    with (folder / TOKEN_FILE).open("a") as file:
        file.write("more")


@pytest.mark.parametrize(
    "spoil",
    [loosen_file, loosen_folder, link_file, dangling_link, folder_in_place, empty_file, longer_token],
)
def test_a_token_that_others_could_have_is_refused(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    read_operator_token(tmp_path)
    spoil(tmp_path)
    with pytest.raises(UnsafeCredentialFile):
        operator_token_digest(tmp_path)


@pytest.mark.skipif(not hasattr(os, "chown") or os.geteuid() != 0, reason="only root can give a file away")
def test_a_token_of_another_user_is_refused(tmp_path: Path) -> None:
    read_operator_token(tmp_path)
    os.chown(tmp_path / TOKEN_FILE, 12345, -1)
    with pytest.raises(UnsafeCredentialFile):
        operator_token_digest(tmp_path)


async def test_no_credential_is_anonymous_and_the_token_is_the_operator(tmp_path: Path) -> None:
    knows = CredentialAuthenticator(credentials_in(tmp_path, ()))
    token = read_operator_token(tmp_path)
    assert await knows.authenticate(None, "ledger") == ANONYMOUS
    assert await knows.authenticate(f"Bearer {token}", "ledger") == OPERATOR
    assert await knows.authenticate(f"bearer {token}", "identity") == OPERATOR
    assert token not in repr(vars(knows))


async def test_the_credential_of_a_service_counts_where_its_tokens_come_from_and_nowhere_else(tmp_path: Path) -> None:
    knows = CredentialAuthenticator(credentials_in(tmp_path, ["payments", "identity"]))
    payments, identity = (f"Bearer {read_service_token(tmp_path, name)}" for name in ("payments", "identity"))
    assert await knows.authenticate(payments, "identity") == service_caller("payments")
    assert await knows.authenticate(identity, "keys") == service_caller("identity")
    for authorization, audience in ((payments, "ledger"), (payments, "keys"), (identity, "ledger")):
        with pytest.raises(CredentialRefused):
            await knows.authenticate(authorization, audience)


@pytest.mark.parametrize("authorization", WRONG)
async def test_a_wrong_credential_is_refused_and_counted(tmp_path: Path, authorization: str) -> None:
    refusals: list[int] = []
    knows = CredentialAuthenticator(credentials_in(tmp_path, ()), lambda: refusals.append(1))
    with pytest.raises(CredentialRefused):
        await knows.authenticate(authorization, "ledger")
    assert refusals == [1]


async def slow(knows: CredentialAuthenticator) -> bool:
    with pytest.raises(CredentialRefused) as refused:
        await knows.authenticate("Bearer x", "ledger")
    return refused.value.slow


async def test_refusals_that_come_too_fast_are_slowed_and_never_the_right_token(tmp_path: Path) -> None:
    seconds = 0.0
    knows = CredentialAuthenticator(credentials_in(tmp_path, ()), monotonic=lambda: seconds)
    assert [await slow(knows) for _ in range(60)] == [False] * 50 + [True] * 10
    assert await knows.authenticate(f"Bearer {read_operator_token(tmp_path)}", "ledger") == OPERATOR
    seconds = 1.0
    assert [await slow(knows) for _ in range(6)] == [False] * 5 + [True]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    router = Router(prefix="/api/ledger")

    @router.get("/public")
    async def public(caller: Annotated[Caller, permit("ledger:Read")]) -> str:
        return caller.kind

    @router.post("/accounts")
    async def secret(caller: Annotated[Caller, permit("ledger:Open")], body: dict[str, int]) -> str:
        return caller.kind

    @router.get("/forbidden")
    async def forbidden(caller: Annotated[Caller, permit("ledger:Rewrite")]) -> None: ...

    policies = (
        'permit (principal, action == Action::"ledger:Read", resource);'
        'forbid (principal, action == Action::"ledger:Rewrite", resource);'
    )
    service = service_of(router, policies=policies)
    return Desk(service.build(context_in(tmp_path, service)), tmp_path)


async def test_a_public_route_is_for_anyone_but_for_no_wrong_credential(desk: Desk) -> None:
    assert (await desk.ask("GET", "/api/ledger/public")).body == b'"Anonymous"'
    assert (await desk.ask("GET", "/api/ledger/public", operator=True)).body == b'"Operator"'
    for wrong in WRONG:
        raw = wrong.encode().decode("latin-1")
        for target in ("/api/ledger/public", "/api/ledger/accounts", "/api/ledger/nothing"):
            response = await desk.ask("GET", target, authorization=raw[:2000])
            assert problem(response).status == 401
            assert response.headers["www-authenticate"] == 'Bearer realm="latticebank", error="invalid_token"'


async def test_a_protected_route_asks_who_calls_before_it_reads_the_body(desk: Desk) -> None:
    response = await desk.ask("POST", "/api/ledger/accounts", b"{ this is not JSON")
    assert problem(response).code == "unauthenticated"
    assert response.headers["www-authenticate"] == 'Bearer realm="latticebank"'
    assert (await desk.ask("POST", "/api/ledger/accounts", b"{}", operator=True)).status == 200


async def test_a_known_caller_without_the_right_is_forbidden(desk: Desk) -> None:
    assert problem(await desk.ask("GET", "/api/ledger/forbidden", operator=True)).status == 403
    assert problem(await desk.ask("GET", "/api/ledger/forbidden")).status == 401


async def test_a_flood_of_wrong_credentials_is_slowed_and_others_are_not(desk: Desk) -> None:
    clock = asyncio.get_running_loop()
    began = clock.time()
    flood = [desk.ask("GET", "/api/ledger/public", authorization="Bearer x") for _ in range(60)]
    answers = await asyncio.gather(*flood)
    assert {answer.status for answer in answers} == {401}
    assert clock.time() - began >= 0.2
    began = clock.time()
    assert (await desk.ask("GET", "/api/ledger/public", operator=True)).status == 200
    assert clock.time() - began < 0.2
