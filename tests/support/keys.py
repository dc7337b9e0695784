"""Keys on a real store, put together as the processes do it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from sidecar.keys.adoption import Adoption
from sidecar.keys.digest import Digester, Pepper
from sidecar.keys.record import Key
from sidecar.keys.repository import KeyRepository
from sidecar.store.client import Store

PEPPER = Pepper.of(b"p" * 32)
OLDER_PEPPER = Pepper.of(b"o" * 32)


class Clock:
    """Time that stands still until it is told otherwise."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class Keys:
    """Everything that a test of keys needs."""

    store: Store
    adoption: Adoption
    digester: Digester
    repository: KeyRepository
    clock: Clock


async def open_keys(
    store: Store,
    data_dir: Path,
    *,
    pepper: Pepper = PEPPER,
    previous: Pepper | None = None,
    accept_imported: bool = False,
    prefix: str = "ahk",
) -> Keys:
    """A repository on `store`, which is adopted."""
    adoption = Adoption(data_dir / "store-epoch", pepper, previous)
    await adoption.establish(store)
    digester = Digester(prefix, pepper, previous, accept_imported)
    clock = Clock()
    return Keys(store, adoption, digester, KeyRepository(store, adoption, digester, clock=clock), clock)


def shape(name: str = "app", **fields: Any) -> Key:
    """A key as `create` wants it."""
    return Key(id="", name=name, created_at=0.0, **fields)


def change(**fields: Any) -> Callable[[Key], Key]:
    """A change for `update`."""

    def apply(key: Key) -> Key:
        return replace(key, **fields)

    return apply
