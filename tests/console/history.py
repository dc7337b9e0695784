"""Weeks of use for a sidecar that has just started: events in its spool, as a worker would have written them."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from sidecar.control.console.spans import DAY, HOUR
from sidecar.events.record import Request, Tokens
from sidecar.events.spool import SpoolWriter
from sidecar.events.wire import encode
from tests.support.sidecar import Sidecar, wait_until

DAYS = 35
MODELS = (("openai/gpt-5-mini", 9), ("anthropic/claude-sonnet-4", 5), ("google/gemini-2.5-pro", 3), ("openai/text-embedding-3-small", 2))
ENDS = (
    ("ok", "", 200, 93),
    ("hub_error", "5xx", 502, 2),
    ("rate_limited", "rate_limit_exceeded", 429, 3),
    ("denied", "model_not_allowed", 403, 2),
)
AGENTS = ("openai-python/1.55", "OpenAI/JS 6.49", "aigne-hub-client/0.10")
CALLS_A_DAY = 24


def history(sidecar: Sidecar, keys: list[tuple[str, str]]) -> None:
    """The days before today, of (key id, secret id), the first key busiest; returns when all of it can be seen."""
    writer = SpoolWriter(sidecar.data_dir / "spool", segment_bytes=4 << 20, max_bytes=1 << 30)
    count = sum(writer.append(encode(event)) for event in _events(keys, random.Random(4)))
    wait_until(lambda: _requests(sidecar) >= count, within=30, what="the history")


def _requests(sidecar: Sidecar) -> int:
    return int(sidecar.admin("GET", "/usage?step=1d").json["totals"]["requests"])


def _events(keys: list[tuple[str, str]], chance: random.Random) -> Iterator[Request]:
    today = time.time() // DAY * DAY
    for day in range(DAYS, -1, -1):
        begins = today - day * DAY
        weekend = time.gmtime(begins).tm_wday >= 5
        made = []
        for place, key in enumerate(keys):
            calls = int(CALLS_A_DAY * chance.uniform(0.7, 1.3) * (0.3 if weekend else 1.0) * (1.6 - day / DAYS) / (1 + place))
            # Around two in the afternoon, and never later than an hour ago.
            times = [begins + min(max(chance.gauss(14, 3.5), 0.0), 23.9) * HOUR for _ in range(calls)]
            made += [(moment, place, key) for moment in times if moment < time.time() - HOUR]
        for moment, place, key in sorted(made):
            yield _event(moment, place, key, chance)


def _event(moment: float, place: int, key: tuple[str, str], chance: random.Random) -> Request:
    outcome, reason, status, _ = chance.choices(ENDS, [weight for *_, weight in ENDS])[0]
    (model, _) = chance.choices(MODELS, [weight for _, weight in MODELS])[0]
    embedding = "embedding" in model
    served = status in (200, 502)
    total = 0.05 + chance.expovariate(8) if embedding else 0.4 + chance.expovariate(0.6)
    used = Tokens(chance.randrange(40, 3000), 0 if embedding else chance.randrange(20, 900), credits=chance.random() / 20)
    return Request(
        time=moment, request_id=f"req_{chance.getrandbits(96):024x}", key_id=key[0], secret_id=key[1], outcome=outcome, reason=reason,
        status=status, hub_status=status if served else 0, method="POST", route="embeddings" if embedding else "chat", path="/api/v2/chat",
        model=model, model_served=model if served else "", client=f"198.51.100.{10 + place}", agent=AGENTS[place % len(AGENTS)],
        streaming=False, ending="complete", total=total, auth=0.0001, queue=0.0, first_byte=total / 3, hub_time=total * 0.98,
        bytes_in=chance.randrange(300, 9000), bytes_out=chance.randrange(300, 5000), tokens=used if outcome == "ok" else Tokens(),
        usage_source="hub" if outcome == "ok" else "none", secret_state="current",
    )  # fmt: skip
