"""verify names every change that somebody made by hand."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from ops.verify.matrix import Matrix, matrix
from ops.verify.report import as_document
from tests.integration.conftest import Platform
from tests.integration.verify.deviations import DEVIATIONS, WIRE, Deviation
from tests.integration.verify.verified import attempted, exit_status, report


@pytest.fixture
def deviated(built: Platform, request: pytest.FixtureRequest) -> Iterator[Deviation]:
    deviation: Deviation = DEVIATIONS[request.param]
    # PgBouncer's sessions keep the settings that their role had when they began.
    end_sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE '%_user'"
    with closing(built.superuser()) as session:
        session.execute(deviation.do.encode())
        session.execute(end_sessions)
        try:
            yield deviation
        finally:
            session.execute(deviation.undo.encode())
            session.execute(end_sessions)


@pytest.mark.parametrize("deviated", DEVIATIONS, indirect=True)
def test_each_deviation_is_named(built: Platform, deviated: Deviation) -> None:
    wrong = {(c.role, c.schema, c.object, c.privilege, c.expected, c.actual) for c in report(built).wrong}
    assert deviated.check in wrong


@pytest.mark.parametrize(("deviated", "check"), list(WIRE.items()), indirect=["deviated"], ids=str)
def test_attempts_show_a_deviation_on_both_paths(built: Platform, deviated: Deviation, check: tuple[str, ...]) -> None:
    assert deviated
    expected = matrix(built.settings)
    # Only this role, to save time: the clean platform's test tries all of them.
    alone = {name: role for name, role in expected.roles.items() if not role.login or name == check[0]}
    found = attempted(built, replace(expected, roles=alone))
    wrong = {(c.role, c.schema, c.object, c.privilege, c.expected, c.actual, c.path) for c in found.wrong}
    assert {(*check, "direct"), (*check, "pooled")} <= wrong


def test_sessions_of_the_pooler_from_before_a_change_are_explained(built: Platform) -> None:
    with closing(built.superuser()) as session, closing(built.connect("cineos_user", pooled=True)) as client:
        client.execute("SELECT 1")
        session.execute("ALTER ROLE cineos_user SET statement_timeout TO 31000")
        try:
            found = attempted(built, matrix_with_timeout(built, "cineos", 31000))
        finally:
            session.execute("ALTER ROLE cineos_user SET statement_timeout TO 30000")
    assert {(c.role, c.privilege, c.path) for c in found.wrong} == {("cineos_user", "statement_timeout", "pooled")}
    assert [note.partition(":")[0] for note in found.notes] == ["cineos_user"]


def matrix_with_timeout(platform: Platform, product: str, milliseconds: int) -> Matrix:
    changed = platform.settings.products[product].model_copy(update={"statement_timeout_ms": milliseconds})
    return matrix(platform.settings.model_copy(update={"products": {**platform.settings.products, product: changed}}))


@pytest.mark.parametrize("deviated", ["a table granted to a role"], indirect=True)
def test_a_failed_check_exits_1_and_is_printed(
    built: Platform, deviated: Deviation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(built) == 1
    lines = capsys.readouterr().out.splitlines()
    (line,) = [
        text for text in lines if text.split()[:1] == ["django_user"] and "table pages" in text and "absent" in text
    ]
    assert line.split() == ["django_user", "payload", "table", "pages", "INSERT", "absent", "granted", "catalog"]
    assert any("none WRONG (2)" in text for text in lines)

    document = json.loads(as_document(report(built), "dev"))
    assert document["ok"] is False
    assert tuple(list(document["wrong"][0].values())[:6]) == deviated.check


@pytest.mark.parametrize("deviated", ["another connection limit"], indirect=True)
def test_an_attempt_finds_a_role_without_its_limit(built: Platform, deviated: Deviation) -> None:
    assert deviated
    found = attempted(built, try_limits=True)
    assert [(c.role, c.privilege, c.actual) for c in found.wrong] == [
        ("django_user", "more than 12 sessions", "13 sessions")
    ]


def test_the_platform_is_clean_again(built: Platform) -> None:
    """Runs last: every deviation above was undone, so each was tested on a clean platform."""
    assert not report(built).wrong
