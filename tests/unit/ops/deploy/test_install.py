"""Finding the Pulumi CLI and its providers, with a stand-in for it."""

import json
import urllib.error
import urllib.request
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import pytest

import settings
from ops.deploy import install
from ops.deploy.install import NoPulumiError
from ops.deploy.pulumi_cli import PulumiCli
from tests.configs import ON_KIND, OWN_BUCKET
from tests.unit.conftest import FACTS_OF_PROD, full_config, local_state
from tests.unit.ops.deploy.conftest import StandIn


def find(root: Path, *providers: str) -> PulumiCli:
    """For the local stack dev."""
    return install.find("dev", local=True, providers=providers or ["postgresql"], root=root)


def test_switched_off(pulumi: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(install.SWITCH, "off")
    with pytest.raises(NoPulumiError, match="LIGHTWAVE_PULUMI=off"):
        install.find("dev", local=True)
    assert pulumi.asked == []


def test_on_path_with_the_provider_beside_it(pulumi: StandIn, tmp_path: Path) -> None:
    provider = pulumi.command.with_name("pulumi-resource-postgresql")
    provider.write_text("")
    provider.chmod(0o755)
    assert find(tmp_path) == PulumiCli(str(pulumi.command), "dev", True, tmp_path)
    assert pulumi.asked == []


@pytest.mark.parametrize("installed", [True, False])
def test_the_provider_is_installed_where_its_version_is_missing(
    pulumi: StandIn, tmp_path: Path, installed: bool
) -> None:
    wanted = version("pulumi-postgresql")
    pulumi.answer(
        plugin_ls={"stdout": json.dumps([{"name": "postgresql", "version": f"v{wanted if installed else '1.0.0'}"}])}
    )
    find(tmp_path)
    asked = [arguments for arguments, _ in pulumi.asked]
    install = ["plugin", "install", "resource", "postgresql", wanted]
    assert asked == [["plugin", "ls", "--json"], *([] if installed else [install])]


@pytest.mark.parametrize(
    ("sections", "names"),
    [
        ({}, ("postgresql",)),
        (ON_KIND, ("postgresql", "kubernetes")),
        (
            {"media": {**FACTS_OF_PROD["media"], "zone": "a.site", "domain": "b-dev.a.site", **OWN_BUCKET}},
            ("postgresql", "cloudflare"),
        ),
    ],
)
def test_a_local_stack_needs_the_providers_of_what_it_declares(
    pulumi: StandIn, tmp_path: Path, sections: dict[str, Any], names: tuple[str, ...]
) -> None:
    config = full_config("dev") | {f"lightwave:{name}": value for name, value in sections.items()}
    found = install.providers(settings.load("dev", config, local=local_state()))
    assert found == names
    pulumi.answer(plugin_ls={"stdout": "[]"})
    find(tmp_path, *found)
    installed = [asked[3:] for asked, _ in pulumi.asked if asked[:2] == ["plugin", "install"]]
    assert installed == [[name, version(f"pulumi-{name}")] for name in names]


def test_a_provider_that_cannot_be_installed_is_reported_in_one_line(pulumi: StandIn, tmp_path: Path) -> None:
    pulumi.answer(plugin_ls={"stdout": "[]"}, plugin_install={"status": 1, "stderr": "trying\nfailed all 5 attempts"})
    with pytest.raises(NoPulumiError) as refused:
        find(tmp_path)
    (problem,) = refused.value.problems
    assert problem.what == (
        f"Pulumi's postgresql provider {version('pulumi-postgresql')} cannot be installed: failed all 5 attempts"
    )
    assert problem.fix


def test_prod_leaves_its_providers_to_pulumi(pulumi: StandIn, tmp_path: Path) -> None:
    install.find("prod", local=False, providers=["postgresql"], root=tmp_path)
    assert pulumi.asked == []


def test_no_cli_and_no_network_is_reported_in_one_line(
    pulumi: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulumi.command.unlink()

    def unreachable(*_: object, **options: Any) -> NoReturn:
        assert options["timeout"] <= 10
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    with pytest.raises(NoPulumiError) as refused:
        find(tmp_path)
    (problem,) = refused.value.problems
    assert problem.what == f"pulumi is not on PATH and {install.INSTALLER} cannot be reached (no route)"
    assert problem.fix


def test_a_cli_that_was_installed_before_is_used(pulumi: StandIn, tmp_path: Path) -> None:
    installed = tmp_path / install.FOLDER / "bin" / "pulumi"
    installed.parent.mkdir(parents=True)
    pulumi.command.rename(installed)
    assert install.find("prod", local=False, providers=["postgresql"], root=tmp_path).command == str(installed)


def test_the_official_installer_s_failure_is_reported_in_one_line(
    pulumi: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulumi.command.unlink()
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: nullcontext())
    # The automation API downloads through urllib, whose only way out leads nowhere.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(NoPulumiError, match=r"^pulumi cannot be installed: .*Connection refused"):
        find(tmp_path)
