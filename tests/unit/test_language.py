"""Words that this repository does not use: they are unidiomatic, or stand for something that has a usual name."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from settings import ROOT
from tests.unit.test_docs import FILES

WORDS = {
    r"mend(s|ed|ing)?": "fix",
    r"cures?": "fix",
    r"whoever": "anyone who",
    r"thereof": "of it",
    r"shall": "must, or the present tense",
    r"can not": "cannot",
    r"allowed:": "expected:",
}
"""By pattern, what to write in its place."""

NAMES = {"told": "settings"}
"""Identifiers, which are good words elsewhere."""

NOT_YET = (
    *("bootstrap/", "components/", "ops/", "policies/", "settings/", "stack/"),
    *("tests/cluster/", "tests/engine/", "tests/integration/", "tests/unit/"),
)
"""What has not been rewritten: files, and folders with a slash at their end. Empty once everything has been."""

CHECKED = [
    name
    for name in FILES
    if Path(name).suffix in (".py", ".md", ".yaml", ".yml", ".sh", ".sql")
    and not name.startswith(("tests/golden/", *NOT_YET))
    and name != Path(__file__).relative_to(ROOT).as_posix()
]


def found(name: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        for word, better in WORDS.items():
            if re.search(rf"(?<![\w-]){word}(?!\w)", line, re.IGNORECASE):
                yield f"{name}:{number}: {word} -> {better}"
    if name.endswith(".py"):
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NAME and token.string in NAMES:
                yield f"{name}:{token.start[0]}: {token.string} -> {NAMES[token.string]}"


@pytest.mark.parametrize("name", CHECKED)
def test_the_words_are_plain(name: str) -> None:
    assert list(found(name, (ROOT / name).read_text())) == []


def test_the_words_are_seen() -> None:
    seen = [line.rpartition(": ")[2] for line in found("a.py", "x = told.y  # can not mend it\ns = 'he told me'\n")]
    assert seen == ["mend(s|ed|ing)? -> fix", "can not -> cannot", "told -> settings"]
    assert not list(found("a.md", "secure and mandatory; he told me; marshalled; a recurrence; is allowed"))
