"""Runs in a pod: `statements.py VARIABLE` runs each SQL statement of a JSON list in a transaction that is rolled back.

The URL is that of the variable in the environment of the pod's first process: of the service, beside which this runs.
Prints a JSON list: of each statement its SQLSTATE (00000: it went well), or the connection's error text where there is
none.
"""

import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

import psycopg


def url(variable: str) -> str:
    """The URL without `schema`, which libpq does not know."""
    environment = dict(entry.split("=", 1) for entry in Path("/proc/1/environ").read_text().split("\0") if entry)
    parts = urlsplit(environment[variable])
    query = "&".join(part for part in parts.query.split("&") if not part.startswith("schema="))
    return parts._replace(query=query).geturl()


def main() -> None:
    """Of standard input."""
    statements = json.load(sys.stdin)
    try:
        states = []
        with psycopg.connect(url(sys.argv[1]), connect_timeout=20, prepare_threshold=None, autocommit=True) as own:
            for statement in statements:
                try:
                    with own.transaction(force_rollback=True):
                        own.execute(statement)
                    states.append("00000")
                except psycopg.Error as error:
                    states.append(error.sqlstate or str(error))
    except psycopg.OperationalError as error:
        states = [str(error)] * len(statements)
    json.dump(states, sys.stdout)


if __name__ == "__main__":
    main()
