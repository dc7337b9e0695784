"""One of all replicas on a store detects for all: who it is, and how the others' traffic gets there.

The seat is held for some seconds and renewed at every look. Whoever does not hold it sends what its workers
saw, summed by key and second, to an inbox in the store; whoever holds it takes that in as its own. What is
on its way when a holder dies is lost to detection, as are its last seconds; nothing else rests on it. What
people say of an anomaly to one that does not hold the seat is in the store, and only word of it goes this way.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import msgspec

from sidecar.control.anomaly.detectors.second import Second
from sidecar.control.anomaly.parcels import Parcels
from sidecar.store import names
from sidecar.store.client import Store, StoreUnavailable
from sidecar.store.script import load

SHARED = "all"
"""The name under which all replicas keep memories: whoever takes the seat goes on with them."""
HELD_FOR = 10.0
"""Seconds for which the seat is held without being renewed."""
INBOX_AGE = 60
"""Seconds after which an inbox to which nobody adds is dropped."""
INBOX_LENGTH = 2000
"""Parts of the traffic that wait in the inbox; the oldest are dropped for more."""
AT_ONCE = 200
"""Sums of a key and second in one part, and parts that are taken in one trip."""
TOLD_EVERY = 60.0
"""Seconds between two log lines about traffic that was dropped."""

_log = logging.getLogger(__name__)
_HOLD = load("hold_seat")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Second])
_told_decoder = msgspec.msgpack.Decoder(list[str])


class Replicas:
    """One replica among all. Everything raises StoreUnavailable."""

    def __init__(self, store: Store, name: str, parcels: Parcels | None = None) -> None:
        """`name` is this replica's own, and the same after a restart; `parcels` are what traffic goes in, in the clear by default."""
        self._store = store
        self._name = name
        self._parcels = parcels or Parcels()
        self.leads = False
        """Whether this replica held the seat when it last asked."""
        self.was_away = False
        """Whether another one has held the seat between the last two times that this one asked, or holds it now."""
        self.told: list[str] = []
        """Ids of anomalies of which people said something elsewhere, as `receive` has found them; whoever looks takes them out."""
        self._turn = 0
        self._lost = 0
        """What of the traffic was dropped since the log said so, in parts of up to `AT_ONCE`."""
        self._tell_at = 0.0

    async def hold_seat(self) -> bool:
        """Take or keep the seat; whether it is ours."""
        self.leads = False
        turn = await self._ask(int(HELD_FOR * 1000))
        self.leads, self.was_away, self._turn = turn > 0, turn != self._turn or not turn, turn
        return self.leads

    async def leave(self) -> None:
        """Free the seat at once, for another to take."""
        if self.leads:
            self.leads = False
            await self._ask(1)

    async def _ask(self, milliseconds: int) -> int:
        return int(await self._store.run(_HOLD, [names.ANOMALY_SEAT, names.ANOMALY_TURN], [self._name, milliseconds]))

    async def send(self, seconds: Sequence[Second]) -> None:
        """Hand traffic to whoever holds the seat; when nobody takes it for long, the oldest is dropped."""
        await self._put([self._parcels.wrap(_encoder.encode(seconds[at : at + AT_ONCE])) for at in range(0, len(seconds), AT_ONCE)])

    async def tell(self, anomaly_id: str) -> None:
        """Let whoever holds the seat look at what the store says of an anomaly; an older version drops this."""
        await self._put([_encoder.encode([anomaly_id])])

    async def receive(self) -> list[Second]:
        """Take what the others have handed over, traffic and `told`; what a version that this one does not know has sent is dropped."""
        seconds: list[Second] = []
        # As many trips as empty a full inbox: what is left there is dropped when more comes, and no look may last for ever.
        for _ in range(INBOX_LENGTH // AT_ONCE):
            try:
                parts = await self._store.call("LPOP", names.ANOMALY_INBOX, AT_ONCE) or []
            except StoreUnavailable:
                if not seconds:
                    raise
                # What was taken is nowhere else; the rest is there at the next look.
                break
            for data in parts:
                try:
                    seconds += _decoder.decode(self._parcels.open(data))
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    self.told += _told(data)
            if len(parts) < AT_ONCE:
                break
        return seconds

    async def _put(self, parts: list[bytes]) -> None:
        if parts:
            commands = [("RPUSH", names.ANOMALY_INBOX, part) for part in parts]
            limits = [("LTRIM", names.ANOMALY_INBOX, -INBOX_LENGTH, -1), ("EXPIRE", names.ANOMALY_INBOX, INBOX_AGE)]
            replies = await self._store.pipeline([*commands, *limits])
            self._count_lost(max(0, replies[len(parts) - 1] - INBOX_LENGTH))

    def _count_lost(self, parts: int) -> None:
        self._lost += parts
        if self._lost and time.monotonic() >= self._tell_at:
            _log.warning(
                "%d parts of the traffic were dropped before anomalies were looked for in it: no replica took them in time",
                self._lost,
            )
            self._lost, self._tell_at = 0, time.monotonic() + TOLD_EVERY


def _told(data: bytes) -> list[str]:
    try:
        return _told_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return []
