"""Runs in a pod: `ask.py METHOD URL [TOKEN]` sends a request, with standard input as its JSON where there is any.

Prints JSON: the answer's status and document; the error instead where there was no answer.
"""

import json
import sys
from urllib.error import HTTPError
from urllib.request import Request, urlopen


def main(method: str, url: str, token: str = "") -> None:
    """One request, tried once."""
    headers = {"Content-Type": "application/json", **({"Authorization": f"JWT {token}"} if token else {})}
    request = Request(url, sys.stdin.read().encode() or None, headers, method=method)
    try:
        with urlopen(request, timeout=30) as answer:
            found = answer.status, json.load(answer)
    except HTTPError as error:
        found = error.code, error.read().decode()
    except OSError as error:
        found = 0, str(error)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
