"""Pages of which people say something before they are acted on."""

from __future__ import annotations

import pytest

from sidecar.keys.record import Key
from tests.control.anomaly.conftest import Bench
from tests.control.anomaly.life import served


async def test_a_key_of_which_people_say_in_time_that_it_is_nothing_is_let_be(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a slow store is asked what the key wants."""
    await bench.create("disable")
    get_many = bench.keys.repository.get_many

    async def slow(key_ids: list[str]) -> list[Key | None]:
        found = await get_many(key_ids)
        for one in await bench.documents(state="open", level="page"):
            await bench.detection.queries.acknowledge(one["id"], "our new office", "ana")
        return found

    monkeypatch.setattr(bench.keys.repository, "get_many", slow)
    await bench.theft()
    (document,) = await bench.documents()
    assert (document["state"], document["level"], document["responses"]) == ("acknowledged", "page", [])
    assert not (await bench.read_key()).disabled


async def test_of_several_pages_one_that_is_acknowledged_while_another_is_acted_on_is_let_be(bench: Bench) -> None:
    await bench.create("disable")
    await bench.theft()
    (anomaly,) = bench.detection.engine.observer.episodes.open.values()
    anomaly.responses = []
    responder = bench.detection.engine._consequences._responder
    assert responder.is_due(anomaly, bench.now, pages=True)
    await bench.detection.queries.acknowledge(anomaly.id, "our new office", "ana")
    assert not responder.is_due(anomaly, bench.now, pages=False)


async def test_a_page_that_was_muted_while_its_act_waited_for_a_disk_is_not_acted_on(bench: Bench) -> None:
    await bench.create("disable")
    with bench.full_disk():
        await bench.theft()
    (document,) = await bench.documents()
    assert (document["level"], document["responses"]) == ("page", [])
    await bench.detection.queries.mute(document["id"], bench.now + 3600.0)
    for later in (1, 3700):
        bench.keys.clock.now += later
        await bench.detection.engine.tick(bench.keys.clock.now)
        assert not (await bench.read_key()).disabled
    # What comes up after the mute is another matter.
    await bench.see(served(bench.now + 1, 4, client="192.0.2.1", agent="wget/1", key=bench.key.id))
    await bench.theft()
    assert (await bench.read_key()).disabled
