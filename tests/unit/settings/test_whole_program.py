"""No config reaches an exception of a component: the whole program records what it declares, or refuses the config."""

import copy
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import settings
from ops.plan.recorder import record_stack
from settings import SettingsError, files
from tests.configs import IMAGES, ON_KIND, OWN_BUCKET, SERVICES, VALKEY_IMAGES
from tests.unit.conftest import FACTS_OF_PROD, full_config, local_state
from tests.unit.settings.changes import put
from tests.unit.settings.plausible import changed


@pytest.fixture(scope="module", autouse=True)
def _files_read_once() -> Iterator[None]:
    """Each refusal looks into the two YAML files for its fix: reading them anew would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_file_config", cache(files._file_config))
        yield


ARN = "arn:aws:iam::123456789012:role/deploy"
MEDIA = {**FACTS_OF_PROD["media"], **OWN_BUCKET, "zone": "a.site", "domain": "cdn-dev.a.site"}


def base(name: str) -> dict[str, Any]:
    """A valid config: of a real stack, or of dev with a cluster, bucket, Valkey and services of the developer's own."""
    if name in ("dev", "prod"):
        return full_config(name)
    own = copy.deepcopy({**ON_KIND, "media": MEDIA, "valkey": VALKEY_IMAGES, "services": SERVICES})
    return {**full_config("dev"), **{f"lightwave:{section}": value for section, value in own.items()}}


def run(name: str, config: dict[str, Any]) -> str:
    """The message of the refusal, empty where the program declares the stack. Any other exception fails the test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "stack_config", lambda _: config)
        try:
            assert record_stack(name if name == "prod" else "dev").resources
        except SettingsError as error:
            return str(error)
    return ""


@pytest.mark.parametrize("name", ["dev", "kind", "prod"])
def test_each_base_is_valid(name: str) -> None:
    assert run(name, base(name)) == ""


@pytest.mark.parametrize(
    ("name", "changes", "key"),
    [
        # both were tracebacks once
        ("prod", {"pgbouncer.image": IMAGES["image"].replace("v1.25.2", "v1.22.0")}, "pgbouncer.image"),
        ("prod", {"database.importId": "another"}, "database.importId"),
        ("kind", {"pgbouncer.image": IMAGES["image"].replace("v1.25.2-p0", "latest")}, "pgbouncer.image"),
        ("prod", {"products.cineos.framework": "django", "products.cineos.service": "x"}, "products.cineos.framework"),
        ("prod", {"products": {"metrics": {"framework": "django", "service": "x"}}}, "products.metrics"),
        ("kind", {"products": {"default": {"framework": "django", "service": "x"}}}, "products.default"),
        ("prod", {"products.django.namespace": "payload-cms"}, "products.django.namespace"),
        ("prod", {"aws.privateSubnetIds": ["subnet-0a1b2c3d", "subnet-0a1b2c3d"]}, "aws.privateSubnetIds"),
        ("kind", {"kubernetes.databaseCidrs": []}, "kubernetes.databaseCidrs"),
        (
            "prod",
            {"kubernetes.context": "other", "kubernetes.namespaces.shared.deployerPrincipal": ARN},
            "kubernetes.namespaces.shared.deployerPrincipal",
        ),
        ("prod", {"products": {"cineos": {}}, "valkey": {}, "rotations.PAYLOAD_SECRET": 1}, "rotations.PAYLOAD_SECRET"),
        ("dev", {"rotations.payload_user": 1}, "rotations.payload_user"),
        ("prod", {"media.domain": "cdn.elsewhere.site"}, "media.domain"),
        ("prod", {"media.credentials": "given", "media.accessKeyId": "x"}, "media.secretAccessKey"),
        ("prod", {"valkey.image": None}, "valkey.image"),
        ("prod", {"database.instanceClass": "db.x9.huge"}, "database.instanceClass"),
        ("prod", {"database.instanceClass": "db.t3.micro"}, "database.instanceClass"),
        ("prod", {"products.payload.connectionLimit": 1}, "products.payload.connectionLimit"),
        ("dev", {"database.maxConnections": 20}, "database.maxConnections"),
    ],
)
def test_a_mistake_is_refused_by_its_key(name: str, changes: dict[str, Any], key: str) -> None:
    config = base(name)
    for path, value in changes.items():
        put(config, path, value)
    assert f"  lightwave:{key}: " in run(name, config)


@pytest.mark.parametrize("name", ["dev", "kind", "prod"])
@pytest.mark.parametrize("junk", [None, "x", 0, 10**9, True, [], {}])
def test_junk_in_the_place_of_any_value_is_declared_or_refused(name: str, junk: Any) -> None:
    """Every value of the config in turn, the innermost first. Most are refused; the program runs with the others."""
    accepted = base(name)
    for path in sorted(_paths(accepted), key=lambda path: -path.count(".")):
        config = copy.deepcopy(accepted)
        put(config, path, junk)
        with settings.offline(), suppress(SettingsError):
            settings.load("prod" if name == "prod" else "dev", config)
            accepted = config
    run(name, accepted)


def _paths(value: Any, path: str = "") -> list[str]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    below = [(f"{path}.{key}".removeprefix(".lightwave:"), item) for key, item in items]
    return [found for key, item in below for found in (key, *_paths(item, key))]


@pytest.mark.parametrize("name", ["dev", "kind", "prod"])
@given(data=st.data())
@hypothesis_settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_a_plausible_config_is_declared_or_refused(name: str, data: st.DataObject) -> None:
    config = data.draw(changed(base(name)))
    run(name, config)


def test_verifiers_that_pgbouncer_would_misread_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    state = local_state()
    state["scramVerifiers"]["payload_user"] = "a password"
    monkeypatch.setattr(files, "placeholder_state", lambda _: state)
    assert "local.scramVerifiers.payload_user: text is malformed" in run("kind", base("kind"))


def test_a_file_without_certificates_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    config = base("prod")
    monkeypatch.setattr(files, "ROOT", tmp_path)
    (tmp_path / "rds-ca.pem").write_text("<html>not found</html>")
    assert "rds-ca.pem holds no PEM certificate" in run("prod", config)
