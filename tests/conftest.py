"""What all tests share: they reserve no port in the home folder of the user who runs them."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_reservations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the reserved ports (`ops.dev.ports`) in a folder of this run, which its processes share."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state-home"))
        yield
