from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.hub import HubProcess, hub_process


@pytest.fixture(scope="module")
def hub(request: pytest.FixtureRequest) -> Iterator[HubProcess]:
    """A stand-in of the real hub, started with the HUB_OPTIONS of the module."""
    with hub_process(*getattr(request.module, "HUB_OPTIONS", ())) as hub:
        yield hub
