"""SCRAM-SHA-256 verifiers, as PostgreSQL stores them (RFC 5803)."""

from base64 import b64encode

from scramp import ScramMechanism

ITERATIONS = 4096
"""PostgreSQL 15's own count (src/include/common/scram-common.h)."""


def scram_verifier(password: str, salt: bytes) -> str:
    """`SCRAM-SHA-256$…` of a password: PostgreSQL takes it in place of the password, PgBouncer in its auth file.

    The same password and salt give the same verifier, so both servers hold one string. Raises ScramException for a salt
    shorter than 12 bytes and for characters that SASLprep (RFC 4013) prohibits, such as control characters.
    """
    mechanism = ScramMechanism("SCRAM-SHA-256")
    _, stored_key, server_key, _ = mechanism.make_auth_info(password, iteration_count=ITERATIONS, salt=salt)
    encoded_salt, stored, server = (b64encode(part).decode() for part in (salt, stored_key, server_key))
    return f"SCRAM-SHA-256${ITERATIONS}:{encoded_salt}${stored}:{server}"
