"""The report of a verification, for a reader and for a program."""

import io
import json

import pytest
from rich.console import Console, RenderableType

import settings
from ops import console
from ops.verify.matrix import Matrix, matrix
from ops.verify.model import Check, Report
from ops.verify.report import MAX_SHOWN, as_document, as_output
from tests.unit.conftest import full_config, local_state

FINE = Check("payload_user", "payload", "table pages", "SELECT", "granted", "granted")
WRONG = Check("django_user", "payload", "function payload.f(integer[])", "EXECUTE", "absent", "granted", "pooled")


@pytest.fixture(scope="module")
def expected() -> Matrix:
    return matrix(settings.load("dev", full_config("dev"), local=local_state()))


def printed(output: RenderableType) -> str:
    """As a pipe gets it."""
    return console.plain(output)


def test_a_clean_report(expected: Matrix) -> None:
    lines = printed(as_output(Report([FINE, FINE], ["something was not tried"]), expected, "dev")).splitlines()
    assert lines[0] == "dev: the platform against the product table"
    assert lines[2].split() == (
        ["login", "role", "public", "payload", "django", "createos", "cineos", "photographyos", "itself"]
    )
    row = next(line for line in lines if line.startswith("payload_user"))
    assert "full ok" in row
    assert "WRONG" not in row
    assert lines[-2:] == ["note: something was not tried", "2 checks, 0 wrong"]


def test_a_failed_check_is_counted_in_the_matrix_and_listed_in_full(expected: Matrix) -> None:
    output = printed(as_output(Report([FINE, WRONG, WRONG]), expected, "dev"))
    lines = output.splitlines()
    rows = [line for line in lines if line.startswith("django_user")]
    assert "none WRONG (1)" in rows[0]
    assert rows[1].split("  ")[0] == "django_user"
    # The signature holds brackets, which must not be read as markup.
    assert rows[1].split() == [
        *("django_user", "payload", "function", "payload.f(integer[])", "EXECUTE", "absent", "granted", "pooled")
    ]
    assert lines[-1] == "3 checks, 1 wrong"


def test_columns_are_aligned(expected: Matrix) -> None:
    lines = printed(as_output(Report([FINE]), expected, "dev")).splitlines()
    header = lines[2]
    column = header.index("itself")
    assert all(line[column:].rstrip() == "ok" for line in lines[3:8])


def test_a_long_report_names_the_rest(expected: Matrix) -> None:
    many = [Check("mallory", "", f"thing {i:03}", "any", "absent", "granted") for i in range(MAX_SHOWN + 2)]
    lines = printed(as_output(Report(many), expected, "dev")).splitlines()
    assert len([line for line in lines if line.startswith("mallory")]) == MAX_SHOWN
    assert "and 2 more: --json lists all of them" in lines


def test_a_terminal_shows_failures_in_red_and_the_rest_in_green(expected: Matrix) -> None:
    file = io.StringIO()
    Console(file=file, force_terminal=True, color_system="standard", width=200).print(
        as_output(Report([FINE, WRONG]), expected, "dev")
    )
    output = file.getvalue()
    assert "\x1b[32mfull ok\x1b[0m" in output
    assert "\x1b[1;31mnone WRONG (1)\x1b[0m" in output
    assert "\x1b[1;31m2 checks, 1 wrong\x1b[0m" in output


def test_the_json_document_has_every_failed_check() -> None:
    many = [Check("mallory", "", f"thing {i:03}", "any", "absent", "granted") for i in range(MAX_SHOWN + 2)]
    document = json.loads(as_document(Report([FINE, *many, WRONG], ["note"]), "dev"))
    assert document["ok"] is False
    assert document["checked"] == MAX_SHOWN + 4
    assert len(document["wrong"]) == MAX_SHOWN + 3
    assert document["wrong"][0] == {
        "role": "django_user",
        "schema": "payload",
        "object": "function payload.f(integer[])",
        "privilege": "EXECUTE",
        "expected": "absent",
        "actual": "granted",
        "path": "pooled",
    }
    assert document["notes"] == ["note"]
