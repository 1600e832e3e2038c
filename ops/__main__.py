"""The operator's commands; the Makefile names each of them.

Each command imports what it needs, so that none pays for another's SDKs and `--help` for none at all.
"""

# ruff: noqa: PLC0415

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ops.errors import ExitCode
    from settings.problems import OperatorError

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = "python -m ops"
GOLDEN_STACKS = ("dev", "staging", "prod")
"""Stacks whose plans are committed; a developer's own stack is not among them."""


class StackName(click.Choice[str]):
    """The name of a stack that has a config file; with `started`, also of one whose servers outlived its file."""

    def __init__(self, *, started: bool = False) -> None:
        names = {path.name.split(".")[1] for path in ROOT.glob("Pulumi.*.yaml")}
        if started:
            names |= {path.parent.name for path in ROOT.glob(".local/*/servers.json")}
        super().__init__(sorted(names))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.choices:
            self.fail(f"there is no Pulumi.{value}.yaml; expected: {', '.join(self.choices)}", param, ctx)
        return str(value)


stack_option = click.option(
    "--stack", type=StackName(), default="dev", show_default=True, help="a stack that has a config file"
)
workspace_option = click.option(
    "--workspace",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=ROOT.parent,
    help="the folder with the services' checkouts and .env.services.json  [default: the one above this checkout]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="print JSON, for a program to read")


class Commands(click.Group):
    """The commands in the order in which they stand here, not in the alphabet's."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """The operator's commands around the Pulumi program; `make` has a short form of each."""


@commands.command("plan")
@stack_option
def plan_command(stack: str) -> None:
    """Write the offline plan of a stack to build/<stack>/."""
    from ops.plan import document

    folder = document.write(stack)
    click.echo(f"wrote {folder.relative_to(ROOT)}/: read plan.md first")


@commands.command("golden")
def golden_command() -> None:
    """Write the golden plans again."""
    from ops.plan import document, review

    folder = ROOT / review.GOLDEN
    folder.mkdir(exist_ok=True)
    for stack in GOLDEN_STACKS:
        (folder / f"{stack}.json").write_text(document.text(document.document(stack)))
        click.echo(f"wrote {review.GOLDEN}/{stack}.json")


@commands.command("diff")
@click.option("--base", default="origin/main", show_default=True, help="the git ref to compare with")
@json_option
def diff_command(base: str, as_json: bool) -> None:
    """Show what changes in the golden plans against a git ref."""
    from ops.plan import review

    stacks = GOLDEN_STACKS[::-1]
    click.echo(review.as_json(stacks, base) if as_json else review.page(stacks, base))


@commands.command("policy")
@stack_option
def policy_command(stack: str) -> int:
    """Hold the offline plan of a stack against the policy pack."""
    from ops.plan import policy

    return policy.run(stack)


@commands.command("up")
@stack_option
@click.option("--remove", is_flag=True, help="delete roles, empty schemas and grants that are no longer declared")
def up_command(stack: str, remove: bool) -> int:
    """Bring a local stack up, from servers to env files."""
    from ops import up

    return up.up(stack, remove=remove)


@commands.command("down")
@click.option("--stack", type=StackName(started=True), default="dev", show_default=True, help="a local stack")
@click.option("--wipe", is_flag=True, help="remove everything of it too")
def down_command(stack: str, wipe: bool) -> int:
    """Stop a local stack."""
    from ops import up

    return up.down(stack, wipe=wipe)


@commands.command("preview")
@stack_option
def preview_command(stack: str) -> int:
    """Run checks, then pulumi preview."""
    from ops.deploy import commands

    return commands.preview(stack)


@commands.command("deploy")
@stack_option
def deploy_command(stack: str) -> int:
    """Run checks, preview, ask, pulumi up, verify."""
    from ops.deploy import commands

    return commands.deploy(stack)


@commands.command("drift")
@stack_option
def drift_command(stack: str) -> int:
    """Find what was changed by hand in cloud and database."""
    from ops.deploy import commands

    return commands.drift(stack)


@commands.command("verify")
@stack_option
@click.option("--outside", is_flag=True, help="only what visitors see: DNS, TLS, headers, media; needs no password")
@json_option
def verify_command(stack: str, outside: bool, as_json: bool) -> int:
    """Prove the running platform, and what visitors see of it."""
    from ops.deploy import commands

    return commands.verify_all(stack, database=not outside, as_json=as_json)


@commands.command("env")
@stack_option
@click.option("--service", help="a product's name or its service key")
@click.option("--all", "whole", is_flag=True, help="every service in the workspace's .env.services.json")
@workspace_option
@click.option("--check", is_flag=True, help="with --all: write nothing, exit 1 where a file is not up to date")
def env_command(stack: str, service: str | None, whole: bool, workspace: Path, check: bool) -> int:
    """Write the env file of one service, or of all in a workspace."""
    from settings import of_stack

    if whole:
        from ops.phase0 import workspace as workspaces

        if service:
            raise click.UsageError("--all goes without --service")
        return workspaces.run(of_stack(stack), workspace, check=check)
    if not service or check:
        raise click.UsageError("--check goes with --all" if service else "Missing option '--service' (or '--all').")
    from ops.dev import env

    return env.run(of_stack(stack), service)


@commands.command("release")
@stack_option
@click.option("--service", required=True, help="a product's name or its service key")
@click.option("--image", required=True, help="the release, as name:tag@sha256:<digest>")
@click.option("--migration-image", default="", help="the image of its migrations, where they have one of their own")
def release_command(stack: str, service: str, image: str, migration_image: str) -> int:
    """Name a service's image and show what that changes."""
    from ops import release

    return release.release(stack, service, image, migration_image)


@commands.command("media-sync")
@stack_option
@click.option(
    "--from",
    "source",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="the folder with the media",
)
@click.option("--dry-run", is_flag=True, help="say what would be copied, compare, and copy nothing")
def media_sync_command(stack: str, source: Path, dry_run: bool) -> int:
    """Copy a folder of media to the bucket, and compare."""
    from ops.phase0 import media
    from ops.phase0.subject import Subject
    from settings import of_stack

    return media.sync(Subject(of_stack(stack), ROOT.parent, ""), source, dry_run=dry_run)


@commands.command("phase0")
@stack_option
@workspace_option
@click.option("--payload-url", default="http://localhost:3000/api", show_default=True, help="Payload's REST API")
def phase0_command(stack: str, workspace: Path, payload_url: str) -> int:
    """Measure the Phase 0 report's success criteria."""
    from ops.phase0 import commands

    return commands.phase0(stack, workspace, payload_url)


@commands.command("handoff")
@stack_option
def handoff_command(stack: str) -> int:
    """Write the handoff to Phase 1 from the last measurement."""
    from ops.phase0 import commands

    return commands.handoff(stack)


@commands.command("tunnel")
@stack_option
@click.option("--target", default="", help="the EC2 instance to go through")
def tunnel_command(stack: str, target: str) -> int:
    """Forward a local port to the private RDS."""
    from ops.deploy import tunnel

    return tunnel.open_tunnel(stack, target)


@commands.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the completion of `ops` for a shell.

    In bash or zsh: eval "$(.venv/bin/python -m ops completion bash)". It makes `ops` a command of its own.
    """
    from click.shell_completion import get_completion_class

    launcher = ROOT / ".local" / "bin" / "ops"
    launcher.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    launcher.write_text(f'#!/bin/sh\ncd {shlex.quote(str(ROOT))} && exec {shlex.quote(sys.executable)} -m ops "$@"\n')
    launcher.chmod(0o700)
    folder = shlex.quote(str(launcher.parent))
    click.echo(f"fish_add_path --path {folder}" if shell == "fish" else f'PATH={folder}:"$PATH"')
    complete = get_completion_class(shell)
    assert complete is not None
    click.echo(complete(commands, {}, "ops", "_OPS_COMPLETE").source())


def print_error(error: "OperatorError") -> "ExitCode":
    """Prints what is wrong and how to fix it: the only place that does. Returns the exit status for it."""
    from ops.errors import ExitCode, FailedError

    bullet = "- " if error.title or len(error.problems) > 1 else ""
    lines = [error.title] if error.title else []
    click.echo("\n".join([*lines, *(f"{bullet}{problem}" for problem in error.problems)]), err=True)
    return ExitCode.FAILED if isinstance(error, FailedError) else ExitCode.REFUSED


def _unforeseen(error: Exception) -> "OperatorError":
    """Prints the traceback of an error that no command expects; what ends the output names it again, with a fix."""
    import traceback

    from ops.errors import FailedError

    click.echo("".join(traceback.format_exception(error)), err=True)
    said = " ".join(str(error).split())
    return FailedError(
        f"{type(error).__name__}{f': {said}' if said else ''}",
        "run the command again; if it fails again, report it with the traceback above",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status of the process (`ExitCode`)."""
    try:
        status = commands.main(arguments, PROGRAM, complete_var="_OPS_COMPLETE", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:  # an interrupt
        click.echo("interrupted: what was done so far stays; the same command goes on from there", err=True)
        return 130
    except Exception as error:  # noqa: BLE001 (the last resort: nothing may end without a fix)
        from settings.problems import OperatorError

        if not isinstance(error, OperatorError):
            error = _unforeseen(error)
        return print_error(error)
    return int(status or 0)


if __name__ == "__main__":
    sys.exit(main())
