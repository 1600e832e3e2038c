"""Turns mistakes into the error that the operator sees: the key as they know it, and the command that fixes it."""

import json
import re
import shlex
from collections.abc import Iterable

from settings import files
from settings.names import PROJECT
from settings.problems import Key, Mistake, Problem, SettingsError
from settings.words import place


def refusal(stack: str, mistakes: Iterable[Mistake]) -> SettingsError:
    """The error for what is wrong in a stack's config; one that finds more in checked settings uses it as well."""
    own, defaults = files.own_config(stack), files.project_defaults()
    # What `pulumi config set` would write to the stack's file takes the place of the project's whole mapping.
    in_project = {key for key, value in defaults.items() if isinstance(value, dict) and value and key not in own}
    problems = {_problem(mistake, stack, in_project) for mistake in mistakes}
    return SettingsError(sorted(problems, key=str), stack=stack)


def _problem(mistake: Mistake, stack: str, in_project: set[str]) -> Problem:
    section, path = str(mistake.key[0]), _path(mistake.key)
    if section == "local" and mistake.fix != "remove":
        given = "" if stack == "dev" else f" STACK={shlex.quote(stack)}"
        up = f"make up{given}"
        fix = up if mistake.what == "is missing" else f"make down{given} WIPE=1 && {up}"
        key = f"{files.state_file(stack).relative_to(files.ROOT)}: {path}"
        return Problem(key=key, what=mistake.what, expected=mistake.expected, fix=fix)
    key = f"{PROJECT}:{path}"
    flags = f"--stack {shlex.quote(stack)} --path {shlex.quote(key)}"
    if f"{PROJECT}:{section}" in in_project:
        fix = f"${{EDITOR:-vi}} Pulumi.yaml  # under config, {key}"
    elif mistake.fix == "remove":
        fix = f"pulumi config rm {flags}"
    elif mistake.fix == "edit":
        fix = f"${{EDITOR:-vi}} {shlex.quote(f'Pulumi.{stack}.yaml')}  # under config, {key}"
    else:
        secret = "--secret " if place(mistake.key)[1].get("writeOnly") else ""
        fix = f"pulumi config set {secret}{flags} VALUE"
    return Problem(key=key, what=mistake.what, expected=mistake.expected, fix=fix)


def _path(key: Key) -> str:
    """As `pulumi config set --path` reads it."""
    steps = (
        f"[{part}]"
        if isinstance(part, int)
        else f".{part}"
        if re.fullmatch(r"[A-Za-z_][\w-]*", part, re.ASCII)
        else f"[{json.dumps(part)}]"
        for part in key
    )
    return "".join(steps).removeprefix(".")
