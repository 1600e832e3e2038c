"""PgBouncer's version by its image, quantities, and the verifiers of a local stack."""

from fractions import Fraction

import pytest

import settings
from settings import SettingsError, values
from tests.unit.conftest import full_config, local_state

DIGEST = f"@sha256:{'c' * 64}"


@pytest.mark.parametrize(
    ("image", "version"),
    [
        (f"registry.example:5000/pgbouncer:1.26.0{DIGEST}", (1, 26, 0)),  # the tag's, not the registry's
        (f"edoburu/pgbouncer:v1.25.2-p0{DIGEST}", (1, 25, 2)),
        (f"edoburu/pgbouncer:1.25.10{DIGEST}", (1, 25, 10)),
        (settings.KNOWN_AT_DEPLOY, (1, 25, 2)),
    ],
)
def test_the_version_is_that_of_the_tag(image: str, version: tuple[int, int, int]) -> None:
    assert settings.pgbouncer_version(image) == version


@pytest.mark.parametrize("image", [f"registry.example:5000/pgbouncer:stable{DIGEST}", "pgbouncer:1.26.0", "x:1.26@y"])
def test_an_image_without_a_version_has_none(image: str) -> None:
    with pytest.raises(ValueError, match="does not begin with a version"):
        settings.pgbouncer_version(image)


@pytest.mark.parametrize(
    ("quantity", "number"),
    [
        ("500m", Fraction(1, 2)),
        ("2", 2),
        ("1.5", Fraction(3, 2)),
        ("4k", 4000),
        ("3Ki", 3072),
        ("1M", 10**6),
        ("0.5Mi", 2**19),
        ("1G", 10**9),
        ("4Gi", 2**32),
        ("1T", 10**12),
        ("1Ti", 2**40),
    ],
)
def test_a_quantity_is_a_number(quantity: str, number: Fraction) -> None:
    assert values.amount(quantity) == number


@pytest.mark.parametrize("verifier", ["s3cr3t", 'SCRAM-SHA-256$"s3cr3t', "SCRAM-SHA-256$s3cr3t\n"])
def test_what_is_no_scram_verifier_is_refused_and_not_repeated(verifier: str) -> None:
    state = local_state()
    state["scramVerifiers"]["payload_user"] = verifier
    with pytest.raises(SettingsError) as refused:
        settings.load("dev", full_config("dev"), local=state)
    (problem,) = refused.value.problems
    assert problem.key == ".local/dev/state.json: local.scramVerifiers.payload_user"
    assert problem.what == "text is malformed"
    assert problem.fix == "make down WIPE=1 && make up"
