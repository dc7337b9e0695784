"""Who is told, as the outbox names them, and what proves that a message there was written by a sidecar of this fleet. Pure.

The outbox is in the store. A receiver's URL may be a secret and does not get there; and what is signed with
`notifications.webhook_secret` must be nobody's text but the sidecar's, whoever can write to the store.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from sidecar.keys.digest import Pepper, digest


class Receivers:
    """The configured ones. What was queued under the `previous` pepper is still known."""

    def __init__(self, urls: Iterable[str], pepper: Pepper, previous: Pepper | None = None) -> None:
        self._peppers = (pepper,) if previous is None else (pepper, previous)
        urls = tuple(urls)
        self.names = tuple(_name(url, pepper) for url in urls)
        """What new messages name them, in the order of their URLs."""
        self._urls = {_name(url, each): url for each in self._peppers for url in urls}

    def url(self, name: str) -> str | None:
        """The URL of a receiver; None when none is configured that has this name."""
        return self._urls.get(name)

    def seal(self, text: bytes) -> bytes:
        """What proves that a sidecar wrote `text`."""
        return _seal(text, self._peppers[0])

    def vouch(self, text: bytes, seal: bytes) -> bool:
        """Whether a sidecar that has one of our peppers sealed `text` so."""
        return any(hmac.compare_digest(seal, _seal(text, pepper)) for pepper in self._peppers)


# No token has a blank, and the two begin differently: nothing that is stored for one purpose serves another.


def _name(url: str, pepper: Pepper) -> str:
    return digest(b"receiver " + url.encode(), pepper)


def _seal(text: bytes, pepper: Pepper) -> bytes:
    return digest(b"notification " + text, pepper).encode()
