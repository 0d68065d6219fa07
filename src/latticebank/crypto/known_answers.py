"""Answers that the algorithms must give: constants of the self-test. No key in here is used for anything else.

Seeds and public keys are those of published test vectors: draft-ietf-lamps-pq-composite-sigs-19, Wycheproof (ML-DSA),
draft-ietf-hpke-pq and RFC 8032, 7.1. What needs randomness to make (the sealed values, the RSA signature) was made once.
"""

from base64 import b64decode
from collections.abc import Mapping
from typing import NamedTuple

from latticebank.crypto.registry import (
    CHACHA20_POLY1305,
    DEFAULT_FIELD_CIPHER,
    DEFAULT_SEALING,
    DEFAULT_SIGNATURE,
    ED25519,
    LOG_KEY,
    ML_DSA_44,
    ML_DSA_65,
    ML_DSA_87,
    ML_KEM_1024_P384,
    RSA_PSS_3072,
    X_WING_CHACHA,
)


class SeedAnswer(NamedTuple):
    """A seed and the SHA-256, in hexadecimal, of the public key that it gives."""

    seed: bytes
    public_key_sha256: str


class SignatureAnswer(NamedTuple):
    """A public key and its signature of a message."""

    public_key: bytes
    message: bytes
    signature: bytes


_ML_DSA_SEED = b"*" * 32
_X_WING = SeedAnswer(
    bytes.fromhex("3ec47fa82dd5689d27c6190e724c74ec8f608df3331ce331929e37b829676630"),
    "ad8aaf3f00d8a39bfeec2947a7d5dde68be08bba19bd301a348a45dc5fcc8341",
)

SIGNING: Mapping[str, SeedAnswer] = {
    DEFAULT_SIGNATURE: SeedAnswer(
        bytes.fromhex(
            "23a578205289555e65ddf567601cb4715fb593a7796a8f71d668c3bca876d937"
            "60e9741f5fb8a68b3c490b93e4aa0e5d82206ef3b8e2242e1bcf4729f2e146aa"
        ),
        "10775911b6c3c2dbf3c98485be51c5cc2c1b9ca5d2047a7faedab1d6cd573c27",
    ),
    ML_DSA_44: SeedAnswer(_ML_DSA_SEED, "d87f8ca136ac1aa55e2d6c4521680efb3a378cbb9bc0bfb446e9c60893931ea3"),
    ML_DSA_65: SeedAnswer(_ML_DSA_SEED, "b7acce2ddb11f8cc1aa46e2bafac6eacfa2b732ef192bd636ad8d3a56d649c66"),
    ML_DSA_87: SeedAnswer(_ML_DSA_SEED, "d43128fa8a8c785c1d44c9e7db538dbf9dd88fe6c8ad911a344bcec1017c6d54"),
}

_ED25519_SEED = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
LOGS: Mapping[str, SeedAnswer] = {
    LOG_KEY: SeedAnswer(
        _ED25519_SEED + _ML_DSA_SEED, "5f8cbb5306ee34da4a3b03d8f3dd514ce8fbd66fc1abc3aaedc12b0a99b375fe"
    ),
}

COMPOSITE_MESSAGE = b"The quick brown fox jumps over the lazy dog."
COMPOSITE_CONTEXT = b"The lethargic, colorless dog sat beneath the energetic, stationary fox."
COMPOSITE_REPRESENTATIVE_SHA256 = "c31a28654f47229364682b53f024ab64a8e1ef7196ceaecd57906a3934f6be91"

VERIFYING: Mapping[str, SignatureAnswer] = {
    ED25519: SignatureAnswer(
        bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"),
        b"r",
        bytes.fromhex(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    RSA_PSS_3072: SignatureAnswer(
        b64decode(
            "MIIBojANBgkqhkiG9w0BAQEFAAOCAY8AMIIBigKCAYEApasBVpWOnOwWR2EqQQIVsw9m58Fmd5shEUWB1/uODrLGnmXO9WCmKVJCyssZLj3H3BfB"
            "dRtNSK/iO+m9mwNCXW7NksRAuVDSleI0PjIiMtv+rW0jCEjV0DWlZ2M2j/w7FfMKpLU+bsUpcySkrZv9E836/qgkirvo08qcxF7Vw75+XuhKqkxa"
            "ByxD0nOQpY6VfmG79kcvDSv5EKtNmwNQrHrvhtkvLt1KRnD6SoOT99UuiVP3h5K/1O97R4IcKRdMY2SGRBDo/N2IeOpiuug2OgxH8sZLEcLX9N8z"
            "ac8dJapgQ+Ebvi2VL65xNICO800e1VLG3WQHzz5qDTLoyS8bcAVqO/wfNMVq6gjdekos35HGMKGspSXLwyQ7/AyTJO+lHYTMy2CEi/VKaBZi31og"
            "uTOT2zqNT+Q08nGp9BVU+6yPVhjR1if4lS9NmOXjLLh1VaTJTdb74cRuvUIOlwBRN1hUUOV8TiW7bbf+T1c/mIw6PhWLRIu5TWiwa0SFUoXxAgMB"
            "AAE="
        ),
        b"known answer",
        b64decode(
            "ni6j6Sf1G7wLlPGnFm89GwBpvRaVZhL/VN4dcwt/3v/00nQvKtSfqJPwF1lborjv53Lq7OrprlEzHVLjuQGbHv+t3LbpBoOvXBZS65tD+o+Ety5r"
            "YYMWYywBo5Q0Zn1NjT2FpJgZLDOPyELMZKIuxoQJ0oIdBPnKdA5MMNdKhgsgry3euCqHlZxjZDENFWSCdNQiA4h3RctHisf+MhivVtM4gZeYFLUy"
            "yghb/Xp3nWd8Va9z/yMWdbAm259szSjKCommC2/9fyVl3PePTGXAc0PztmtjpsP0m+7VpeIE/DEWLYgxjBGJfC/dwiVhjPeKW+to642R/iv6DNQI"
            "U9bmy87p91UaEMdXxSOtYCmHk7Qlg4Ec+d472KVvNHfJ8Vi+5+LJz9UEwDFh22AsoiGPwBBJN7eNUBZZt3ZciG/EsnXm1YvTLpKH9TyVhVFuAY1y"
            "ROuj20oTLQy95ZmrTx3mzvuDEGF833Tji5sM0WcUqgGWpnffGJ7wIkwC+Y+3vi4O"
        ),
    ),
}

SEALING: Mapping[str, SeedAnswer] = {
    DEFAULT_SEALING: _X_WING,
    X_WING_CHACHA: _X_WING,
    ML_KEM_1024_P384: SeedAnswer(
        bytes.fromhex("dbdae0423ba0e5db3d6322601b8dc302d3051d4677142079c7bdf441f4c448dd"),
        "5d0b42c6f1471a72045ec087a4c2e61875541f4550b513672f2d858eb1a133c3",
    ),
}

PLAINTEXT = b"known answer"
PLACE = b"latticebank/self-test"
X_WING_BOX = b64decode(
    "4NAX+Fr43o4OB1ABJ6twrLWG/oB21R7qFN5TzPxRTORG2j1MVfssXFhKZCKkWUHcW1YtO8vqcW9CKe/HE4BR1Ql3Ty0G57qKlJA3wi8dKYFZzwkI"
    "4XOCOZ/zBLJMBnLRzxPl7yReosEAW30sATEoaalnxD6Jsf2nZjGEQnGZbq56g+5fqfiR+e6CjPQXL02Ms0c1t4dygDNvB6GA3Qbq1c5m1Hc+MyUf"
    "cysg0qHvx1wKhysUZ2uZ2QDxQHkQOrUyVFGxGLtMGmQLw3EqkH3gpAxiSMU0uDqSGs7cEvAbIv7TAEBAIjjMRZttAhNTs2R7Y44m+oYMnKu9dgzN"
    "NtgI2lij7B1MndRn4TG+kIG2tDhnrtfEYHRebXxHSzWytof76QO84wi56i2gGpMw4hctw/HB2fF9a1qhRyRltv8QkDTU0Zl90W74ZyUsPvq+KOpG"
    "f7xKEpVQW33CfbFcqgmFtrjt6UuKrp3JDXRLmNtwFtEqXY7auaikqJ9acV2pN9M402KyFvWitzcf5WplKlihrF/66Ao9tqAN78v+/ObvQIqFRS/n"
    "ozSwMwg76wwb5SGpRtPtfo3CYAHRn9mBwAk/Fcgiz1CmydiwTcACr4EsK1q59oMyX1oP/IuPtQSTiamM8bjxrNvMca7nSMJNgN+9LoxuCZ2zlU9s"
    "jAukUEVR1rbSPaApWWRtBiqnQ5vgnv+k5ThWnh2nTHe2HMtPPWYDnhQKsHSJxY973hiV/yH3vFQsphTesDK9Tk3D9iyoFYeq4k98cTLfXvAosaqX"
    "zjrEK6dq6CyKDCggg97AWbaL6W3wA/WIKlNft918vc78uHd1D/aKTqCYM1GzUZacQ+2t5X/lG1f/ARIuJTTTJ703dSRcYESSmfuwcoL7KBBbWyWq"
    "CZskWHHPwc3/n2L6YN2lEeoSb0vjXS1YQyZJjoAcyH8xVnKt4JwKjRqPS+9QXwvkf9UQPct249iJAy40BBpMkrjeax5Kfh5D+xlUZYHwSouklF+X"
    "MRapf9r/x38X1ISUPTvTy2PZTtKqed/24UF+yHlBO0UlLJwpLj3fXsxLxC5AAUGiymhEUCSgLjDza4r/m7nJWrIEd9rq4f/7axwgMl8YFtlsQ6qr"
    "ig5WjPJp5QYqLiN+GngNjZ0vBoBL1sSscnGosWdRS+O3pjDP+3G3z7VYCoURt44ssoHkJoxHjBsESZcU4me/G7ZxiYapw86umqQkzmPY5mJCx4Zq"
    "gsB423re4VfTV3Zw7qGsGGjgoEU2m3ErcHW+R38n3AGKNicscXB56XouuGEhIK0JJpa5G1/G3iKnBXGoZSi07yQRgnmJr1NPRR20VuJZa0swYHBp"
    "mbiu8JneOYWpE5qF+6fCuCx208WRmX9wu25JI1/rIF3+jf20dGJyGdVi74/zpKZOjwe8rEwuIBhmzMS+FK8BQdbQizZbZI0gz1y5WoxaUfMti29V"
    "SfZXxU07zPf/EuKakVmKvuJF4cJZfJTc7eCgeDnpN0yjcPIZpcMsuBiqb+XPcn3GtcDYk5O5tms="
)

FIELD_SECRET = bytes(range(32))
FIELDS: Mapping[str, bytes] = {
    DEFAULT_FIELD_CIPHER: b64decode("AQEAAAAAAAAAAAAAAAAAAAABAAFwYuMAxT/MCjqCJ0QX+w7BUIBXfWAcd7qOo4Nw4B3h9LtgsjNguYQP"),
    CHACHA20_POLY1305: b64decode("AQIAAAAAAAAAAAAAAAAAAAABAAENm5rSyDJelMHA5gWJ2uGTj64agmkZyVvAaOzNZWqlERV2S5WcMF1P"),
}
