from __future__ import annotations

from sidecar.control.anomaly.episodes import Change
from sidecar.control.anomaly.record import Anomaly
from sidecar.control.anomaly.unsaved import Batch, Unsaved


def _anomaly(id_: str, *active: str) -> Anomaly:
    return Anomaly(
        id=id_, subject="key", key_id="key_1", key_name="", source="", level="warn", score=3, started_at=0, updated_at=0, active=[*active]
    )  # fmt: skip


def test_what_could_not_be_saved_waits_before_what_came_since() -> None:
    unsaved = Unsaved()
    assert unsaved.take() == Batch()
    first, second = _anomaly("anm_1"), _anomaly("anm_2")
    unsaved.note([Change(first, "warn"), Change(second)])
    unsaved.add(first, muted=True)
    batch = unsaved.take()
    assert not unsaved.waits("anm_1") and batch.muted == {"anm_1"} and not unsaved.is_muted_here("anm_1")
    unsaved.note([Change(first, "page")])
    unsaved.add(second, muted=True)
    unsaved.put_back(batch)
    assert unsaved.waits("anm_1") and unsaved.is_muted_here("anm_1")
    again = unsaved.take()
    assert (again.risen, [*again.anomalies], again.muted) == ([(first, "warn"), (first, "page")], ["anm_1", "anm_2"], {"anm_1", "anm_2"})


def test_a_signal_is_counted_when_it_comes_up_and_not_when_it_comes_out_of_the_store() -> None:
    unsaved = Unsaved()
    one = _anomaly("anm_1", "stranger")
    unsaved.restored(one)
    unsaved.note([Change(one)])
    assert unsaved.raised == {}
    one.active = ["stranger", "new_network"]
    unsaved.note([Change(one), Change(one)])
    assert unsaved.raised == {("key_1", "new_network"): 1}
    one.active = []
    unsaved.note([Change(one)])
    one.active = ["new_network"]
    unsaved.note([Change(one)])
    assert unsaved.raised == {("key_1", "new_network"): 2}
    unsaved.clear()
    assert unsaved.take() == Batch() and unsaved.raised == {("key_1", "new_network"): 2}, "a counter of /metrics never goes back"


def test_what_was_saved_of_a_batch_waits_no_more() -> None:
    unsaved = Unsaved()
    first, second = _anomaly("anm_1"), _anomaly("anm_2")
    unsaved.note([Change(first, "warn"), Change(second, "page")])
    unsaved.add(first, muted=True)
    unsaved.add(second, muted=True)
    unsaved.put_back(unsaved.take().only({"anm_2"}))
    assert (unsaved.waits("anm_1"), unsaved.waits("anm_2")) == (False, True)
    left = unsaved.take()
    assert (left.risen, [*left.anomalies], left.muted) == ([(second, "page")], ["anm_2"], {"anm_2"})
