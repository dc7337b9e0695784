"""The control process's share of a request: a stretch of events from the spool into a store that only says yes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from sidecar.control.folding.fold import Fold
from sidecar.control.folding.ledger import LANES, Ledger
from sidecar.control.folding.spools import Spools
from sidecar.control.folding.work import Planner
from sidecar.control.metrics.counts import Counter
from sidecar.control.metrics.key_use import KeyUse
from sidecar.control.metrics.keys import LabelledKeys
from sidecar.control.metrics.state import Counts
from sidecar.control.networks import Networks, network_of
from sidecar.control.totals.series import Retention, SeriesBuilder
from sidecar.events.record import Request, Tokens
from sidecar.events.spool import SpoolWriter
from sidecar.events.wire import encode

EVENTS = 500
NOON = 1_800_000_000.0
DAY = 86_400


class Agreeing:
    """A store in which every script does what it should."""

    async def run_many(self, calls: Sequence[tuple[Any, Sequence[str], Sequence[Any]]]) -> list[Any]:
        """As the store's."""
        return [[1, args[2]] if script.name == "ledger" else [[], []] for script, _, args in calls]


class Folding:
    """A fold over one spool."""

    def __init__(self, directory: Path) -> None:
        keys = LabelledKeys(2000)
        self._spool = SpoolWriter(directory, segment_bytes=1 << 30, max_bytes=1 << 31)
        self._fold = Fold(
            Spools(directory),
            Ledger(cast(Any, Agreeing()), "instance"),
            counter=Counter(keys.label),
            counts=Counts(),
            planner=Planner(SeriesBuilder(Retention(14 * DAY, 400 * DAY)), network=network_of, active_for=400 * DAY),
            guard=_allow,
            claim=_allow,
            observers=[KeyUse(keys, Networks())],
        )

    async def fold(self, keys: int) -> bytes:
        """Fold a stretch of EVENTS events of `keys` keys."""
        for number in range(EVENTS):
            self._spool.append(encode(_event(number, f"key_{number % keys:016}")))
        if not self._fold.restored.is_set():
            await self._fold.restore()
        folded = self._fold.count()
        assert folded == EVENTS, folded
        for lane in LANES:
            await self._fold.apply(lane)
        return b""

    def close(self) -> None:
        """Let go of the spool."""
        self._spool.close()


def _event(number: int, key_id: str) -> Request:
    return Request(
        NOON + number / EVENTS, f"req_{number:020}", key_id, "sec_0123456789abcdef", "ok", "", 200, 200, "POST", "chat-completions",
        "/api/v2/chat/completions", "openai/gpt-5-mini", "openai/gpt-5-mini", "192.0.2.7", "benchmark/1", False, "complete", 0.01,
        0.0001, 0.0, 0.01, 0.009, 80, 400, Tokens(9, 12), "hub", secret_state="current",
    )  # fmt: skip


async def _allow() -> None:
    return
