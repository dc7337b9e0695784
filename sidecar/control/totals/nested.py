"""Sums in the form in which the store adds them: maps and lists of numbers, nested at will.

`add` here and the function of that name in store/lua/ledger.lua do the same, so what this process
holds and what the store holds stay equal.
"""

from __future__ import annotations

from operator import add as plus
from typing import Any, TypeAlias

import msgspec

Nested: TypeAlias = "dict[str, Any]"
"""str → number, list of numbers, or Nested."""

packed = msgspec.msgpack.Encoder().encode
"""As the store keeps sums."""


def add(into: Nested, delta: Nested) -> None:
    """Add every number of `delta` to its place in `into`; lists grow to the longer one."""
    for name, value in delta.items():
        mine = into.get(name)
        if type(value) is dict:
            if mine is None:
                mine = into[name] = {}
            add(mine, value)
        elif type(value) is list:
            if mine is None:
                into[name] = value[:]
            else:
                add_list(mine, value)
        else:
            into[name] = value if mine is None else mine + value


def add_list(into: list[Any], delta: list[Any]) -> None:
    """Add `delta` to `into` place by place."""
    if len(into) < len(delta):
        into.extend([0] * (len(delta) - len(into)))
    # `map` ends with the shorter one.
    into[: len(delta)] = map(plus, into, delta)
