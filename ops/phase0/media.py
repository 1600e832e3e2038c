"""Media of before Phase 0 into the bucket: copied with rclone, compared by checksum and with the rows of Payload."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import psycopg

from ops import process
from ops.console import is_terminal, say
from ops.errors import ExitCode, FailedError
from ops.phase0.subject import Subject
from ops.verify.model import Connection
from settings import Product
from settings.problems import OperatorError, Problem

CACHE_CONTROL = "public, max-age=14400"
"""Header of the copied objects, in seconds: what browsers get from the CDN's own cache rule too (4 hours)."""

_INSTALL = "install rclone: apt-get install rclone, or brew install rclone"
_LIST_SECONDS = 600
_DIFFERENT = {"*": "differs", "+": "is not in the bucket", "!": "could not be compared"}
"""By rclone's sign. `-`, an object without a file, is none of this copy's."""
_SHOWN = 20


def media_files(connection: Connection, product: Product, limit: int | None = None) -> Iterator[list[str]]:
    """The object keys of each media item, the newest first: its file and all its sizes."""
    columns = [
        name
        for (name,) in connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = 'media'"
            " AND (column_name = 'filename' OR column_name LIKE 'sizes!_%%!_filename' ESCAPE '!')",
            (product.schema_name,),
        )
    ]
    if not columns:
        return
    query = psycopg.sql.SQL("SELECT {} FROM {}.media ORDER BY created_at DESC LIMIT %s").format(
        psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, columns)), psycopg.sql.Identifier(product.schema_name)
    )
    for row in connection.execute(query, (limit,)):
        yield [name for name in row if name]


class Bucket:
    """The stack's bucket, as rclone reaches it."""

    def __init__(self, values: Mapping[str, str]) -> None:
        """`values`: the S3_* variables of Payload's service. Raises OperatorError without rclone."""
        if shutil.which("rclone") is None:
            raise OperatorError("rclone is not on this machine", _INSTALL)
        self.name = f"media:{values['S3_BUCKET']}"
        # AWS's own settings are for another account, and rclone takes them for this one.
        others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        # In the environment, because an argument would stand in the process list.
        self.environment = {
            **others,
            "RCLONE_CONFIG_MEDIA_TYPE": "s3",
            "RCLONE_CONFIG_MEDIA_PROVIDER": "Other",
            "RCLONE_CONFIG_MEDIA_ENDPOINT": values["S3_ENDPOINT"],
            "RCLONE_CONFIG_MEDIA_REGION": values["S3_REGION"],
            "RCLONE_CONFIG_MEDIA_ACCESS_KEY_ID": values["S3_ACCESS_KEY_ID"],
            "RCLONE_CONFIG_MEDIA_SECRET_ACCESS_KEY": values["S3_SECRET_ACCESS_KEY"],
            # The credentials reach this bucket's objects, not the bucket itself.
            "RCLONE_CONFIG_MEDIA_NO_CHECK_BUCKET": "true",
        }

    def copy(self, source: Path, *, dry_run: bool) -> None:
        """Copies what is not there or differs; what is there already is left, so it can be run again after a break.

        Raises FailedError where rclone failed.
        """
        flags = ["--progress"] if is_terminal() else ["--stats-one-line", "--stats=30s", "--log-level=NOTICE"]
        if dry_run:
            flags.append("--dry-run")
        header = f"--header-upload=Cache-Control: {CACHE_CONTROL}"
        command = self.arguments("copy", str(source), self.name, "--checksum", header, *flags)
        status = subprocess.run(command, env=self.environment, check=False).returncode
        if status:
            raise FailedError(f"rclone copy ended with status {status}", "run the same command again: it goes on")

    def differences(self, source: Path) -> dict[str, str]:
        """What is wrong, by the files of `source` whose object is missing or has another checksum."""
        # rclone's own status says only that there are some.
        command = self.arguments("check", str(source), self.name, "--one-way", "--combined=-", "--log-level=ERROR")
        done = subprocess.run(
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=_LIST_SECONDS,
            check=False,
        )
        lines = done.stdout.splitlines()
        if done.returncode and not lines:
            raise FailedError(f"rclone check failed: {done.stderr.strip()[-300:]}")
        return {line[2:]: _DIFFERENT[line[0]] for line in lines if line[0] in _DIFFERENT}

    def object_keys(self) -> set[str]:
        """The key of every object. Raises OperatorError where the bucket cannot be listed."""
        command = self.arguments("lsf", "--recursive", "--files-only", self.name)
        listed = process.output(
            command, timeout=_LIST_SECONDS, env=self.environment, clean=True, fix="check the S3_* variables"
        )
        return set(listed.splitlines())

    @staticmethod
    def arguments(*arguments: str) -> Sequence[str]:
        """The command line of rclone, which holds no secret."""
        # The user's own rclone.conf is not read.
        return ["rclone", "--config=", *arguments]


def sync(subject: Subject, source: Path, *, dry_run: bool) -> ExitCode:
    """`make media-sync`: copies the folder to the bucket's root, compares checksums, and looks for rows without object.

    Raises FailedError with every difference that is left.
    """
    bucket = Bucket(subject.values("payload"))
    say(f"{'would copy' if dry_run else 'copying'} {source} to {bucket.name}, objects at the bucket's root")
    bucket.copy(source, dry_run=dry_run)
    wrong = [f"{name} {what}" for name, what in sorted(bucket.differences(source).items())]
    count = sum(1 for path in source.rglob("*") if path.is_file())
    say(f"compared by checksum: {count} files, {len(wrong)} different or missing")
    keys = bucket.object_keys()
    with closing(subject.login("payload")) as connection:
        rows = list(media_files(connection, subject.product("payload")))
    lost = [name for row in rows for name in row if name not in keys]
    say(f"media rows: {len(rows)}, files without an object: {len(lost)}")
    problems = [Problem(what=what, fix="make media-sync FROM=… again") for what in wrong]
    problems += [Problem(what=f"a media row names {name}, which is not in the bucket") for name in lost]
    if problems:
        more = [Problem(what=f"and {len(problems) - _SHOWN} more")] if len(problems) > _SHOWN else []
        raise FailedError([*problems[:_SHOWN], *more])
    return ExitCode.OK
