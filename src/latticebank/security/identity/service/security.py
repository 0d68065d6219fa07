"""How the bank protects itself, for everyone to see."""

import cryptography

from latticebank import __version__
from latticebank.crypto import passwords, registry
from latticebank.security.identity.service.foundation import Foundation
from latticebank.security.identity.wire import AlgorithmView, SecurityInfo

PASSWORD_HASH = f"Argon2id, {passwords.MEMORY_KIB // 1024} MiB, {passwords.PASSES} passes, {passwords.LANES} lanes"


def security_info(base: Foundation) -> SecurityInfo:
    """Return the algorithms of the bank and the ids of the keys that its tokens are signed with."""
    return SecurityInfo(
        bank=base.bank,
        version=__version__,
        library=f"cryptography {cryptography.__version__}",
        algorithms=[*_signatures(), *_log_keys(), *_suites(), *_ciphers()],
        token_keys=[key.key_id for key in base.own_keys.public],
        password_hash=PASSWORD_HASH,
    )


def _signatures() -> list[AlgorithmView]:
    default = registry.DEFAULT_SIGNATURE
    return [
        AlgorithmView(each.name, "signature", each.post_quantum, each.authorises, default=each.name == default)
        for each in registry.SIGNATURES.values()
    ]


def _log_keys() -> list[AlgorithmView]:
    return [
        AlgorithmView(name, "log", post_quantum=True, authorises=False, default=name == registry.LOG_KEY)
        for name in registry.LOG_KEYS
    ]


def _suites() -> list[AlgorithmView]:
    return [
        AlgorithmView(name, "sealing", post_quantum=True, authorises=False, default=name == registry.DEFAULT_SEALING)
        for name in registry.SEALING
    ]


def _ciphers() -> list[AlgorithmView]:
    # A key of 256 bits keeps 128 against a quantum search (NIST IR 8547).
    default = registry.DEFAULT_FIELD_CIPHER
    return [
        AlgorithmView(name, "field", post_quantum=True, authorises=False, default=name == default)
        for name in registry.FIELD_CIPHERS
    ]
