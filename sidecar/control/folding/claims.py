"""Whose spools the positions in the store are: what nobody has claimed for a month is dropped.

A position may go when nobody can read its spool again, or what lies there would be counted a second time. So each
replica claims its spools: before anything of them is applied, and then every hour. Claims age in turns, which go on only
while some replica works on the store: neither a store that was away for weeks nor anybody's clock makes one old. A
replica that was away for as long itself finds that out by the turn which it has noted on its own disk.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from sidecar.control.folding.ledger import Ledger
from sidecar.control.folding.spools import Spools
from sidecar.events.spool import Segment, segments
from sidecar.keys.secret_file import replace_private
from sidecar.store import names
from sidecar.store.client import Store, StoreUnavailable
from sidecar.store.script import load

FILE = "claims"
CLAIM_EVERY = 3600.0
"""Seconds between two claims of a spool."""
TURN = 3000
"""Seconds, a little less than between two claims, so that a replica which is alone begins one with each."""
KEPT_TURNS = 30 * 86_400 // TURN
"""Turns without a claim after which a spool's positions are dropped."""
SURE_TURNS = KEPT_TURNS - 86_400 // TURN
"""Whoever was away for less has lost no position, even where a store that fell back has lost its latest claims."""
AT_ONCE = 500
"""Spools in one command: the store serves nobody else meanwhile."""

_TURN = load("spool_turn")
_TAKE = load("spool_take")

_log = logging.getLogger(__name__)


class _Note(msgspec.Struct, array_like=True):
    """What is kept on disk: the turn of the latest claim, and which spools it was for."""

    turn: int
    spools: list[str]


class Claims:
    """One replica's claims. `check` raises StoreUnavailable while the store must not be written; `clock` counts seconds."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        spools: Spools,
        directory: Path,
        check: Callable[[], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._spools = spools
        self._directory = directory
        self.check = check
        self._clock = clock
        note = _read(directory / FILE)
        self._turn = note.turn if note is not None else None
        self._mine = set(note.spools if note is not None else ())
        self._due_at = float("-inf")
        self._began_turn = False
        self._totals: dict[str, int] = {}
        """What the positions of each spool added up to when they were last looked at."""

    async def guard(self) -> None:
        """To be awaited before positions are read, which also a full store tells: claims if it can. Raises StoreUnavailable."""
        await self.check()
        with suppress(StoreUnavailable):
            await self.claim()

    async def claim(self) -> None:
        """To be awaited before positions are moved: sees to it that all spools here are claimed. Raises StoreUnavailable."""
        if self._clock() >= self._due_at or not self._mine.issuperset(self._spools.ids):
            await self._claim_all()

    def gone(self) -> set[str]:
        """Spools that were claimed from here and have no file any more, whichever process of this replica deleted it. Raises OSError."""
        missing = self._mine.difference(self._spools.ids)
        # What was scanned last may be old, or nothing yet.
        return missing - self._on_disk().keys() if missing else missing

    async def release(self, spool_ids: Collection[str]) -> None:
        """Take back the claims of spools whose positions are dropped; raises StoreUnavailable."""
        await self._store.call("ZREM", names.SPOOL_CLAIMS, *spool_ids)
        self._mine.difference_update(spool_ids)
        self._note()

    async def drop_lost(self) -> None:
        """Drop the positions of spools that nobody claims any more; does something once in a turn. Raises StoreUnavailable."""
        if not self._began_turn or self._turn is None:
            return
        await self.check()
        if int(await self._store.call("HGET", names.SPOOL_TURN, "number") or 0) != self._turn:
            # Another store than the claim was made on, whose claims may all be old by that turn; or others have begun the next one.
            self._began_turn = False
            return
        totals: Counter[str] = Counter()
        for shard in await self._ledger.positions():
            for field, offset in shard.items():
                totals[field.partition(":")[0]] += offset
        # A replica of an older version claims nothing; a spool of it that is read shows by that.
        moved = [spool_id for spool_id, total in totals.items() if self._totals.get(spool_id, total) != total]
        await self._put(moved, self._turn)
        await self._put(totals, self._turn, "NX")
        self._totals = dict(totals)
        while lost := await self._store.run(_TAKE, [names.SPOOL_CLAIMS], [self._turn - KEPT_TURNS, AT_ONCE]):
            await self._ledger.forget([spool_id.decode() for spool_id in lost])
            _log.info("dropped the positions of %d spools that no replica has claimed for a month", len(lost))
        self._began_turn = False

    async def _claim_all(self) -> None:
        turn, began = await self._store.run(_TURN, [names.SPOOL_TURN], [TURN])
        on_disk = self._on_disk()
        if self._turn is not None and turn - self._turn >= SURE_TURNS:
            await self._pass_over(_ends([segment for spool_id in self._mine & on_disk.keys() for segment in on_disk[spool_id]]))
        mine = {*self._mine, *on_disk, *self._spools.ids}
        await self._put(mine, turn)
        self._turn, self._mine = turn, mine
        self._began_turn = self._began_turn or began == 1
        self._note()
        self._due_at = self._clock() + CLAIM_EVERY

    async def _pass_over(self, ends: dict[str, int]) -> None:
        # Nearly all of it is counted. Up to where, the store may have dropped by now: read once more, it would be counted twice.
        if ends:
            await self._ledger.pass_over(ends)
            _log.warning("this replica was away for a month: what its spools (%d) of that time still hold is taken for counted", len(ends))

    async def _put(self, spool_ids: Iterable[str], turn: int, *options: str) -> None:
        ids = sorted(spool_ids)
        for start in range(0, len(ids), AT_ONCE):
            pairs = [part for spool_id in ids[start : start + AT_ONCE] for part in (turn, spool_id)]
            await self._store.call("ZADD", names.SPOOL_CLAIMS, *options, *pairs)

    def _on_disk(self) -> dict[str, list[Segment]]:
        """The spools that have a file, which need not be one that can be read. Raises OSError."""
        found: dict[str, list[Segment]] = {}
        for segment in segments(self._directory):
            found.setdefault(segment.spool_id, []).append(segment)
        return found

    def _note(self) -> None:
        note = _Note(self._turn or 0, sorted(self._mine))
        try:
            replace_private(self._directory / FILE, msgspec.json.encode(note).decode() + "\n")
        except OSError as error:
            # Use is counted all the same: the note matters only after a month away.
            _log.warning("%s cannot be written: %s", FILE, error.strerror)


def _ends(found: list[Segment]) -> dict[str, int]:
    """The offset after the last byte of each spool, whose segments come in order. Raises OSError."""
    ends = {}
    for segment in found:
        with suppress(FileNotFoundError):
            ends[segment.spool_id] = segment.base + segment.path.stat().st_size
    return ends


def _read(path: Path) -> _Note | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Note)
    except (FileNotFoundError, UnicodeDecodeError, msgspec.DecodeError):
        return None
