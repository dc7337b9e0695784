"""What the line answers, before it is worded for a proxy."""

from __future__ import annotations

from typing import NamedTuple


class Granted(NamedTuple):
    """The proxy may forward. Fields are header lines, each with its end."""

    injected: bytes
    """What the hub gets from us, in place of anything of that name."""
    passed: list[bytes]
    """What the hub gets from the client."""
    dropped: bytes
    """Names of the client's fields that must not reach the hub, with commas between."""
    target: bytes
    """What the hub is asked for."""
    client: bytes
    """What the client's answer gets, beside the next."""
    request_id: bytes
    """What the request is called, as a field; empty where `injected` says so already."""


class Denied(NamedTuple):
    """The client gets `answer`, a whole HTTP/1.1 message, instead of the hub's."""

    status: int
    answer: bytes


Verdict = Granted | Denied
