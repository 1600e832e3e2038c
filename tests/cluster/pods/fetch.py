"""Runs in a pod: prints what a URL answers."""

import sys
from urllib.request import urlopen

if __name__ == "__main__":
    with urlopen(sys.argv[1], timeout=10) as answer:
        sys.stdout.write(answer.read().decode())
