"""SCRAM-SHA-256 verifiers, as PostgreSQL stores them (RFC 5803)."""

import base64
import hashlib
import hmac

ITERATIONS = 4096
"""PostgreSQL 15's own count (src/include/common/scram-common.h)."""


def scram_verifier(password: str, salt: bytes) -> str:
    """`SCRAM-SHA-256$…` of an ASCII password: the server takes it in place of the password, PgBouncer in its auth file.

    The same password and salt give the same verifier, so both sides hold one string. Raises UnicodeEncodeError for a
    password that is not ASCII (SASLprep would have to change it first).
    """
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    text = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return "SCRAM-SHA-256${}:{}${}:{}".format(ITERATIONS, *text)
