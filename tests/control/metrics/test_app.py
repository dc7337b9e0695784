from __future__ import annotations

import pytest
from aiohttp.test_utils import TestClient, TestServer

from sidecar.control.metrics.app import Endpoints
from tests.control.metrics.test_scrape import Page


@pytest.mark.parametrize(
    ("encodings", "packed"),
    [
        ("gzip", True),
        ("GZIP;q=0.5, identity", True),
        ("deflate, gzip;q=1.0", True),
        ("identity", False),
        ("gzip;q=0, identity", False),
        ("gzip; Q=0.000", False),
        ("x-gzip-like", False),
    ],
)
async def test_metrics_are_packed_for_those_who_can_read_that(encodings: str, packed: bool) -> None:
    async def sync() -> None:
        return

    endpoints = Endpoints(Page().scrape, lambda: "", sync)
    async with TestClient(TestServer(endpoints.application()), auto_decompress=False) as client:
        answer = await client.get("/metrics", headers={"Accept-Encoding": encodings})
        assert answer.headers.get("Content-Encoding") == ("gzip" if packed else None)
        assert (await answer.read()).startswith(b"\x1f\x8b") is packed
