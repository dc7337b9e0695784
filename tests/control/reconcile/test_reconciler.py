from __future__ import annotations

import time
from pathlib import Path

from sidecar.control.folding.fold import Fold
from sidecar.control.folding.ledger import Ledger as Applied
from sidecar.control.folding.work import Planner
from sidecar.control.metrics.counts import Counter
from sidecar.control.networks import network_of
from sidecar.control.reconcile.hub_ledger import HubLedger, LedgerUnavailable, Listing
from sidecar.control.reconcile.journal import Journal
from sidecar.control.reconcile.reconciler import SETTLE, Reconciler
from sidecar.control.totals.series import SeriesBuilder
from sidecar.control.usage.calls import Calls, Wanted
from sidecar.events.record import NO_TOKENS, Request, Tokens
from sidecar.events.spool import SpoolWriter
from sidecar.hubs.ledger import Entry
from sidecar.store.client import Store
from tests.control.support.events import key_id, request
from tests.control.support.folding import RETENTION, Folding, usage_of, write, writer

A, B = key_id(1), key_id(2)
ROUTES = frozenset({"chat_completions"})


class Hub:
    """A ledger to be filled by hand."""

    def __init__(self) -> None:
        self.entries: dict[str, list[Entry]] = {}
        self.asked: list[str] = []
        self.failure = ""
        self.unreadable: set[str] = set()

    async def calls(self, key_id: str, since: float) -> Listing:
        self.asked.append(key_id)
        if self.failure or key_id in self.unreadable:
            raise LedgerUnavailable(self.failure or "status 500")
        return Listing([entry for entry in self.entries.get(key_id, []) if entry.started >= since], complete=True)

    def bill(self, key: str, request_id: str, tokens: Tokens, *, final: bool = True) -> None:
        now = time.time() - 60
        self.entries.setdefault(key, []).insert(0, Entry(request_id, float(int(now)), float(int(now)), final, tokens))


class Reconciling(Folding):
    """A control process with a reconciler."""

    def __init__(self, directory: Path, store: Store, hub: Hub | HubLedger, *, max_bytes: int = 1 << 30) -> None:
        super().__init__(directory / "spool", store)
        self.journal = Journal.open(directory / "reconcile", directory / "spool")
        self.spool = SpoolWriter(directory / "spool", segment_bytes=1 << 16, max_bytes=max_bytes)
        self.reconciler = Reconciler(
            self.journal, self.spool, hub, Calls(store), routes=ROUTES | {"chat"}, every=1, give_up=900, clock=time.time
        )
        self.fold = Fold(
            self.spools,
            Applied(store, "i1"),
            counter=Counter(self.keys.label),
            counts=self.counts,
            planner=Planner(SeriesBuilder(RETENTION), network=network_of, active_for=RETENTION.hours),
            guard=_allow,
            claim=_allow,
            observers=[self.reconciler],
        )

    def die(self) -> None:
        self.spool.close()
        self.journal.close()


async def _allow() -> None:
    return


def silent(key: str = A, age: float = 60.0) -> Request:
    return request(key, time=time.time() - age, tokens=NO_TOKENS, usage_source="none", total=1.0)


async def tokens_of(store: Store, key: str) -> tuple[int, int, float]:
    totals = (await usage_of(store).usage(key, None, None, "1h", None)).totals
    return totals.input_tokens, totals.output_tokens, totals.credits


async def test_what_the_answer_did_not_say_is_filled_in_everywhere_once(tmp_path: Path, store: Store) -> None:
    hub = Hub()
    spool = writer(tmp_path / "spool")
    quiet, told = silent(), request(A, time=time.time() - 60, tokens=Tokens(10, 20, credits=0.3))
    write(spool, quiet, told)
    control = Reconciling(tmp_path, store, hub)
    await control.run()
    assert control.reconciler.waiting == 1
    hub.bill(A, quiet.request_id, Tokens(7, 8, 1, 0, 0.5))
    hub.bill(A, told.request_id, Tokens(10, 20, credits=0.3))
    for _ in range(3):
        await control.reconciler.turn()
        await control.run()
    assert hub.asked == [A] and control.reconciler.waiting == 0 and not control.reconciler.complaint
    assert await tokens_of(store, A) == (17, 28, 0.8)
    counted = control.counts.keys[A]
    assert counted["t"] == [17, 28, 1, 0]
    assert (counted["l"], counted["u"], sum(counted["r"].values())) == (1, 1, 2)
    assert control.counts.families["models"] == {"openai/gpt-4o-mini\x1fok": 2}
    assert control.reconciler.drift == {A: 0}
    first, second = sorted([call async for call in Calls(store).find(Wanted(A))], key=lambda call: call.usage_source)
    assert (first.usage_source, first.tokens) == ("hub", told.tokens)
    assert (second.usage_source, second.tokens, second.client) == ("ledger", Tokens(7, 8, 1, 0, 0.5), quiet.client)
    # By parts of a minute too, which are read from the call log.
    part = (await usage_of(store).usage(A, quiet.time - 0.5, quiet.time + 0.5, "1m", None)).totals
    assert (part.requests, part.input_tokens) == (2, 17)


async def test_what_was_added_and_is_not_folded_yet_is_no_drift(tmp_path: Path, store: Store) -> None:
    hub = Hub()
    calls = [silent() for _ in range(2)]
    write(writer(tmp_path / "spool"), *calls)
    control = Reconciling(tmp_path, store, hub)
    await control.run()
    for call in calls:
        # Each turn finds one more in the ledger, and the fold is not asked in between.
        hub.bill(A, call.request_id, Tokens(7, 8))
        await control.reconciler.turn()
    assert control.reconciler.waiting == 0 and control.reconciler.drift == {A: 0}
    await control.run()
    assert (await tokens_of(store, A))[:2] == (14, 16)
    # Once the log has them they are its own: what it then lacks is drift.
    calls.append(silent())
    write(writer(tmp_path / "spool"), calls[-1])
    await control.run()
    hub.bill(A, calls[-1].request_id, Tokens(1, 1))
    hub.bill(A, calls[0].request_id, Tokens(5, 0))
    await control.reconciler.turn()
    assert control.reconciler.drift == {A: 5}


async def test_calls_that_the_hub_does_not_bill_to_a_key_are_no_drift(tmp_path: Path, store: Store) -> None:
    hub = Hub()
    call = silent()
    transcription = request(A, route="audio-transcriptions", time=time.time() - 60, total=1.0, tokens=Tokens(10, 20))
    write(writer(tmp_path / "spool"), call, transcription)
    control = Reconciling(tmp_path, store, hub)
    await control.run()
    hub.bill(A, call.request_id, Tokens(7, 8))
    await control.reconciler.turn()
    assert control.reconciler.waiting == 0 and control.reconciler.drift == {A: 0}


async def test_a_call_without_credits_is_looked_for_beside_others_that_have_some(tmp_path: Path, store: Store) -> None:
    told, untold = (request(A, time=time.time() - 60, tokens=Tokens(10, 20, credits=credits)) for credits in (0.3, 0.0))
    write(writer(tmp_path / "spool"), told, untold)
    control = Reconciling(tmp_path, store, Hub())
    await control.run()
    assert set(control.journal.waiting) == {untold.request_id}


async def test_a_restart_at_any_time_fills_in_nothing_twice(tmp_path: Path, store: Store) -> None:
    hub = Hub()
    spool = writer(tmp_path / "spool")
    calls = [silent(key) for key in (A, B) for _ in range(3)]
    write(spool, *calls)
    for call in calls:
        hub.bill(call.key_id, call.request_id, Tokens(1, 2))
    for life in range(4):
        control = Reconciling(tmp_path, store, hub)
        await control.fold.restore()
        control.fold.count()
        if life:
            await control.reconciler.turn()
        control.die()
    control = Reconciling(tmp_path, store, hub)
    await control.run()
    await control.reconciler.turn()
    await control.run()
    assert (await tokens_of(store, A))[:2] == (await tokens_of(store, B))[:2] == (3, 6)
    assert control.counts.keys[A]["l"] == control.counts.keys[B]["l"] == 3


async def test_nothing_is_filled_in_twice_when_reconciliation_was_off_in_between(tmp_path: Path, store: Store) -> None:
    hub = Hub()
    write(writer(tmp_path / "spool"), call := silent())
    hub.bill(A, call.request_id, Tokens(1, 2))
    control = Reconciling(tmp_path, store, hub)
    await control.run()
    await control.reconciler.turn()
    await control.run()
    control.die()
    # Off: the fold has all of the dead reconciler's spool, and it is swept, before anybody opens the journal again.
    for segment in (tmp_path / "spool").glob(f"{control.spool.spool_id}-*.spool"):
        segment.unlink()
    control = Reconciling(tmp_path, store, hub)
    await control.run()
    await control.reconciler.turn()
    await control.run()
    assert (await tokens_of(store, A))[:2] == (1, 2)


async def test_it_waits_for_what_is_not_final_and_asks_nothing_too_early(tmp_path: Path, store: Store) -> None:
    hub = Hub()
    write(writer(tmp_path / "spool"), silent(B, age=SETTLE / 2), call := silent())
    hub.bill(A, call.request_id, Tokens(1, 2), final=False)
    control = Reconciling(tmp_path, store, hub)
    await control.run()
    await control.reconciler.turn()
    assert hub.asked == [A] and control.reconciler.waiting == 2
    hub.entries.clear()
    hub.bill(A, call.request_id, Tokens(1, 2))
    await control.reconciler.turn()
    assert control.reconciler.waiting == 1


async def test_a_call_that_is_never_listed_is_given_up_and_stays_untold(tmp_path: Path, store: Store) -> None:
    hub = Hub()
    write(writer(tmp_path / "spool"), silent(age=901), silent(age=899))
    control = Reconciling(tmp_path, store, hub)
    await control.run()
    assert control.reconciler.waiting == 1, "what ended longer ago is not even looked for"
    control.reconciler._clock = lambda: time.time() + 10
    await control.reconciler.turn()
    assert (control.reconciler.waiting, control.reconciler.given_up) == (0, 1)
    assert await tokens_of(store, A) == (0, 0, 0.0)


async def test_a_hub_that_does_not_answer_costs_nothing(tmp_path: Path, store: Store) -> None:
    hub = Hub()
    hub.failure = "the hub's ledger cannot be read (status 401)"
    write(writer(tmp_path / "spool"), call := silent())
    control = Reconciling(tmp_path, store, hub)
    await control.run()
    await control.reconciler.turn()
    assert control.reconciler.complaint == hub.failure and control.reconciler.waiting == 1
    hub.failure = ""
    hub.bill(A, call.request_id, Tokens(1, 2))
    await control.reconciler.turn()
    assert not control.reconciler.complaint and control.reconciler.waiting == 0


async def test_keys_whose_list_cannot_be_read_keep_no_others_waiting(tmp_path: Path, store: Store) -> None:
    hub = Hub()
    hub.unreadable = {key_id(number) for number in range(10, 13)}
    calls = [silent(key) for key in (*sorted(hub.unreadable), A, B)]
    write(writer(tmp_path / "spool"), *calls)
    for call in calls:
        hub.bill(call.key_id, call.request_id, Tokens(1, 2))
    control = Reconciling(tmp_path, store, hub)
    await control.run()
    for _ in range(4):
        await control.reconciler.turn()
    assert {call.key_id for call in control.journal.waiting.values()} == hub.unreadable
    assert control.reconciler.complaint
    hub.unreadable = set()
    await control.reconciler.turn()
    assert control.reconciler.waiting == 0 and not control.reconciler.complaint


async def test_a_call_that_was_given_up_is_not_given_up_again_after_a_restart(tmp_path: Path, store: Store) -> None:
    write(writer(tmp_path / "spool"), silent(age=899))
    control = Reconciling(tmp_path, store, Hub())
    await control.run()
    control.reconciler._clock = lambda: time.time() + 10
    await control.reconciler.turn()
    assert control.reconciler.given_up == 1
    for _ in range(2):
        control.die()
        control = Reconciling(tmp_path, store, Hub())
        control.reconciler._clock = lambda: time.time() + 10
        await control.reconciler.turn()
        assert control.reconciler.given_up == 0


async def test_a_spool_without_room_delays_and_loses_nothing(tmp_path: Path, store: Store) -> None:
    hub = Hub()
    write(writer(tmp_path / "spool"), call := silent())
    hub.bill(A, call.request_id, Tokens(1, 2))
    control = Reconciling(tmp_path, store, hub, max_bytes=1)
    await control.run()
    await control.reconciler.turn()
    assert control.reconciler.waiting == 1 and control.spool.dropped == 1
    control.die()
    control = Reconciling(tmp_path, store, hub)
    await control.run()
    await control.reconciler.turn()
    await control.run()
    assert (await tokens_of(store, A))[:2] == (1, 2)


async def test_nothing_is_known_by_another_keys_entry(tmp_path: Path, store: Store) -> None:
    hub = Hub()
    write(writer(tmp_path / "spool"), call := silent())
    hub.bill(B, call.request_id, Tokens(1, 2))
    control = Reconciling(tmp_path, store, hub)
    await control.run()
    await control.reconciler.turn()
    assert control.reconciler.waiting == 1
