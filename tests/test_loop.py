from __future__ import annotations

import asyncio
import importlib.util

import pytest

from sidecar import loop


async def name() -> str:
    return type(asyncio.get_running_loop()).__module__


def test_it_is_the_fast_one_where_that_is_installed() -> None:
    assert loop.run(name()) == ("uvloop" if importlib.util.find_spec("uvloop") else "asyncio.unix_events")


def test_without_it_the_standard_one_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert loop.run(name()).startswith("asyncio")
