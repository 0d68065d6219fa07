"""A policy names the keys of logs and of witnesses, each of a type that can do what it is there for."""

import pytest

from latticebank.crypto.checkpoints import CosignerKey, LogKey
from latticebank.crypto.errors import MalformedNote
from latticebank.crypto.log_policy import MAX_POLICY_BYTES, NamedWitness, parse_policy
from latticebank.crypto.notes import ED25519_COSIGNATURE, NoteKey

ORIGIN = "bank.example/log"
LOG = LogKey.from_seed(bytes(range(64))).note_keys(ORIGIN)
SECOND = LogKey.from_seed(bytes(range(64, 128))).note_keys("bank.example/log/2")
WITNESS = CosignerKey.from_seed("witness.example/w1", bytes(32)).note_key()
CLASSICAL = NoteKey.of("witness.example/w2", ED25519_COSIGNATURE, bytes(32))
LOG_LINES = "".join(f"log {key.vkey()}\n" for key in LOG)


def test_a_policy_gives_the_keys_of_each_log_and_the_witnesses() -> None:
    policy = parse_policy(
        f"""# whom we trust
{LOG_LINES}
  log\t{SECOND[0].vkey()}   https://bank.example/api/log
log {SECOND[1].vkey()}
witness one {WITNESS.vkey()} https://witness.example/
\twitness\ttwo {CLASSICAL.vkey()}
group both all one two
quorum both
""".encode()
    )

    assert policy.keys_of(ORIGIN) == LOG
    assert policy.keys_of("bank.example/log/2") == SECOND
    assert policy.keys_of("bank.example") == ()
    assert policy.witnesses == (
        NamedWitness("one", WITNESS, "https://witness.example/"),
        NamedWitness("two", CLASSICAL, None),
    )


def test_an_empty_policy_trusts_nobody() -> None:
    assert parse_policy(b"").logs == parse_policy(b"# nobody\n\nquorum none\n").logs == ()


@pytest.mark.parametrize(
    "text",
    [
        "log\n",
        "logs a\n",
        "log nonsense\n",
        LOG_LINES + LOG_LINES,
        f"log {LOG[0].vkey()} https://bank.example more\n",
        f"log {LOG[0].vkey()[:-4]}\n",
        f"log {CLASSICAL.vkey()}\n",
        f"witness one {LOG[0].vkey()}\n",
        f"witness {WITNESS.vkey()}\n",
        f"witness one {WITNESS.vkey()}\nwitness two {WITNESS.vkey()}\n",
        f"log {WITNESS.vkey()}\nwitness one {WITNESS.vkey()}\n",
        "\x00\n",
        "log a+b+c\r\n",
    ],
)
def test_a_line_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(MalformedNote):
        parse_policy(text.encode())


def test_a_policy_has_a_bound() -> None:
    parse_policy(b"#" * MAX_POLICY_BYTES)
    with pytest.raises(MalformedNote):
        parse_policy(b"#" * (MAX_POLICY_BYTES + 1))
