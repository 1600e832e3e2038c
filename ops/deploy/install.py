"""Finding the Pulumi CLI and its provider plugins, and installing what is missing."""

import importlib.metadata
import json
import os
import shutil
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from ops import process
from ops.console import waiting
from ops.deploy.pulumi_cli import PulumiCli
from settings import ROOT, Settings
from settings.problems import OperatorError

SWITCH = "LIGHTWAVE_PULUMI"
"""Environment variable; `off` keeps a machine that has the Pulumi CLI from using it."""

FOLDER = ".local/pulumi"
"""Where the official installer puts a Pulumi CLI that the machine does not have."""

INSTALLER = "https://get.pulumi.com/install.sh"

_PROBE_SECONDS = 10
_INSTALL_SECONDS = 600
_PLUGIN_SECONDS = 300
_FIX = "install it: https://www.pulumi.com/docs/iac/download-install/"


class NoPulumiError(OperatorError):
    """There is no Pulumi CLI here, and none can be installed."""


def for_stack(settings: Settings, root: Path = ROOT) -> PulumiCli:
    """The Pulumi CLI for a stack. Raises NoPulumiError before anything else is touched."""
    return find(settings.stack, local=settings.is_local, providers=providers(settings), root=root)


def providers(settings: Settings) -> tuple[str, ...]:
    """Names of the providers that a local stack needs."""
    optional = {"kubernetes": settings.kubernetes, "cloudflare": settings.media}
    return ("postgresql", *(name for name, section in optional.items() if section))


def find(stack: str, *, local: bool, providers: Sequence[str] = (), root: Path = ROOT) -> PulumiCli:
    """`pulumi` from PATH, else one that the official installer puts into the ignored folder.

    For a local stack its providers are installed too where they are missing. Raises NoPulumiError.
    """
    if os.environ.get(SWITCH, "").lower() == "off":
        raise NoPulumiError(f"{SWITCH}=off", f"unset {SWITCH}")
    pulumi = PulumiCli(shutil.which("pulumi") or _installed(root), stack, local, root)
    for provider in providers if local else ():
        _ensure_provider(pulumi, provider)
    return pulumi


def _installed(root: Path) -> str:
    folder = root / FOLDER
    command = folder / "bin" / "pulumi"
    if not command.exists():
        try:
            with urllib.request.urlopen(INSTALLER, timeout=_PROBE_SECONDS):
                pass
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise NoPulumiError(f"pulumi is not on PATH and {INSTALLER} cannot be reached ({reason})", _FIX) from error
        # In a process of its own: the installer itself knows no time limit.
        program = "import sys; from pulumi.automation import PulumiCommand; PulumiCommand.install(root=sys.argv[1])"
        with waiting(f"installing pulumi {importlib.metadata.version('pulumi')} into {FOLDER}"):
            _install([sys.executable, "-c", program, str(folder)], _INSTALL_SECONDS, "pulumi cannot be installed")
    return str(command)


def _ensure_provider(pulumi: PulumiCli, name: str) -> None:
    environment = pulumi.environment()
    if shutil.which(f"pulumi-resource-{name}", path=environment["PATH"]):
        return
    version = importlib.metadata.version(f"pulumi-{name}")
    plugins = json.loads(pulumi.query("plugin", "ls", "--json"))
    if any(p["name"] == name and (p.get("version") or "").lstrip("v") == version for p in plugins):
        return
    command = [pulumi.command, "--non-interactive", "plugin", "install", "resource", name, version]
    with waiting(f"installing the {name} provider {version} of Pulumi"):
        _install(command, _PLUGIN_SECONDS, f"Pulumi's {name} provider {version} cannot be installed", environment)


def _install(command: list[str], seconds: int, failure: str, env: Mapping[str, str] | None = None) -> None:
    try:
        process.output(command, timeout=seconds, env=env)
    except process.ProcessError as error:
        last = str(error).splitlines()[-1]
        raise NoPulumiError(f"{failure}: {last}", _FIX) from error
