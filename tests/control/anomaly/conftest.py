"""The detection on a real store, with time that tests set, and a receiver of webhooks."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from msgspec.structs import replace

from sidecar.control.anomaly.compose import Detection, compose
from sidecar.control.anomaly.detectors.second import Second
from sidecar.control.anomaly.detectors.signals import DAY
from sidecar.control.audit import AuditLog, Journal
from sidecar.keys.digest import Pepper
from sidecar.keys.record import Key
from sidecar.settings.declaration import Anomaly, Log, Notifications, OnAnomaly, Settings
from sidecar.settings.values import Secret, WebhookUrl
from sidecar.store.client import Store
from tests.control.anomaly.life import AWAY, BORN, served
from tests.support.keys import Keys, open_keys, shape

SECRET = "whsec_c2VjcmV0"


@dataclass
class Receiver:
    """Notes what was posted; answers with `status`."""

    url: str = ""
    status: int = 200
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    async def post(self, request: web.Request) -> web.Response:
        self.headers.append(dict(request.headers))
        self.bodies.append(await request.json())
        return web.Response(status=self.status)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A webhook receiver on loopback."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.post)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield receiver
    await runner.cleanup()


class Bench:
    """Detections that start and stop on one store; one key that has been in use for two weeks."""

    def __init__(self, store: Store, keys: Keys, data_dir: Path, url: str) -> None:
        self.store = store
        self.keys = keys
        self.data_dir = data_dir
        self.audit = AuditLog(store, Journal(data_dir / "journal"), keys.clock)
        self.settings = Settings(
            data_dir=str(data_dir), notifications=Notifications(webhooks=(WebhookUrl(url),), webhook_secret=Secret(SECRET)), log=Log()
        )
        self.key: Key
        self.detection: Detection

    @property
    def now(self) -> int:
        return int(self.keys.clock.now)

    def start(self, instance: str = "one", **anomaly: Any) -> Detection:
        """A detection as after a (re)start."""

        async def guard() -> None:
            self.keys.adoption.check((await self.store.pipeline([self.keys.adoption.question]))[0])

        self.settings = replace(self.settings, anomaly=Anomaly(**anomaly))
        self.detection = compose(
            self.settings,
            self.store,
            self.keys.repository,
            self.audit,
            instance=instance,
            digester=self.keys.digester,
            in_flight=dict,
            guard=guard,
            clock=self.keys.clock,
        )
        return self.detection

    async def change_pepper(self, pepper: Pepper, previous: Pepper | None = None, **anomaly: Any) -> None:
        """A restart with another pepper, as the page on operations has it."""
        await self.detection.engine.finish()
        keys = await open_keys(self.store, self.data_dir, pepper=pepper, previous=previous)
        keys.clock.now = self.keys.clock.now
        self.keys = keys
        self.start(**anomaly)

    async def create(self, on_anomaly: OnAnomaly | None) -> None:
        """The key, and its two weeks."""
        self.key = (await self.keys.repository.create(shape("billing", on_anomaly=on_anomaly))).key
        sums = self.detection.engine.observer.sums
        for time in range(BORN + 600, BORN + 15 * DAY, 600):
            sums.add(served(time, 10, key=self.key.id))
            if not time % DAY:
                # What is learnt is the same however often it is looked at, and a look is what takes time here.
                await self._look(time)
        await self._look(time)

    async def see(self, *seconds: Second) -> None:
        """Traffic, and a look at it ten seconds later."""
        for second in seconds:
            self.detection.engine.observer.sums.add(second)
            await self._look(second.time)

    async def _look(self, time: int) -> None:
        self.keys.clock.now = time + 10
        await self.detection.engine.tick(self.keys.clock.now)

    async def theft(self, requests: int = 6) -> None:
        """A stranger uses the key."""
        for _ in range(requests):
            await self.see(served(self.now + 1, 4, client=AWAY, agent="curl/8", key=self.key.id))

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """No act can be put on record."""

        def full(event: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(self.audit._journal, "write", full)
            yield

    async def deliver(self) -> None:
        """One round of deliveries."""
        async with aiohttp.ClientSession() as session:
            await self.detection.delivery.deliver_due(session)

    async def read_key(self) -> Key:
        """The key as it is stored."""
        key = await self.keys.repository.get(self.key.id)
        assert key is not None
        return key

    async def documents(self, **query: Any) -> list[dict[str, Any]]:
        """The list of anomalies."""
        wanted: dict[str, Any] = {"key_id": None, "state": None, "level": None, "limit": 100, "cursor": ""}
        return (await self.detection.queries.anomalies(**(wanted | query))).documents


@pytest.fixture
async def bench(store: Store, tmp_path: Path, receiver: Receiver) -> Bench:
    """A detection whose key says nothing about anomalies."""
    keys = await open_keys(store, tmp_path)
    keys.clock.now = BORN
    bench = Bench(store, keys, tmp_path, receiver.url)
    bench.start()
    return bench
