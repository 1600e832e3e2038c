"""The offline plan: complete, the same bytes on every run, without secrets, and equal to the golden plans."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import settings
from ops.__main__ import GOLDEN_STACKS as STACKS
from ops.dev import env as env_files
from ops.plan import document as plan
from ops.plan import review
from ops.plan.recorder import record_stack
from policies.rules.model import Secret
from tests.unit.conftest import full_config, local_state


@pytest.mark.parametrize("stack", STACKS)
def test_the_golden_plan_is_what_the_program_declares(stack: str) -> None:
    assert plan.document(stack) == review.golden(stack), (
        "if the change is intended: make golden, and commit it for review"
    )


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    """Nothing depends on the order of a set, which differs with the hash seed."""
    program = (
        "import sys, pathlib; from ops.plan import document\n"
        f"for stack in {STACKS}: document.write(stack, pathlib.Path(sys.argv[1], stack))"
    )
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program, str(tmp_path / seed)],
            cwd=settings.ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            timeout=120,
        )
    assert files(tmp_path / "1") == files(tmp_path / "2")


def test_the_folder_has_what_a_reviewer_needs(tmp_path: Path) -> None:
    written = files(plan.write("prod", tmp_path / "prod"))
    assert {"plan.json", "plan.md", "access-matrix.md", "architecture.mmd", "database.sql", "pgbouncer.ini"} < set(
        written
    )
    assert any(name.startswith("manifests/shared/deployment-") for name in written)
    assert set(json.loads(written["env-keys.json"])["lightwave-media-site/website"]) >= {
        "DATABASE_URI",
        "PAYLOAD_SECRET",
        "S3_ENDPOINT",
        "S3_REGION",
        "S3_ACCESS_KEY_ID",
        "S3_SECRET_ACCESS_KEY",
        "S3_BUCKET",
    }
    assert "aws:rds/instance:Instance database-instance" in written["plan.md"]
    assert settings.KNOWN_AT_DEPLOY in written["plan.md"]


def test_dev_has_its_env_keys_and_sql(tmp_path: Path) -> None:
    written = files(plan.write("dev", tmp_path / "dev"))
    assert "DATABASE_URL" in json.loads(written["env-keys.json"])["lightwave-api-gateway"]
    assert 'CREATE SCHEMA "payload" AUTHORIZATION "lightwave_admin"' in written["database.sql"]
    assert "pool_mode = transaction" in written["pgbouncer.ini"]


def test_the_env_keys_of_dev_are_those_of_its_env_files(tmp_path: Path) -> None:
    written = json.loads(files(plan.write("dev", tmp_path / "dev"))["env-keys.json"])
    dev = settings.load("dev", full_config("dev"), local=local_state())
    services = [product for product in dev.products.values() if product.service]
    assert written == {p.service: sorted(entry.name for entry in env_files.for_local(dev, p)) for p in services}
    assert len(written) == 2


def test_the_settings_are_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    load = settings.load

    def counted(*args: Any, **kwargs: Any) -> settings.Settings:
        loaded.append(args[0])
        return load(*args, **kwargs)

    monkeypatch.setattr(settings, "load", counted)
    plan.document("dev")
    assert loaded == ["dev"]


def test_a_secret_from_the_config_is_in_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sentinel = "sentinel-of-the-bucket"
    config = settings.stack_config("prod")
    given = {"credentials": "given", "accessKeyId": sentinel, "secretAccessKey": sentinel}
    config["lightwave:media"] = {**config["lightwave:media"], **given}
    monkeypatch.setattr(settings, "stack_config", lambda _: config)
    recorded = record_stack("prod")
    assert any(
        sentinel in repr(value.value)
        for resource in recorded.of_type("kubernetes:core/v1:Secret")
        for value in [
            resource.inputs["stringData"],
            *dict(getattr(resource.inputs["stringData"], "value", resource.inputs["stringData"])).values(),
        ]
        if isinstance(value, Secret)
    ), "the sentinel never got into the program: the test would prove nothing"
    for name, content in files(plan.write("prod", tmp_path / "prod")).items():
        assert sentinel not in content, name


def test_every_wrong_config_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**settings.stack_config("prod"), "lightwave:bogus": 1}
    monkeypatch.setattr(settings, "stack_config", lambda _: config)
    with pytest.raises(settings.SettingsError, match="bogus"):
        plan.write("prod", tmp_path / "prod")
    assert not (tmp_path / "prod").exists()


def test_every_stack_output_is_described() -> None:
    described = re.findall(r"^\| `(\w+)` \|", (settings.ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    exported = {name for stack in STACKS for name in record_stack(stack).outputs}
    assert exported <= set(described)
