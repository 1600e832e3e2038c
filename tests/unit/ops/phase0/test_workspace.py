"""`make env ALL=1`: every service of a workspace gets its file, and nobody's own file is touched."""

import json
import subprocess
from pathlib import Path

import pytest

import settings
from ops import __main__ as commands
from ops.dev import env, servers
from ops.dev.model import Extras
from ops.phase0 import workspace as workspaces
from ops.phase0.workspace import Status
from settings import Settings
from tests.unit.conftest import full_config, local_state

PAYLOAD, DJANGO = "lightwave-media-site/website", "lightwave-api-gateway"
REQUIRED = {PAYLOAD: ["DATABASE_URI", "PAYLOAD_SECRET"], DJANGO: ["DATABASE_URL"]}


@pytest.fixture
def dev(monkeypatch: pytest.MonkeyPatch) -> Settings:
    loaded = settings.load("dev", full_config("dev"), local=local_state())
    monkeypatch.setattr(settings, "of_stack", lambda _: loaded)
    monkeypatch.setattr(servers, "extras_of", lambda _: Extras())
    return loaded


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    for service, ignored in ((PAYLOAD, ".env\n"), (DJANGO, ".env\n")):
        folder = tmp_path / service
        folder.mkdir(parents=True)
        subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
        (folder / ".gitignore").write_text(ignored)
    contract(tmp_path, **REQUIRED)
    return tmp_path


def contract(folder: Path, **required: list[str]) -> None:
    services = {key: {"description": "", "required_variables": names} for key, names in required.items()}
    (folder / env.CONTRACT).write_text(json.dumps({"services": services}))


def statuses(dev: Settings, workspace: Path, *, check: bool = False) -> dict[str, Status]:
    return {file.service: file.status for file in workspaces.distribute(dev, workspace, env.values(dev), check=check)}


def ops(*arguments: str) -> int:
    return commands.main(["env", "--all", *arguments])


def test_every_service_gets_its_file_once(dev: Settings, workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert statuses(dev, workspace) == {PAYLOAD: Status.WRITTEN, DJANGO: Status.WRITTEN}
    written = workspace / PAYLOAD / ".env"
    assert written.stat().st_mode & 0o777 == 0o600
    assert env.read(written) == env.values_of(dev, dev.products["payload"])
    assert ops("--workspace", str(workspace)) == 0
    assert ops("--check", "--workspace", str(workspace)) == 0
    assert capsys.readouterr().out == f"{PAYLOAD}: up to date\n{DJANGO}: up to date\n" * 2


def test_check_writes_nothing_and_names_variables_only(
    dev: Settings, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ops("--check", "--workspace", str(workspace)) == 1
    assert not (workspace / PAYLOAD / ".env").exists()
    workspaces.distribute(dev, workspace, env.values(dev), check=False)
    path = workspace / PAYLOAD / ".env"
    changed = path.read_text().replace("PAYLOAD_SECRET=s3cr3t-payload", "PAYLOAD_SECRET=old") + "EXTRA=1\n"
    path.write_text(changed)
    capsys.readouterr()
    assert ops("--check", "--workspace", str(workspace)) == 1
    output = capsys.readouterr().out
    assert f"{PAYLOAD}: out of date; changed: PAYLOAD_SECRET; superfluous: EXTRA\n" in output
    assert "s3cr3t" not in output
    assert path.read_text() == changed


def test_a_file_of_somebody_else_stays(dev: Settings, workspace: Path) -> None:
    path = workspace / DJANGO / ".env"
    path.write_text("DEBUG=1\n")
    (found,) = [
        file for file in workspaces.distribute(dev, workspace, env.values(dev), check=False) if file.service == DJANGO
    ]
    assert (found.status, found.ok, found.superfluous) == (Status.FOREIGN, False, ("DEBUG",))
    assert "DATABASE_URL" in found.changed
    assert path.read_text() == "DEBUG=1\n"
    # Its owner may copy the values.
    copied = "".join(f"{name}={value}\n" for name, value in env.values_of(dev, dev.products["django"]).items())
    path.write_text("DEBUG=1\n" + copied)
    (found,) = [
        file for file in workspaces.distribute(dev, workspace, env.values(dev), check=True) if file.service == DJANGO
    ]
    assert (found.status, found.ok) == (Status.FOREIGN, True)


def test_a_secret_never_goes_where_git_would_take_it(dev: Settings, workspace: Path) -> None:
    (workspace / PAYLOAD / ".gitignore").write_text("node_modules\n")
    assert statuses(dev, workspace)[PAYLOAD] is Status.NOT_IGNORED
    assert not (workspace / PAYLOAD / ".env").exists()


def test_what_the_contract_and_the_stack_do_not_share(dev: Settings, workspace: Path) -> None:
    contract(workspace, **{PAYLOAD: [*REQUIRED[PAYLOAD], "MAIL_KEY"], "somewhere/else": ["X"]})
    found = {file.service: file for file in workspaces.distribute(dev, workspace, env.values(dev), check=False)}
    assert found[PAYLOAD].status is Status.INCOMPLETE
    assert str(found[PAYLOAD]) == f"{PAYLOAD}: incomplete; missing: MAIL_KEY"
    assert (found["somewhere/else"].status, found["somewhere/else"].ok) == (Status.OTHER, True)
    assert (found[DJANGO].status, found[DJANGO].ok) == (Status.NOT_REQUIRED, False)


def test_a_service_without_a_checkout_is_named(dev: Settings, workspace: Path) -> None:
    (workspace / DJANGO).rename(workspace / "elsewhere")
    assert statuses(dev, workspace)[DJANGO] is Status.NO_CHECKOUT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "is no contract file"),
        ('{"services": {"lightwave-api-gateway": []}}', "has no list required_variables"),
        (None, "is missing"),
    ],
)
def test_a_wrong_contract_is_refused(
    dev: Settings, workspace: Path, text: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dev.is_local
    path = workspace / env.CONTRACT
    path.unlink() if text is None else path.write_text(text)
    assert ops("--workspace", str(workspace)) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("--service", "payload"), ()], ids=["with a service", "check alone"])
def test_options_that_do_not_go_together(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    given = ["env", "--all", *arguments] if arguments else ["env", "--check", "--service", "payload"]
    assert commands.main(given) == 2
    assert "--all" in capsys.readouterr().err
