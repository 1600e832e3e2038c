"""The files that settings come from."""

from pathlib import Path

import pytest

import settings
from settings import SettingsError, files
from tests.unit.settings.changes import SECRET


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(files, "ROOT", tmp_path)
    (tmp_path / "Pulumi.yaml").write_text("config: {'lightwave:a': {default: 1}, 'lightwave:b': {type: string}}")
    return tmp_path


def test_the_stacks_values_lie_over_the_projects_defaults(folder: Path) -> None:
    (folder / "Pulumi.x.yaml").write_text("config: {'lightwave:b': 2}")
    (folder / "Pulumi.y.yaml").write_text("config: {'lightwave:a': 3}")
    (folder / "Pulumi.z.yaml").write_text("encryptionsalt: x")
    assert settings.stack_config("x") == {"lightwave:a": 1, "lightwave:b": 2}
    assert settings.stack_config("y") == {"lightwave:a": 3}
    assert settings.stack_config("z") == {"lightwave:a": 1}


def test_an_encrypted_value_is_known_at_deploy(folder: Path) -> None:
    (folder / "Pulumi.x.yaml").write_text(
        "config: {'lightwave:b': {c: {secure: v1:abc}, d: [{secure: v1:def}], secure: 1}}"
    )
    known = settings.KNOWN_AT_DEPLOY
    assert settings.stack_config("x")["lightwave:b"] == {"c": known, "d": [known], "secure": 1}


@pytest.mark.parametrize("name", ["alice", "../prod", "", "\x00", "a\nb"])
def test_a_stack_without_a_file_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="expected: dev, prod, staging\n      fix: pulumi stack init"):
        settings.stack_config(name)


@pytest.mark.parametrize(
    "text",
    ["config: [", "[]", "config: [1]", "config: 5", "a: *b", "\x01", "config: {? [a] : 1}", "config: {a: &b [*b]}"],
)
def test_a_file_that_is_not_a_mapping_is_refused(folder: Path, text: str) -> None:
    (folder / "Pulumi.x.yaml").write_text(text)
    with pytest.raises(SettingsError, match=r"Pulumi\.x\.yaml: .*expected: YAML with a mapping under config\n"):
        settings.stack_config("x")


def test_the_message_about_a_broken_file_quotes_nothing_of_it(folder: Path) -> None:
    (folder / "Pulumi.x.yaml").write_text(f"config:\n  lightwave:media: {{secretAccessKey: '{SECRET}', }}}}\n")
    with pytest.raises(SettingsError, match="line 2") as refused:
        settings.stack_config("x")
    assert SECRET not in str(refused.value)


def test_a_key_that_is_there_twice_is_refused(folder: Path) -> None:
    (folder / "Pulumi.x.yaml").write_text("config:\n  lightwave:products:\n    payload: {}\n    payload: {schema: x}\n")
    with pytest.raises(SettingsError, match="payload is there twice"):
        settings.stack_config("x")


def test_a_deploy_without_the_databases_ca_certificates_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(files, "ROOT", tmp_path)
    database = settings.RdsSettings(server="rds")
    with pytest.raises(SettingsError, match=r"rds-ca\.pem is missing(.|\n)*curl --fail --output rds-ca\.pem"):
        settings.database_ca_pem(database)
    with settings.offline():
        assert settings.database_ca_pem(database) == settings.KNOWN_AT_DEPLOY
    (tmp_path / "rds-ca.pem").write_text("-----BEGIN CERTIFICATE-----")
    assert settings.database_ca_pem(database) == "-----BEGIN CERTIFICATE-----"


@pytest.mark.parametrize("content", [b"", b"a path/to.pem", b"\xff\xfe\x00"])
def test_a_ca_file_without_a_certificate_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    monkeypatch.setattr(files, "ROOT", tmp_path)
    (tmp_path / "pooler.pem").write_bytes(content)
    pgbouncer = settings.PgBouncerSettings.model_validate({"clientTls": True, "clientCaFile": "pooler.pem"})
    with settings.offline(), pytest.raises(SettingsError) as refused:
        settings.pooler_ca_pem(pgbouncer)
    (problem,) = refused.value.problems
    assert problem.what == "pooler.pem holds no PEM certificate: nothing could verify PgBouncer's certificate"
    assert problem.fix.startswith("copy the certificates of the CAs that sign it to pooler.pem")
    assert settings.pooler_ca_pem(settings.PgBouncerSettings()) is None
