"""The operator's commands; the Makefile names each of them."""

# Each command imports what it needs, so that none pays for another's SDKs.
# ruff: noqa: PLC0415

import argparse
import sys

import settings
from settings.problems import OperatorError

STACKS = ("dev", "prod")


def plan(args: argparse.Namespace) -> int:
    """write the offline plan of a stack to build/<stack>/"""
    from ops.plan import document as plans

    folder = plans.write(args.stack)
    print(f"wrote {folder.relative_to(settings.ROOT)}/: read plan.md first")
    return 0


def golden(_: argparse.Namespace) -> int:
    """write the golden plans of both stacks again"""
    from ops.plan import document as plans
    from ops.plan import review

    folder = settings.ROOT / review.GOLDEN
    folder.mkdir(exist_ok=True)
    for stack in STACKS:
        (folder / f"{stack}.json").write_text(plans.text(plans.document(stack)))
        print(f"wrote {review.GOLDEN}/{stack}.json")
    return 0


def diff(args: argparse.Namespace) -> int:
    """what changes against a git ref, for a reviewer"""
    from ops.plan import review

    print(review.page(STACKS[::-1], args.base))
    return 0


def policy(args: argparse.Namespace) -> int:
    """hold the offline plan against the policy pack"""
    from ops.plan import policy as policies

    return policies.run(args.stack)


def up(args: argparse.Namespace) -> int:
    """bring the dev stack up"""
    from ops import up as dev

    return dev.up(args.stack)


def down(args: argparse.Namespace) -> int:
    """stop the dev stack"""
    from ops import up as dev

    return dev.down(wipe=args.wipe)


def preview(args: argparse.Namespace) -> int:
    """pulumi preview, with checks before it starts"""
    from ops.deploy import commands as deploys

    return deploys.preview(args.stack)


def deploy(args: argparse.Namespace) -> int:
    """preview, confirm, pulumi up"""
    from ops.deploy import commands as deploys

    return deploys.deploy(args.stack)


def drift(args: argparse.Namespace) -> int:
    """refresh, expect no changes, verify"""
    from ops.deploy import commands as deploys

    return deploys.drift(args.stack)


def verify(args: argparse.Namespace) -> int:
    """prove the running platform against the product table"""
    from ops.deploy.admin_login import admin_login
    from ops.verify import report as verifies
    from ops.verify.model import Endpoint

    told = settings.of_stack(args.stack)
    if told.local is None:
        endpoint, password = admin_login(told)
        return verifies.run(told, direct=endpoint, passwords={settings.ADMIN: password}, as_json=args.json)
    return verifies.run(
        told,
        direct=Endpoint(host="127.0.0.1", port=told.local.database_port),
        pooled=Endpoint(host="127.0.0.1", port=told.local.pgbouncer_port),
        passwords=told.local.passwords,
        as_json=args.json,
    )


def env(args: argparse.Namespace) -> int:
    """write the env file of one service"""
    from ops.dev import env as env_files

    return env_files.run(settings.of_stack(args.stack), args.service)


def tunnel(args: argparse.Namespace) -> int:
    """forward a local port to the private RDS"""
    from ops.deploy import tunnel as tunnels

    return tunnels.open_tunnel(args.stack, args.target)


def bench(args: argparse.Namespace) -> int:
    """measure the dev stack: direct against pooled"""
    from ops.dev import bench as benches

    return benches.run(settings.of_stack(args.stack))


COMMANDS = (plan, golden, diff, policy, up, down, preview, deploy, drift, verify, env, tunnel, bench)


def main(argv: list[str] | None = None) -> int:
    """Runs one command; its exit status is the process's."""
    parser = argparse.ArgumentParser(prog="python -m ops", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for run in COMMANDS:
        command = commands.add_parser(run.__name__, help=run.__doc__)
        command.add_argument("--stack", default="dev")
        command.set_defaults(run=run)
    commands.choices["down"].add_argument("--wipe", action="store_true", help="remove the data too")
    commands.choices["diff"].add_argument("--base", default="origin/main", help="the git ref to compare with")
    commands.choices["verify"].add_argument("--json", action="store_true", help="for a program to read")
    commands.choices["env"].add_argument("--service", required=True, help="a product's name or its service key")
    commands.choices["tunnel"].add_argument("--target", default="", help="the EC2 instance to go through")
    args = parser.parse_args(argv)
    try:
        status: int = args.run(args)
    except (settings.SettingsError, OperatorError) as error:
        print(error, file=sys.stderr)
        return 2
    return status


if __name__ == "__main__":
    sys.exit(main())
