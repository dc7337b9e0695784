"""Who goes with which trip, and who gets which reply."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.store.errors import StoreUnavailable
from sidecar.store.gathering import MOST_COMMANDS, MOST_TRIPS, Gathering
from sidecar.store.link import Command
from tests.support.store import until

NODE: Any = SimpleNamespace(name="a:1")
OTHER: Any = SimpleNamespace(name="b:1")


class Servers:
    """Reply to each command with what it says, once they may."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[Command]]] = []
        self.may = asyncio.Event()
        self.gathering = Gathering(self.send)

    async def send(self, node: Any, commands: Sequence[Command], _until: float) -> list[Any]:
        self.asked.append((node.name, list(commands)))
        await self.may.wait()
        return [command[0] for command in commands]

    def ask(self, *words: str, node: Any = NODE, within: float = 60.0) -> asyncio.Task[list[Any]]:
        until = asyncio.get_running_loop().time() + within
        return asyncio.create_task(self.gathering.ask(node, [(word,) for word in words], until))


@pytest.fixture
async def servers() -> Servers:
    return Servers()


async def test_what_is_asked_in_one_turn_behind_another_goes_with_one_trip(servers: Servers) -> None:
    asked = [servers.ask("1"), servers.ask("2", "3"), servers.ask("4", node=OTHER), servers.ask("5")]
    await until(lambda: len(servers.asked) == 3)
    servers.may.set()
    assert await asyncio.gather(*asked) == [["1"], ["2", "3"], ["4"], ["5"]]
    assert servers.asked == [("a:1", [("1",)]), ("b:1", [("4",)]), ("a:1", [("2",), ("3",), ("5",)])]


async def test_few_trips_are_under_way_at_once_and_the_next_one_takes_all_who_wait(servers: Servers) -> None:
    asked = []
    for number in range(2 * MOST_TRIPS):
        asked.append(servers.ask(str(number)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await until(lambda: len(servers.asked) == MOST_TRIPS)
    other = servers.ask("other", node=OTHER)
    await until(lambda: len(servers.asked) == MOST_TRIPS + 1)
    servers.may.set()
    assert await asyncio.gather(*asked, other) == [*([str(number)] for number in range(2 * MOST_TRIPS)), ["other"]]
    assert servers.asked[MOST_TRIPS + 1 :] == [("a:1", [(str(number),) for number in range(MOST_TRIPS, 2 * MOST_TRIPS)])]


async def test_a_trip_takes_no_more_than_so_many(servers: Servers) -> None:
    words = [str(number) for number in range(MOST_COMMANDS)]
    asked = [servers.ask("first"), servers.ask(*words[:-1]), servers.ask("a", "b"), servers.ask("c")]
    await until(lambda: len(servers.asked) == 3)
    servers.may.set()
    assert await asyncio.gather(*asked) == [["first"], words[:-1], ["a", "b"], ["c"]]
    assert [len(commands) for _, commands in servers.asked] == [1, MOST_COMMANDS + 1, 1], "what one asks stays together"


async def test_what_nobody_waits_for_any_more_is_not_sent(servers: Servers) -> None:
    full = []
    for _ in range(MOST_TRIPS):
        full.append(servers.ask("full"))
        await until(lambda: len(servers.asked) == len(full))
    gone, stays = servers.ask("gone"), servers.ask("stays")
    await asyncio.sleep(0)
    gone.cancel()
    servers.may.set()
    assert await stays == ["stays"]
    assert servers.asked[-1] == ("a:1", [("stays",)])


async def test_one_that_leaves_takes_no_reply_of_another(servers: Servers) -> None:
    alone, *asked = [servers.ask("alone"), servers.ask("1", "2"), servers.ask("3")]
    await until(lambda: len(servers.asked) == 2)
    asked[0].cancel()
    alone.cancel()
    servers.may.set()
    assert await asked[1] == ["3"]
    assert await servers.ask("4") == ["4"]


async def test_whoever_is_under_way_when_it_ends_is_told(servers: Servers) -> None:
    alone, *asked = [servers.ask("alone"), servers.ask("1", "2"), servers.ask("3")]
    await until(lambda: len(servers.asked) == 2)
    await servers.gathering.close()
    replies = await asyncio.gather(*asked)
    alone.cancel()
    assert [[type(reply) for reply in each] for each in replies] == [[StoreUnavailable] * 2, [StoreUnavailable]]


async def test_whoever_waits_in_vain_gives_up_and_the_others_go_on(servers: Servers) -> None:
    alone, late, patient = servers.ask("alone"), servers.ask("late", within=0.01), servers.ask("patient")
    with pytest.raises(TimeoutError):
        await late
    servers.may.set()
    assert (await alone, await patient) == (["alone"], ["patient"])
