"""What is declared of an answer says what is kept of a large one."""

from __future__ import annotations

from typing import Any

import msgspec

from sidecar.hubs.usage.documents import Counts, _members


class Inner(msgspec.Struct):
    deep: Any = None


class Wider(msgspec.Struct):
    wide: Any = None
    below: Inner | None = None


class One(msgspec.Struct):
    usage: Counts | None = None
    pictures: list[msgspec.Raw] | None = None
    bare: list[Any] = []
    nested: Inner | None = None
    whole: Any = None


class Other(msgspec.Struct):
    nested: Wider
    named: Any = msgspec.field(default=None, name="asHubsSay")


def test_lists_are_counted_and_objects_gone_into() -> None:
    assert _members([One, Other]) == {
        # Figures are judged one by one where they are read, so that their object stays whole; nothing else is one.
        "usage": "object",
        "pictures": "count",
        "bare": "count",
        # Kinds that name a member alike keep what either of them reads in it.
        "nested": {"deep": "keep", "wide": "keep", "below": {"deep": "keep"}},
        "whole": "keep",
        "asHubsSay": "keep",
    }
