"""Every file that looks like a test is one that runs: a file that nobody collects tests nothing."""

import re
import subprocess
import sys

import pytest

from settings import ROOT

TESTS = ROOT / "tests"
FILES = sorted(path for path in TESTS.rglob("*.py") if "__pycache__" not in path.parts)
TEST_FILES = [path for path in FILES if path.name.startswith("test_")]


@pytest.fixture(scope="module")
def collected() -> dict[str, int]:
    """By file, how many tests a plain `pytest` would run there."""
    ran = subprocess.run(
        # Options that would leave tests out belong to the call, not to what is collected.
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-q", "-n0", "-p", "no:cacheprovider", "-W", "ignore"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    lines = re.findall(r"^(tests/\S+\.py): (\d+)$", ran.stdout, re.MULTILINE)
    return {file: int(count) for file, count in lines}


def test_every_test_file_has_a_test_that_is_collected(collected: dict[str, int]) -> None:
    assert TEST_FILES
    assert [str(path.relative_to(ROOT)) for path in TEST_FILES] == sorted(collected)
    assert all(collected.values())


def test_no_test_hides_in_a_file_that_is_not_collected() -> None:
    others = [path for path in FILES if path not in TEST_FILES]
    assert [path for path in others if path.name.endswith("_test.py")] == []
    assert [path for path in others if re.search(r"^\s*(async )?def test_", path.read_text(), re.MULTILINE)] == []


def test_no_test_is_overwritten_by_one_of_the_same_name() -> None:
    for path in TEST_FILES:
        names = re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
        assert sorted(names) == sorted(set(names)), path


def test_every_folder_with_tests_is_a_package() -> None:
    """Two test files of the same name in folders that are no packages would be one module."""
    assert [path for path in TEST_FILES if not (path.parent / "__init__.py").exists()] == []
