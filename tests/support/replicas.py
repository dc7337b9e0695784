"""Two sidecars that share a store and a pepper, as replicas do, with two workers each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.hub import ACCESS_KEY
from tests.support.sidecar import Sidecar
from tests.support.store import Server

WORKERS = 2


@contextmanager
def replicas(directory: Path, hub_url: str, **environment: str) -> Iterator[tuple[list[Sidecar], Server]]:
    """Both sidecars, ready, and their server. `environment` has further settings of both."""
    server = Server(directory / "store", tcp=True)
    server.start()
    with ExitStack() as stack:
        stack.callback(server.close)
        sidecars = []
        for name in ("first", "second"):
            (directory / name).mkdir()
            settings = {
                "store__url": server.url,
                "keys__pepper_file": str(directory / "first" / "data" / "pepper"),
                "proxy__workers": str(WORKERS),
                **environment,
            }
            sidecars.append(stack.enter_context(Sidecar(directory / name, hub_url, ACCESS_KEY, **settings)))
        yield sidecars, server
