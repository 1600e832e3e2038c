"""The engine's command line, without an engine: a stand-in for `pulumi` writes down what it is asked."""

import json
import os
import shlex
import shutil
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import pytest

import settings
from ops import up
from ops.deploy import pulumi_cli as engine
from ops.deploy.pulumi_cli import Engine, EngineError, NoEngineError
from ops.dev import servers as services
from tests.configs import ON_KIND, OWN_BUCKET
from tests.unit.conftest import FACTS_OF_PROD, full_config, local_state

_STAND_IN = """\
#!{python}
import json, os, sys, time
from pathlib import Path
arguments = [a for a in sys.argv[1:] if a != "--non-interactive"]
with Path({log!r}).open("a") as log:
    log.write(json.dumps([arguments, {{k: v for k, v in os.environ.items() if k.startswith("PULUMI")}}]) + "\\n")
answer = json.loads(Path({answers!r}).read_text()).get(" ".join(arguments[:2]), {{}})
time.sleep(answer.get("seconds", 0))
print(answer.get("stdout", ""))
print(answer.get("stderr", ""), file=sys.stderr)
sys.exit(answer.get("status", 0))
"""


class Pulumi:
    """The stand-in: what it was asked, and what it answers to the first two words of a command."""

    def __init__(self, folder: Path) -> None:
        self.command = folder / "bin" / "pulumi"
        self._log, self._answers = folder / "asked", folder / "answers"
        self.command.parent.mkdir()
        self.command.write_text(_STAND_IN.format(python=sys.executable, log=str(self._log), answers=str(self._answers)))
        self.command.chmod(0o755)
        self.answer()

    def answer(self, **answers: dict[str, Any]) -> None:
        """By command, `_` for the blank."""
        self._answers.write_text(json.dumps({command.replace("_", " "): said for command, said in answers.items()}))

    @property
    def asked(self) -> list[tuple[list[str], dict[str, str]]]:
        """Every call so far: its arguments and its PULUMI variables."""
        if not self._log.exists():
            return []
        return [(arguments, told) for arguments, told in map(json.loads, self._log.read_text().splitlines())]


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pulumi:
    """The stand-in on PATH, and nothing else there but what the system has in /usr/bin and /bin."""
    stand_in = Pulumi(tmp_path)
    for name in list(os.environ):
        if name.startswith("PULUMI") or name == engine.SWITCH:
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{stand_in.command.parent}:/usr/bin:/bin")
    return stand_in


@pytest.fixture
def engine_of(pulumi: Pulumi, tmp_path: Path) -> Callable[[str], Engine]:
    return lambda stack: Engine(str(pulumi.command), stack, tmp_path)


_PENDING = {
    "deployment": {
        "resources": [{"urn": "urn:kept"}],
        "pending_operations": [
            {
                "type": "creating",
                "resource": {
                    "urn": "urn::role::login",
                    "type": "postgresql:index/role:Role",
                    "inputs": {"name": "payload_user"},
                    "parent": "urn::a$b::access",
                    "provider": "urn::postgres::some-id",
                },
            },
            {
                "type": "creating",
                "resource": {
                    "urn": "urn::schema::own",
                    "type": "postgresql:index/schema:Schema",
                    "inputs": {"name": "payload", "database": "lightwave_platform"},
                },
            },
            {
                "type": "deleting",
                "resource": {"urn": "urn:gone", "type": "postgresql:index/role:Role", "inputs": {"name": "old_user"}},
            },
            {
                "type": "creating",
                "resource": {"urn": "urn:grant", "type": "postgresql:index/grant:Grant", "inputs": {}},
            },
        ],
    }
}


def _lock(root: Path, *, pid: int, hostname: str) -> Path:
    folder = root / engine.STATE_FOLDER / ".pulumi" / "locks" / "organization" / "lightwave" / "dev"
    folder.mkdir(parents=True)
    lock = folder / "a.json"
    lock.write_text(json.dumps({"pid": pid, "hostname": hostname, "timestamp": "2026-01-01T00:00:00Z"}))
    return lock


# --- finding one ------------------------------------------------------------------------------------------------------


def test_switched_off(pulumi: Pulumi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(engine.SWITCH, "off")
    with pytest.raises(NoEngineError, match="LIGHTWAVE_ENGINE=off"):
        engine.find()
    assert pulumi.asked == []


def test_on_path_with_the_provider_beside_it(pulumi: Pulumi, tmp_path: Path) -> None:
    provider = pulumi.command.with_name("pulumi-resource-postgresql")
    provider.write_text("")
    provider.chmod(0o755)
    assert engine.find("dev", tmp_path) == Engine(str(pulumi.command), "dev", tmp_path)
    assert pulumi.asked == []


@pytest.mark.parametrize("installed", [True, False])
def test_the_provider_is_installed_where_its_version_is_missing(
    pulumi: Pulumi, tmp_path: Path, installed: bool
) -> None:
    wanted = version("pulumi-postgresql")
    pulumi.answer(
        plugin_ls={"stdout": json.dumps([{"name": "postgresql", "version": f"v{wanted if installed else '1.0.0'}"}])}
    )
    engine.find("dev", tmp_path)
    asked = [arguments for arguments, _ in pulumi.asked]
    install = ["plugin", "install", "resource", "postgresql", wanted]
    assert asked == [["plugin", "ls", "--json"], *([] if installed else [install])]


@pytest.mark.parametrize(
    ("sections", "names"),
    [
        ({}, ("postgresql",)),
        (ON_KIND, ("postgresql", "kubernetes")),
        (
            {"media": {**FACTS_OF_PROD["media"], "zone": "a.site", "domain": "b.a.site", **OWN_BUCKET}},
            ("postgresql", "cloudflare"),
        ),
    ],
)
def test_a_local_stack_needs_the_providers_of_what_it_declares(
    pulumi: Pulumi, tmp_path: Path, sections: dict[str, Any], names: tuple[str, ...]
) -> None:
    config = full_config("dev") | {f"lightwave:{name}": value for name, value in sections.items()}
    found = engine.providers(settings.load("dev", config, local=local_state()))
    assert found == names
    pulumi.answer(plugin_ls={"stdout": "[]"})
    engine.find("dev", tmp_path, providers=found)
    installed = [asked[3:] for asked, _ in pulumi.asked if asked[:2] == ["plugin", "install"]]
    assert installed == [[name, version(f"pulumi-{name}")] for name in names]


def test_a_provider_that_can_not_be_had_is_said_in_one_line(pulumi: Pulumi, tmp_path: Path) -> None:
    pulumi.answer(plugin_ls={"stdout": "[]"}, plugin_install={"status": 1, "stderr": "trying\nfailed all 5 attempts"})
    with pytest.raises(NoEngineError) as refused:
        engine.find("dev", tmp_path)
    assert str(refused.value) == (
        f"the engine's postgresql provider {version('pulumi-postgresql')} can not be had: failed all 5 attempts"
    )


def test_prod_leaves_its_providers_to_the_engine(pulumi: Pulumi, tmp_path: Path) -> None:
    engine.find("prod", tmp_path)
    assert pulumi.asked == []


def test_no_engine_and_no_network_is_said_in_one_line(
    pulumi: Pulumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulumi.command.unlink()

    def unreachable(*_: object, **options: Any) -> NoReturn:
        assert options["timeout"] <= 10
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    with pytest.raises(NoEngineError) as refused:
        engine.find("dev", tmp_path)
    assert str(refused.value) == f"pulumi is not on PATH and {engine.INSTALLER} can not be reached (no route)"


def test_an_engine_that_was_installed_before_is_used(pulumi: Pulumi, tmp_path: Path) -> None:
    installed = tmp_path / engine.INSTALL_FOLDER / "bin" / "pulumi"
    installed.parent.mkdir(parents=True)
    pulumi.command.rename(installed)
    assert engine.find("prod", tmp_path).command == str(installed)


def test_the_official_installer_s_failure_is_said_in_one_line(
    pulumi: Pulumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulumi.command.unlink()
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: nullcontext())
    # The automation API downloads through urllib, whose only way out leads nowhere.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(NoEngineError, match=r"^pulumi can not be installed: .*Connection refused"):
        engine.find("dev", tmp_path)


# --- its environment --------------------------------------------------------------------------------------------------


def test_dev_needs_nothing_of_the_caller_s(
    pulumi: Pulumi, engine_of: Callable[[str], Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://production")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "another")
    engine_of("dev").select()
    ((arguments, told),) = pulumi.asked
    assert arguments == ["stack", "select", "--create", "dev"]
    assert told == {
        "PULUMI_BACKEND_URL": f"file://{tmp_path}/.local/pulumi-state",
        "PULUMI_CONFIG_PASSPHRASE": "lightwave-dev",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    assert (tmp_path / engine.STATE_FOLDER).stat().st_mode & 0o777 == 0o700


def test_prod_keeps_the_caller_s_backend_and_is_never_created(
    pulumi: Pulumi, engine_of: Callable[[str], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://production")
    engine_of("prod").select()
    assert pulumi.asked == [
        (
            ["stack", "select", "prod"],
            {"PULUMI_BACKEND_URL": "s3://production", "PULUMI_SKIP_UPDATE_CHECK": "true"},
        )
    ]


def test_the_language_host_finds_the_locked_uv_and_this_python_s_version(engine_of: Callable[[str], Engine]) -> None:
    environment = engine_of("prod").environment()
    folder = environment["PATH"].split(os.pathsep)[1]
    assert Path(folder) == Path(sys.executable).parent
    assert shutil.which("uv", path=folder)
    assert environment["UV_PYTHON"] == f"{sys.version_info.major}.{sys.version_info.minor}"


# --- updates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stack", "skips"), [("dev", True), ("prod", False)])
def test_only_dev_goes_without_a_preview(
    pulumi: Pulumi, engine_of: Callable[[str], Engine], stack: str, skips: bool
) -> None:
    pulumi.answer(stack_history={"stdout": json.dumps([{"resourceChanges": {"same": 2, "create": 1}}])})
    assert engine_of(stack).up() == {"same": 2, "create": 1}
    arguments, _ = pulumi.asked[0]
    assert arguments[:3] == ["up", "--stack", stack]
    assert ("--skip-preview" in arguments) == skips


def test_an_interrupt_is_the_engine_s_to_handle_and_it_is_waited_for(
    pulumi: Pulumi, engine_of: Callable[[str], Engine]
) -> None:
    pulumi.answer(**{"up_--stack": {"seconds": 2, "status": 255}})
    # Here it reaches this process alone; in a terminal it reaches the engine too.
    interrupt = threading.Timer(1, os.kill, [os.getpid(), signal.SIGINT])
    interrupt.start()
    started = time.monotonic()
    with pytest.raises(EngineError, match="exit status 255"):
        engine_of("dev").up()
    assert time.monotonic() - started > 2


def test_a_failed_update_is_an_error(pulumi: Pulumi, engine_of: Callable[[str], Engine]) -> None:
    pulumi.answer(**{"up_--stack": {"status": 255}})
    with pytest.raises(EngineError, match="pulumi up of stack dev failed"):
        engine_of("dev").up()


def test_a_failed_question_says_what_pulumi_said(pulumi: Pulumi, engine_of: Callable[[str], Engine]) -> None:
    pulumi.answer(stack_select={"status": 1, "stderr": "error: incorrect passphrase"})
    with pytest.raises(EngineError, match="incorrect passphrase"):
        engine_of("dev").select()


# --- after a kill -----------------------------------------------------------------------------------------------------


def test_a_dead_lock_is_cleared_and_the_state_refreshed(
    pulumi: Pulumi, engine_of: Callable[[str], Engine], tmp_path: Path
) -> None:
    # This process runs, and is no pulumi: the number was given to another one.
    _lock(tmp_path, pid=os.getpid(), hostname=socket.gethostname())
    pulumi.answer(stack_export={"stdout": json.dumps(_PENDING)})
    pending = engine_of("dev").recover()
    assert [(p.operation, p.urn) for p in pending] == [
        ("creating", "urn::role::login"),
        ("creating", "urn::schema::own"),
        ("deleting", "urn:gone"),
        ("creating", "urn:grant"),
    ]
    asked = [arguments for arguments, _ in pulumi.asked]
    assert asked[0] == ["cancel", "--yes", "dev"]
    assert asked[-1][0] == "refresh"
    assert {"--clear-pending-creates", "--run-program"} <= set(asked[-1])


@pytest.mark.parametrize(
    ("files", "mended"),
    [
        ({"dev.json": '{"a": 1}', "dev.json.bak": '{"b": 1}'}, '{"a": 1}'),
        ({"dev.json": '{"a"', "dev.json.bak": '{"b": 1}'}, '{"b": 1}'),
        ({"dev.json": "", "dev.json.bak": '{"b'}, None),
        ({"dev.json": ""}, None),
    ],
)
def test_a_state_that_was_cut_off_is_taken_from_its_backup(
    pulumi: Pulumi,
    engine_of: Callable[[str], Engine],
    tmp_path: Path,
    files: dict[str, str],
    mended: str | None,
) -> None:
    _lock(tmp_path, pid=2**22, hostname=socket.gethostname()).write_text("")
    file = tmp_path / engine.STATE_FOLDER / ".pulumi" / "stacks" / "lightwave" / "dev.json"
    file.parent.mkdir(parents=True)
    for name, text in files.items():
        file.with_name(name).write_text(text)
    engine_of("dev").select()
    assert (file.read_text() if file.exists() else None) == mended
    assert file.with_name("dev.json.bak").exists() == (mended is not None)
    assert [arguments[:2] for arguments, _ in pulumi.asked] == [["stack", "select"]]


def test_another_machine_s_lock_is_left_alone(
    pulumi: Pulumi, engine_of: Callable[[str], Engine], tmp_path: Path
) -> None:
    lock = _lock(tmp_path, pid=2**22, hostname="another")
    for step in (engine_of("dev").select, engine_of("dev").recover):
        with pytest.raises(EngineError, match=r"another update of stack dev runs .*on another.*pulumi cancel dev"):
            step()
    assert lock.exists()
    assert pulumi.asked == []


@pytest.mark.parametrize(("stale", "refreshes"), [(True, True), (False, False)])
def test_a_state_of_another_database_is_refreshed(
    pulumi: Pulumi, engine_of: Callable[[str], Engine], stale: bool, refreshes: bool
) -> None:
    pulumi.answer(stack_export={"stdout": json.dumps({"deployment": {"resources": [{"urn": "urn:kept"}]}})})
    assert engine_of("dev").recover(stale=stale) == []
    assert ("refresh" in [arguments[0] for arguments, _ in pulumi.asked]) == refreshes


def test_prod_is_told_how_to_adopt_and_nothing_is_done(pulumi: Pulumi, engine_of: Callable[[str], Engine]) -> None:
    pulumi.answer(stack_export={"stdout": json.dumps(_PENDING)})
    text = engine.adoption(engine_of("prod"))
    assert text is not None
    commands = [shlex.split(line) for line in text.splitlines() if line.startswith("  pulumi")]
    assert commands[0] == [
        *("pulumi", "import", "postgresql:index/role:Role", "login", "payload_user", "--stack", "prod"),
        *("--parent", "parent=urn::a$b::access", "--provider", "provider=urn::postgres", "--generate-code=false"),
    ]
    assert commands[1][:5] == [
        "pulumi",
        "import",
        "postgresql:index/schema:Schema",
        "own",
        "lightwave_platform.payload",
    ]
    assert commands[2:] == [["pulumi", "refresh", "--stack", "prod", "--run-program", "--clear-pending-creates"]]
    assert "deleting urn:gone" in text
    assert [arguments[:2] for arguments, _ in pulumi.asked] == [["stack", "export"]]


def test_nothing_to_adopt(pulumi: Pulumi, engine_of: Callable[[str], Engine]) -> None:
    pulumi.answer(stack_export={"stdout": json.dumps({"deployment": {"resources": []}})})
    assert engine.adoption(engine_of("prod")) is None


# --- what is not on this machine --------------------------------------------------------------------------------------


def test_what_the_state_holds_at_cloudflare_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert engine.at_cloudflare(tmp_path) == []
    state = tmp_path / engine.STATE_FOLDER / ".pulumi" / "stacks" / "lightwave" / "dev.json"
    state.parent.mkdir(parents=True)
    resources = [
        {"urn": "urn:pulumi:dev::lightwave::postgresql:index/role:Role::login", "type": "postgresql:index/role:Role"},
        {"urn": "urn:pulumi:dev::lightwave::x::media-bucket", "type": "cloudflare:index/r2Bucket:R2Bucket"},
    ]
    state.write_text(json.dumps({"version": 3, "checkpoint": {"latest": {"resources": resources}}}))
    assert engine.at_cloudflare(tmp_path) == ["media-bucket"]

    monkeypatch.setattr(up, "ROOT", tmp_path)
    monkeypatch.setattr(up, "FOLDER", tmp_path / ".local")
    monkeypatch.setattr(engine, "at_cloudflare", lambda: ["media-bucket"])
    monkeypatch.setattr(services, "stop", lambda **_: pytest.fail("stopped"))
    assert up.down(wipe=True) == 2
    assert "the state knows media-bucket at Cloudflare" in capsys.readouterr().err
    assert state.exists()
