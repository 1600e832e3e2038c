"""Tests that need what not every machine has: skipped there, unless an environment variable says it must be had."""

import os
from typing import NoReturn

import pytest


def not_here(reason: str, variable: str) -> NoReturn:
    """Skips with the reason; where `variable` is 1, fails with it."""
    if os.environ.get(variable) == "1":
        pytest.fail(reason)
    pytest.skip(reason)
