"""The bench of the tests of one turn, with either server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.limits.bench import Bench
from tests.support.store import Server
from tests.support.tools import require


@pytest.fixture(scope="module", params=["valkey", "redis"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    if request.param == "redis":
        require("redis-server", install="apt-get install redis-server")
    server = Server(Path(tmp_path_factory.mktemp("limits")) / "data", flavour=request.param, append_only=False)
    server.start()
    bench = Bench(server)
    yield bench
    bench.runner.run(bench.store.close())
    bench.runner.close()
    server.close()
