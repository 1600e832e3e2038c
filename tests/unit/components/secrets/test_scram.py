"""SCRAM verifiers: what RFC 7677 and a real PostgreSQL 15.18 compute."""

import base64
import hashlib
import hmac

import pytest
from scramp import ScramException

from components.secrets.scram import scram_verifier


def test_a_server_with_it_accepts_the_exchange_of_rfc_7677() -> None:
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    salt = "W22ZaJ0SNY7soEsUEjb6gQ=="
    exchange = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s={salt},i=4096,c=biws,r={nonce}".encode()
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")

    mechanism, parameters, keys = scram_verifier("pencil", base64.b64decode(salt)).split("$")
    stored_key, server_key = map(base64.b64decode, keys.split(":"))

    assert (mechanism, parameters) == ("SCRAM-SHA-256", f"4096:{salt}")
    signature = hmac.digest(stored_key, exchange, "sha256")
    client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    assert hashlib.sha256(client_key).digest() == stored_key
    answer = base64.b64encode(hmac.digest(server_key, exchange, "sha256"))
    assert answer == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@pytest.mark.parametrize(
    ("password", "salt", "stored_key", "server_key"),
    [
        (
            "Kx7Qm2vT9bWc4RzLp8Yd1HnJf6GsAe3U5oXiNtBq",
            "lrxddC7qDA5M/1gqYEJk3g==",
            "bZy1MYNbFLaAQpvPBiyJ/nScnH25jNGbXaA7iNJYl+4=",
            "0YOOKTJ52UJQHnWe5Bgi7RD0g6O6E92DgHps1/BWmxc=",
        ),
        (
            "päss wörd",
            "97Rq/QY2WGBwQIXRXxWoOA==",
            "E0NQ0m6IMmIBeCpmjQ36eYVQExRdQ6IFgh2VFPK7eps=",
            "/vzV5CfrPMYqE2MVDzSvDprVwxY4+bv3ewOnVI/+Cc4=",
        ),
        (
            # A decomposed ä, which SASLprep composes.
            "pa\u0308ss wörd",
            "+WNiWKaHkOcrr/2zixankA==",
            "ZWdtdYm331OmYSbYIB6OkX85O7OSR9AyMNJ4osjQu/A=",
            "G7eNC3hlM8kuzJ3zXtuxWb94h1eaG3U1VWCWacGgtsI=",
        ),
        (
            # Examples of RFC 4013: a soft hyphen is dropped, ª becomes a, Ⅸ becomes IX.
            "I\u00adX\u00aa\u2168",
            "GaqouqB976BuEDgZH1VqIw==",
            "R0w+MOLXcxFlfrX03bDkl5UprbKABk5+bXW3P1MX3gg=",
            "FpOFXjD/H/5gU1lvs1a/wurWDNTAiF8Hgfomgp8Wf84=",
        ),
    ],
)
def test_postgresql_computes_the_same(password: str, salt: str, stored_key: str, server_key: str) -> None:
    verifier = scram_verifier(password, base64.b64decode(salt))
    assert verifier == f"SCRAM-SHA-256$4096:{salt}${stored_key}:{server_key}"


@pytest.mark.parametrize("password", ["bell\a", "private use \ue000"])
def test_a_prohibited_character_is_refused(password: str) -> None:
    with pytest.raises(ScramException):
        scram_verifier(password, bytes(16))
