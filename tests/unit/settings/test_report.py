"""The commands that fix a mistake."""

import shlex
from pathlib import Path
from typing import Any

import pytest

import settings
from settings import SettingsError, files
from tests.unit.conftest import STACKS, local_state
from tests.unit.settings.changes import load, problems


@pytest.mark.parametrize(
    ("changes", "key", "fix"),
    [
        ({"media.zone": ...}, "media.zone", "pulumi config set --stack prod --path lightwave:media.zone VALUE"),
        ({"wat": 1}, "wat", "pulumi config rm --stack prod --path lightwave:wat"),
        (
            {"media.secretAccessKey": 5, "media.accessKeyId": "x", "media.credentials": "given"},
            "media.secretAccessKey",
            "pulumi config set --secret --stack prod --path lightwave:media.secretAccessKey VALUE",
        ),
        (
            {"media.corsOrigins.1": "x"},
            "media.corsOrigins[1]",
            "pulumi config set --stack prod --path 'lightwave:media.corsOrigins[1]' VALUE",
        ),
        (
            {"media.corsOrigins": 5},
            "media.corsOrigins",
            "${EDITOR:-vi} Pulumi.prod.yaml  # under config, lightwave:media.corsOrigins",
        ),
        (
            {"kubernetes.namespaces.Shared": {}},
            "kubernetes.namespaces.Shared",
            "${EDITOR:-vi} Pulumi.prod.yaml  # under config, lightwave:kubernetes.namespaces.Shared",
        ),
        # The product table is the project's: what `config set` wrote to the stack's file would take its place whole.
        (
            {"products.payload.pool.size": 0},
            "products.payload.pool.size",
            "${EDITOR:-vi} Pulumi.yaml  # under config, lightwave:products.payload.pool.size",
        ),
        (
            {"products.payload.wat": 0},
            "products.payload.wat",
            "${EDITOR:-vi} Pulumi.yaml  # under config, lightwave:products.payload.wat",
        ),
    ],
)
def test_the_command_that_fixes_it(changes: dict[str, Any], key: str, fix: str) -> None:
    assert problems("prod", changes)[f"lightwave:{key}"][1] == fix


def test_a_product_table_in_the_stacks_own_file_is_fixed_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    project = (settings.ROOT / "Pulumi.yaml").read_text()
    monkeypatch.setattr(files, "ROOT", tmp_path)
    (tmp_path / "Pulumi.yaml").write_text(project)
    (tmp_path / "Pulumi.own.yaml").write_text(
        "config: {'lightwave:database': {server: local}, 'lightwave:products': {payload: {readers: [x]}}}"
    )
    with pytest.raises(SettingsError) as refused:
        load("own", settings.stack_config("own"))
    assert "pulumi config rm --stack own --path 'lightwave:products.payload.readers[0]'" in str(refused.value)


@pytest.mark.parametrize(
    ("stack", "up"), [("dev", "make up"), ("alice", "make up STACK=alice"), ("eve", "make up STACK=eve")]
)
def test_a_local_state_is_completed_or_made_anew(stack: str, up: str) -> None:
    def fixes(state: dict[str, Any]) -> dict[str, str]:
        with pytest.raises(SettingsError) as refused:
            settings.load(stack, settings.stack_config("dev"), local=state)
        return {problem.key: problem.fix for problem in refused.value.problems}

    incomplete, wrong = local_state(), local_state()
    del incomplete["passwords"]["payload_user"]
    wrong["databasePort"] = "x"
    file = f".local/{stack}/state.json"
    assert fixes(incomplete) == {f"{file}: local.passwords.payload_user": up}
    again = f"{up.replace('up', 'down', 1)} WIPE=1 && {up}"
    assert fixes(wrong) == {f"{file}: local.databasePort": again}


@pytest.mark.parametrize("stack", STACKS)
def test_no_command_breaks_out_of_its_line_in_a_shell(stack: str) -> None:
    found = problems(stack, {"x; rm -rf $HOME\n`id`": 1, "pgbouncer.a' b": 2})
    for key, (_, fix) in found.items():
        assert shlex.split(fix)[-1] == key
