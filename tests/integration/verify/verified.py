"""Runs verify against a platform."""

from contextlib import closing

from ops.verify.attempts import attempt_all
from ops.verify.catalog import read_only
from ops.verify.matrix import Matrix, matrix
from ops.verify.model import Report
from ops.verify.report import run
from settings import ADMIN
from tests.integration.built import direct, pooled
from tests.integration.conftest import Platform


def report(platform: Platform, role: str = ADMIN) -> Report:
    """What the catalogs show, read as the role."""
    with closing(platform.connect(role)) as session:
        return read_only(session, matrix(platform.settings))


def attempted(platform: Platform, expected: Matrix | None = None, *, try_limits: bool = False) -> Report:
    """What the attempts show, on both paths."""
    return attempt_all(
        expected or matrix(platform.settings),
        direct(platform),
        pooled(platform),
        dict(platform.state.passwords),
        try_limits=try_limits,
    )


def exit_status(platform: Platform, *, as_json: bool = False) -> int:
    """The exit status of `make verify`."""
    return run(
        platform.settings,
        direct=direct(platform),
        pooled=pooled(platform),
        passwords=dict(platform.state.passwords),
        as_json=as_json,
    )
