"""Changes deep inside config and inputs, for tests."""

import copy
from typing import Any

GONE = object()
"""As a new value: what is at the path is taken out."""


def changed_at(tree: Any, path: str, value: Any) -> Any:
    """A copy of the tree with another value at the dotted path; a number is a place in a list."""
    tree = copy.deepcopy(tree)
    place = tree
    *above, last = path.split(".")
    for key in above:
        place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
    where: Any = int(last) if isinstance(place, list) else last
    if value is GONE:
        del place[where]
    else:
        place[where] = value
    return tree
