"""`make release`: one line in the stack's file, everything else as it was, and the diff of that service alone."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

import settings
from ops import release
from ops.__main__ import main
from ops.errors import ExitCode
from settings import files
from settings.problems import OperatorError, SettingsError
from tests.configs import SERVICES

PAYLOAD, DJANGO = SERVICES["payload"]["image"], SERVICES["django"]["image"]
MIGRATE = SERVICES["payload"]["migration"]["image"]
NEXT = f"ghcr.io/example/payload:1.5.0@sha256:{'9' * 64}"
PATH = ("config", "lightwave:services", "payload", "image")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder of the test's own, with the files that a release reads."""
    (tmp_path / "tests/golden").mkdir(parents=True)
    for name in ("Pulumi.yaml", "Pulumi.dev.yaml", "Pulumi.prod.yaml", "__main__.py", "tests/golden/prod.json"):
        shutil.copyfile(settings.ROOT / name, tmp_path / name)
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    monkeypatch.setattr(files, "ROOT", tmp_path)
    return tmp_path


def services(project: Path) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load((project / "Pulumi.prod.yaml").read_text())["config"][
        "lightwave:services"
    ]
    return found


def test_a_release_and_its_rollback(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (project / "Pulumi.prod.yaml").read_text()
    assert release.release("prod", "payload", PAYLOAD, MIGRATE) == ExitCode.OK
    released = (project / "Pulumi.prod.yaml").read_text()
    assert released == before.rstrip("\n") + (
        f"\n  lightwave:services:\n    payload:\n      image: {PAYLOAD}\n      migration:\n        image: {MIGRATE}\n"
    )
    assert "### Added (5)" in capsys.readouterr().out

    assert release.release("prod", "lightwave-media-site/website", NEXT, MIGRATE) == ExitCode.OK
    assert (project / "Pulumi.prod.yaml").read_text() == released.replace(PAYLOAD, NEXT)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith(("#", "-", "  -"))] == [
        "# Release of payload in prod",
        "### Changed (1)",
        "- `payload-payload-deployment` (kubernetes:apps/v1:Deployment)",
        f"  - inputs.spec.template.spec.containers[payload].image: `{PAYLOAD}` → `{NEXT}`",
    ]
    golden = json.loads((project / "tests/golden/prod.json").read_text())
    assert NEXT in json.dumps(golden)
    assert lines[-2:] == [
        "wrote Pulumi.prod.yaml tests/golden/prod.json",
        "next: git commit Pulumi.prod.yaml tests/golden/prod.json, pull request; in a hurry: make deploy STACK=prod",
    ]

    assert release.release("prod", "payload", PAYLOAD, MIGRATE) == ExitCode.OK
    assert (project / "Pulumi.prod.yaml").read_text() == released
    capsys.readouterr()
    assert release.release("prod", "payload", PAYLOAD, MIGRATE) == ExitCode.OK
    assert capsys.readouterr().out == "Pulumi.prod.yaml names this release of payload already: nothing to do\n"


def test_a_service_is_released_beside_the_other(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release.release("prod", "payload", PAYLOAD, MIGRATE)
    capsys.readouterr()
    assert main(["release", "--stack", "prod", "--service", "django", "--image", DJANGO]) == ExitCode.OK
    out = capsys.readouterr().out
    assert "`django-api-deployment`" in out
    assert "payload" not in out.partition("\nwrote")[0]
    assert services(project) == {
        "payload": {"image": PAYLOAD, "migration": {"image": MIGRATE}},
        "django": {"image": DJANGO},
    }


def test_a_golden_plan_that_is_stale_is_left_alone(project: Path) -> None:
    golden = project / "tests/golden/prod.json"
    golden.write_text("{}")
    release.release("prod", "django", DJANGO)
    assert golden.read_text() == "{}"


@pytest.mark.parametrize(
    ("service", "image", "migration_image", "message"),
    [
        ("payloa", PAYLOAD, "", "SERVICE=payloa: no such service; expected: payload, django"),
        ("createos", PAYLOAD, "", "SERVICE=createos: no such service; expected: payload, django"),
        ("payload", "payload:1.5.0", MIGRATE, "IMAGE=payload:1.5.0: names no digest"),
        ("payload", "", MIGRATE, "IMAGE=: names no digest"),
        ("payload", f"payload@sha256:{'9' * 64}", MIGRATE, "names no digest"),
        ("payload", PAYLOAD, "migrate:1.5.0", "MIGRATION_IMAGE=migrate:1.5.0: names no digest"),
        ("payload", PAYLOAD, "", "MIGRATION_IMAGE: is missing: the migrations of payload are in an image of their own"),
    ],
)
def test_what_is_refused(project: Path, service: str, image: str, migration_image: str, message: str) -> None:
    before = (project / "Pulumi.prod.yaml").read_text()
    with pytest.raises(OperatorError) as refused:
        release.release("prod", service, image, migration_image)
    assert message in str(refused.value)
    assert (project / "Pulumi.prod.yaml").read_text() == before


def test_what_the_settings_refuse_leaves_the_file_as_it_was(project: Path) -> None:
    before = (project / "Pulumi.dev.yaml").read_text()
    with pytest.raises(SettingsError, match="has no cluster to run in"):
        release.release("dev", "payload", PAYLOAD, MIGRATE)
    assert (project / "Pulumi.dev.yaml").read_text() == before


HEAD = "# the stack\nconfig:\n  a: 1 # one\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # there already, in a block, between braces, in quotes
        (
            f"{HEAD}  lightwave:services:\n    payload: # ours\n      replicas: 3\n      image: old # why\n",
            f"{HEAD}  lightwave:services:\n    payload: # ours\n      replicas: 3\n      image: NEW # why\n",
        ),
        (
            f"{HEAD}  lightwave:services: {{payload: {{image: 'old', replicas: 3}}}} # why\n",
            f"{HEAD}  lightwave:services: {{payload: {{image: NEW, replicas: 3}}}} # why\n",
        ),
        # the entry lacks it
        (
            f"{HEAD}  lightwave:services:\n    payload:\n      replicas: 3 # three\n  b: 2\n",
            f"{HEAD}  lightwave:services:\n    payload:\n      replicas: 3 # three\n      image: NEW\n  b: 2\n",
        ),
        (
            f"{HEAD}  lightwave:services:\n    payload: {{replicas: 3}}\n",
            f"{HEAD}  lightwave:services:\n    payload: {{image: NEW, replicas: 3}}\n",
        ),
        # another service's is there
        (
            f"{HEAD}  lightwave:services:\n    django:\n      worker: {{}}\n# end\n",
            f"{HEAD}  lightwave:services:\n    django:\n      worker: {{}}\n    payload:\n      image: NEW\n# end\n",
        ),
        (f"{HEAD}  lightwave:services: {{}}\n", f"{HEAD}  lightwave:services: {{payload: {{image: NEW}}}}\n"),
        # no service yet, with and without the last line's end
        (HEAD, f"{HEAD}  lightwave:services:\n    payload:\n      image: NEW\n"),
        (HEAD.rstrip(), f"{HEAD}  lightwave:services:\n    payload:\n      image: NEW"),
        (f"{HEAD}salt: x\n", f"{HEAD}  lightwave:services:\n    payload:\n      image: NEW\nsalt: x\n"),
    ],
)
def test_one_value_changes_and_the_rest_of_the_file_stays(text: str, expected: str) -> None:
    assert release.with_value(text, PATH, NEXT) == expected.replace("NEW", NEXT)


@pytest.mark.parametrize("text", [f"{HEAD}  lightwave:services:\n    payload:\n", "config: text\n", "[]\n", ""])
def test_a_file_of_another_form_is_not_touched(text: str) -> None:
    with pytest.raises(OperatorError, match=r"cannot be changed at config\.lightwave:services\.payload\.image"):
        release.with_value(text, PATH, NEXT)
