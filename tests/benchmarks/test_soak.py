"""A soak judges what its faults have left, and nothing that is still under way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.soak import verdict
from benchmarks.soak.faults import Faults
from tests.support.raw_hub import RawHubProcess, raw_hub_process
from tests.support.sidecar import Sidecar


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RawHubProcess]:
    with raw_hub_process(tmp_path) as hub:
        yield hub


async def test_no_fault_begins_once_it_is_to_be_calm(hub: RawHubProcess, tmp_path: Path) -> None:
    faults = Faults(Sidecar(tmp_path, hub.url, ""), hub, random.Random(1), pause=0.01)
    calm = asyncio.Event()
    running = asyncio.create_task(faults.run(calm))
    await asyncio.sleep(0)
    calm.set()
    await running
    assert not faults.done


def test_an_answer_that_does_not_come_is_waited_for() -> None:
    answers = iter([ConnectionRefusedError(), []])

    def look() -> list[str]:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert verdict._until_empty(look) == []
