"""Fills a running sidecar as a month of many applications would: keys through its store, traffic through its spool."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sidecar.control.audit import AuditLog, Journal, Party, draft
from sidecar.control.audit.event import GENESIS, seal
from sidecar.control.audit.log import appending
from sidecar.control.console.spans import DAY, HOUR
from sidecar.events.record import Request, Tokens
from sidecar.events.spool import SpoolWriter
from sidecar.events.wire import encode
from sidecar.keys.record import Key
from sidecar.keys.repository import KeyRepository
from sidecar.keys.setup import prepare
from sidecar.settings import Settings
from sidecar.settings.declaration import Keys, Store
from sidecar.settings.values import StoreUrl
from sidecar.store.client import connect

AT_A_TIME = 64
MODELS = [f"{provider}/model-{size}" for provider in ("openai", "anthropic", "google", "meta") for size in ("mini", "small", "large")]
ROUTES = ("chat", "chat_completions", "embeddings", "image")
ENDS = (("ok", "", 200), ("hub_error", "5xx", 502), ("rate_limited", "rate_limit_exceeded", 429), ("denied", "ip_not_allowed", 403))
OPERATOR = Party("admin_token", "adm_benchmark", "benchmark")
AGENTS = ("OpenAI/Python 1.55", "OpenAI/JS 6.49", "curl/8.5", "AIGNE/0.10")


@dataclass(frozen=True)
class Size:
    """How much there is: keys in all, keys that are used on a day, hours of the day in which each is used, calls in such an hour."""

    keys: int
    days: int
    active: int
    hours: int
    calls: int


async def fill_keys(data_dir: Path, store_url: str, count: int) -> list[tuple[str, str]]:
    """Create the keys; (key id, secret id) of each, oldest first."""
    settings = Settings(data_dir=str(data_dir), keys=Keys(pepper_file=str(data_dir / "pepper")), store=Store(url=StoreUrl.parse(store_url)))
    made = prepare(settings)
    store = await connect(settings.store, data_dir, timeout=30.0)
    await made.adoption.establish(store)
    repository = KeyRepository(store, made.adoption, made.digester)
    created: list[tuple[str, str]] = []
    try:
        for first in range(0, count, AT_A_TIME):
            shapes = [_shape(number) for number in range(first, min(first + AT_A_TIME, count))]
            issued = await asyncio.gather(*(repository.create(shape) for shape in shapes))
            created += [(one.key.id, one.key.secrets[0].id) for one in issued]
    finally:
        await store.close()
    return created


async def fill_audit_log(data_dir: Path, store_url: str, keys: list[tuple[str, str]]) -> None:
    """Record the creation of each key, as the admin API would have."""
    settings = Settings(data_dir=str(data_dir), store=Store(url=StoreUrl.parse(store_url)))
    store = await connect(settings.store, data_dir, timeout=30.0)
    audit = AuditLog(store, Journal(data_dir / "audit"))
    head = await audit.head()
    try:
        for first in range(0, len(keys), AT_A_TIME):
            calls = []
            for key_id, _ in keys[first : first + AT_A_TIME]:
                event = draft("api_key.created", OPERATOR, now=time.time(), target=Party("api_key", key_id, "application"))
                data, hash_ = seal(event, head[0] + 1, head[1] or GENESIS)
                calls.append(appending(head, event, data, hash_))
                head = head[0] + 1, hash_
            if any(await store.run_many(calls)):
                raise RuntimeError("somebody else has written to the audit log")
    finally:
        await store.close()


def _shape(number: int) -> Key:
    expires = time.time() + DAY * (1 + number % 300) if number % 3 == 0 else None
    return Key(id="", name=f"application {number:06}", owner=f"team {number % 400:03}", created_at=0.0, expires_at=expires)


def write_traffic(spool: Path, keys: list[tuple[str, str]], size: Size, seed: int = 1) -> int:
    """Write the events of `size.days` days, oldest first, as a worker would have; how many there are."""
    writer = SpoolWriter(spool, segment_bytes=16 << 20, max_bytes=8 << 30)
    count = 0
    for event in _events(keys, size, random.Random(seed)):
        if not writer.append(encode(event)):
            raise RuntimeError("the spool takes no more")
        count += 1
    return count


def _events(keys: list[tuple[str, str]], size: Size, chance: random.Random) -> Iterator[Request]:
    now = time.time()
    for day in range(size.days, 0, -1):
        # Few keys are used much: the square makes the first ones far more likely.
        active = {keys[int(len(keys) * chance.random() ** 2)] for _ in range(size.active)}
        moments = sorted((chance.randrange(24), key) for key in active for _ in range(size.hours))
        for hour, key in moments:
            first = now - day * DAY + hour * HOUR + chance.random() * HOUR
            for call in range(size.calls):
                yield _event(key, min(first + call, now - 1), chance)


def _event(key: tuple[str, str], time_: float, chance: random.Random) -> Request:
    outcome, reason, status = ENDS[0] if chance.random() < 0.93 else chance.choice(ENDS[1:])
    model = chance.choice(MODELS)
    total = 0.2 + chance.expovariate(1)
    return Request(
        time=time_, request_id=f"req_{chance.getrandbits(96):024x}", key_id=key[0], secret_id=key[1], outcome=outcome, reason=reason,
        status=status, hub_status=status if status in (200, 502) else 0, method="POST", route=chance.choice(ROUTES), path="/api/v2/chat",
        model=model, model_served=model, client=f"198.51.100.{chance.randrange(250)}", agent=chance.choice(AGENTS), streaming=False,
        ending="complete", total=total, auth=0.0001, queue=0.0, first_byte=total / 2, hub_time=total * 0.9, bytes_in=400, bytes_out=1500,
        tokens=Tokens(chance.randrange(2000), chance.randrange(800), credits=chance.random() / 10), usage_source="hub",
        secret_state="current",
    )  # fmt: skip
