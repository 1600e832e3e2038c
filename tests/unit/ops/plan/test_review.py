"""The review document: the most important differences first."""

import copy
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ops.__main__ import main
from ops.plan import review
from settings.problems import OperatorError

PREFIX = "urn:pulumi:prod::lightwave::lightwave:x:X$"
RDS = f"{PREFIX}aws:rds/instance:Instance::database"
BUCKET = f"{PREFIX}cloudflare:index/r2Bucket:R2Bucket::media-bucket"
POLICY = f"{PREFIX}kubernetes:networking.k8s.io/v1:NetworkPolicy::deny"


def resource(urn: str, **inputs: Any) -> dict[str, Any]:
    type_, name = urn.split("$")[1].split("::")
    return {"type": type_, "name": name, "parent": "", "inputs": inputs, "options": {"protect": True}}


@pytest.fixture
def base() -> dict[str, Any]:
    return {
        "resources": {
            RDS: resource(RDS, dbName="lightwave_platform", multiAz=True, tags={"a": "1"}),
            BUCKET: resource(BUCKET, name="lightwave-media"),
            POLICY: resource(POLICY, spec={"podSelector": {}}),
        },
        "access": {"payload_user": {"payload": "full"}, "django_user": {"payload": "none"}},
        "budget": ["total 100"],
        "picture": ["flowchart LR"],
    }


def test_no_change_says_so(base: dict[str, Any]) -> None:
    assert "No change" in review.markdown("prod", base, base)


def test_each_kind_of_change_is_distinguished(base: dict[str, Any]) -> None:
    head = copy.deepcopy(base)
    head["resources"][RDS]["inputs"]["dbName"] = "other"
    del head["resources"][POLICY]
    head["resources"][BUCKET]["inputs"]["location"] = "weur"
    new = f"{PREFIX}postgresql:index/schema:Schema::access-newos-schema"
    head["resources"][new] = resource(new, name="newos")

    found = review.compare(base, head)
    assert found.added == [new]
    assert found.removed == [POLICY]
    assert found.replaced == {RDS: [review.Change("inputs.dbName", "lightwave_platform", "other")]}
    assert found.changed == {BUCKET: [review.Change("inputs.location", None, "weur")]}


@pytest.mark.parametrize(
    ("lose", "message"),
    [
        (lambda r: r.pop(BUCKET), "**removed** `media-bucket`"),
        (lambda r: r[RDS]["inputs"].update(dbName="other"), "**replaced** `database`"),
        (lambda r: r[RDS]["options"].clear(), "**no longer protected** `database`"),
    ],
)
def test_losses_come_first(base: dict[str, Any], lose: Any, message: str) -> None:
    head = copy.deepcopy(base)
    lose(head["resources"])
    head["resources"][POLICY]["inputs"]["spec"] = {"podSelector": {"a": "b"}}
    document = review.markdown("prod", base, head)
    assert message in document
    assert document.index("may be lost") < document.index("### Changed")


def test_a_harmless_change_is_no_loss(base: dict[str, Any]) -> None:
    head = copy.deepcopy(base)
    head["resources"][RDS]["inputs"]["tags"]["a"] = "2"
    document = review.markdown("prod", base, head)
    assert "may be lost" not in document
    assert "inputs.tags.a: `1` → `2`" in document


def test_changed_fields_of_the_matrix_are_marked(base: dict[str, Any]) -> None:
    head = copy.deepcopy(base)
    head["access"]["django_user"]["payload"] = "read"
    head["budget"] = ["total 200"]
    document = review.markdown("prod", base, head)
    assert "| `django_user` | **none → read** |" in document
    assert "| `payload_user` | full |" in document
    assert "- **total 200**" in document


def test_a_role_that_comes_or_goes_is_marked_too(base: dict[str, Any]) -> None:
    head = copy.deepcopy(base)
    del head["access"]["django_user"]
    assert "| `django_user` | **none → absent** |" in review.markdown("prod", base, head)
    assert "| `django_user` | **absent → none** |" in review.markdown("prod", head, base)


def test_a_new_warning_comes_before_the_changes(base: dict[str, Any]) -> None:
    head = copy.deepcopy(base)
    head["warnings"] = ["django can read every table of payload"]
    head["resources"][RDS]["inputs"]["multiAz"] = False
    document = review.markdown("prod", base, head)
    assert document.index("django can read every table of payload") < document.index("### Changed")


def test_a_long_text_shows_its_lines_that_differ(base: dict[str, Any]) -> None:
    head = copy.deepcopy(base)
    base["resources"][POLICY]["inputs"]["text"] = "same\nold\n"
    head["resources"][POLICY]["inputs"]["text"] = "same\nnew\n"
    document = review.markdown("prod", base, head)
    assert "    -old\n    +new\n" in document
    assert "same" not in document


def test_a_list_shows_what_came_and_went(base: dict[str, Any]) -> None:
    head = copy.deepcopy(base)
    base["resources"][POLICY]["inputs"]["roles"] = ["a", "b"]
    head["resources"][POLICY]["inputs"]["roles"] = ["b", "c"]
    assert 'inputs.roles: without `["a"]`, with `["c"]`' in review.markdown("prod", base, head)


@pytest.mark.parametrize("ref", ["typo", "", "--help", "HEAD:Makefile", "main..HEAD"])
def test_an_unknown_ref_is_refused_with_the_fix(ref: str) -> None:
    with pytest.raises(OperatorError) as refused:
        review.golden_at(ref, "prod")
    (problem,) = refused.value.problems
    assert problem.key == "BASE"
    assert problem.what == f"{ref!r} is no commit of this repository"
    assert problem.expected.startswith("a git ref")
    assert "git fetch origin" in problem.fix


def test_make_diff_with_an_unknown_base_prints_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "--base", "typo"]) == 2
    output = capsys.readouterr()
    assert output.err.startswith("BASE: 'typo' is no commit of this repository; expected: a git ref")
    assert "Traceback" not in output.err
    assert output.out == ""


def test_a_stale_golden_plan_is_refused_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review, "golden", lambda stack: {"stack": stack, "resources": {}})
    with pytest.raises(
        OperatorError, match=r"golden plans of dev are not what the program declares\n +fix: make golden"
    ):
        review.page(["dev"], "HEAD")


def test_a_missing_golden_plan_is_refused_with_the_fix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("settings.ROOT", tmp_path)
    with pytest.raises(OperatorError, match=r"tests/golden/prod\.json is missing\n +fix: make golden"):
        review.golden("prod")


def test_a_ref_without_golden_plans_is_an_empty_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "empty"], check=True)
    monkeypatch.setattr("settings.ROOT", tmp_path)
    assert review.golden_at("HEAD", "prod") == {"resources": {}}

    (tmp_path / review.GOLDEN).mkdir(parents=True)
    (tmp_path / review.GOLDEN / "prod.json").write_text('{"resources": {"a": 1}}')
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "golden"], check=True)
    assert review.golden_at("HEAD", "prod") == {"resources": {"a": 1}}
    assert review.golden_at("HEAD~1", "prod") == {"resources": {}}
