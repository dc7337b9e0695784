"""What can still be told of an event that this version cannot read. Pure.

A newer version knows outcomes that this one does not, and a store can hold anything. Were such an entry an error,
it would hide every event around it and hold up the journal for as long as it lies within the newest. So an event
stands in its place. That is for people to look at: the chain is checked over what was stored, never over this.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, get_type_hints

import msgspec

from sidecar.control.audit.event import Event, Party
from sidecar.store.stored import members_of

ACTION = "unreadable"
"""Of an event of which not even the action can be told."""

_SAID = "this event cannot be read in full by this version of the sidecar"
_MEMBERS = get_type_hints(Event, include_extras=True)
_MISSING: dict[str, Any] = {
    "id": "",
    "time": datetime.fromtimestamp(0, UTC),
    "action": ACTION,
    "outcome": "unknown",
    "actor": Party("unknown", ""),
}


def stand_in(data: bytes, sequence: int) -> Event:
    """An event as number `sequence` with every member of `data` that can be read by itself; its reason says what it is.

    Without a readable time it is of the year 1970, without a readable outcome of outcome `unknown`.
    """
    members = members_of(data)
    readable: dict[str, Any] = {}
    for name, kind in _MEMBERS.items():
        if name in members:
            with suppress(msgspec.ValidationError):
                readable[name] = msgspec.convert(members[name], kind)
    reason = readable.get("reason")
    readable |= {"sequence": sequence, "reason": f"{_SAID}: {reason}" if reason else _SAID}
    return Event(**(_MISSING | readable))
