"""Three times more than fits, in a closed loop: what is admitted is served as if nothing were, the rest is told at once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

from tests.support.hammer import Told, hammer
from tests.support.raw_hub import raw_hub_process
from tests.support.sidecar import Sidecar

PLACES = 30
HUB_SECONDS = 0.2
PAUSE = 0.02
"""Between an answer and the next request, so that it is the sidecar that is measured and not this machine's two programs."""
KEYS = 5
ATTEMPTS = 3
"""A machine that others use too may spoil one."""
SECONDS = 4.0
ENOUGH = 60
"""Answers to one key beside another one's flood."""
PATIENCE = 30.0


def request(secret: str) -> bytes:
    return f"GET /v1/delay-{HUB_SECONDS * 1000:.0f} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\n\r\n".encode()


def p99(durations: list[float]) -> float:
    return sorted(durations)[int(len(durations) * 0.99)]


def durations(told: list[Told], status: int) -> list[float]:
    return [one.received - one.sent for one in told if one.status == status]


async def load(sidecar: Sidecar, secrets: list[str], connections: int, seconds: float) -> list[list[Told]]:
    """What each key was told while it asked over `connections` for `seconds`."""
    end = time.monotonic() + seconds
    loads = (
        hammer([sidecar.url], request(secret), connections=connections, pause=PAUSE, stop=lambda _: time.monotonic() > end)
        for secret in secrets
    )
    return await asyncio.gather(*loads)


class Flood:
    """What an idle sidecar, and then one with three times its load, told."""

    def __init__(self, calm: list[float], told: list[list[Told]]) -> None:
        self.calm = p99(calm)
        self.statuses = Counter(one.status for of_key in told for one in of_key)
        self.admitted = p99([duration for of_key in told for duration in durations(of_key, 200)])
        self.refused = p99([duration for of_key in told for duration in durations(of_key, 503)])
        self.shares = [len(durations(of_key, 200)) for of_key in told]

    def is_orderly(self) -> bool:
        """Whether the places were in use, not given up, every key had its share of them, and nobody waited for what another one had."""
        is_shared = sum(self.shares) > 0.25 * PLACES * SECONDS / HUB_SECONDS and min(self.shares) > 0.3 * max(self.shares)
        return is_shared and self.admitted < 3 * self.calm and self.refused < 0.1

    def __str__(self) -> str:
        milliseconds = ", ".join(f"{name} {getattr(self, name) * 1e3:.0f} ms" for name in ("calm", "admitted", "refused"))
        return f"p99: {milliseconds}; by key {self.shares}"


async def test_three_times_the_load_that_fits(tmp_path: Path) -> None:
    with raw_hub_process(tmp_path) as hub:
        bounds = {"proxy__bounds__requests": str(PLACES), "hub__profile": "generic"}
        with Sidecar(tmp_path, hub.url, "hub-key", **bounds) as sidecar:
            secrets = [sidecar.create_key()[1] for _ in range(KEYS)]
            for _ in range(ATTEMPTS):
                calm = durations((await load(sidecar, secrets[:1], 1, 4.0))[0], 200)
                flood = Flood(calm, await load(sidecar, secrets, 3 * PLACES // KEYS, SECONDS))
                over = time.monotonic()
                print(flood)
                assert set(flood.statuses) == {200, 503}
                while {one.status for one in (await load(sidecar, secrets[:1], 5, 0.3))[0]} != {200}:
                    assert time.monotonic() - over < PATIENCE, "capacity did not come back"
                if flood.is_orderly():
                    return
            raise AssertionError(f"in no attempt: {flood}")


async def test_one_keys_flood_is_nothing_to_another(tmp_path: Path) -> None:
    with raw_hub_process(tmp_path) as hub:
        bounds = {"proxy__bounds__requests": str(PLACES), "hub__profile": "generic"}
        with Sidecar(tmp_path, hub.url, "hub-key", **bounds) as sidecar:
            flood, calm = (sidecar.create_key()[1] for _ in range(2))
            calm_is_served = False

            def is_enough(told: list[Told]) -> bool:
                nonlocal calm_is_served
                calm_is_served = calm_is_served or len(told) >= ENOUGH
                return calm_is_served

            flooded, told = await asyncio.gather(
                hammer([sidecar.url], request(flood), connections=3 * PLACES, pause=PAUSE, stop=lambda _: calm_is_served),
                hammer([sidecar.url], request(calm), connections=5, pause=PAUSE, stop=is_enough),
            )
            assert 503 in {one.status for one in flooded}
            assert {one.status for one in told} == {200}
