from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.anomaly.second import NO_KEY, SecondSums
from sidecar.control.sums import Sums
from sidecar.events.record import Request, Tokens, encode
from tests.control.anomaly.life import served

OUTCOMES = ("ok", "denied", "rate_limited", "client_error", "hub_error", "client_closed", "sidecar_error")


def _request(key_id: str, outcome: str, client: str, model: str, time: float = 100.0) -> Request:
    return Request(
        time, "r", key_id, "s", outcome, "code", 200, 200, "POST", "chat", "/", model, model, client, "agent", False, "complete",
        0.1, 0.0, 0.0, 0.0, 0.0, 1, 1, Tokens(3, 4), "hub",
    )  # fmt: skip


REQUESTS = st.lists(
    st.builds(
        _request, st.sampled_from(["a", "b", ""]), st.sampled_from(OUTCOMES), st.sampled_from(["x", "y"]), st.sampled_from(["m", "n"])
    )
)


@given(REQUESTS)
def test_every_request_is_counted_once_under_its_key(requests: Sequence[Request]) -> None:
    sums = Sums()
    sums.add([(request, encode(request)) for request in requests])
    seconds = SecondSums()
    for row in sums.rows:
        seconds.count(row)
    for second in seconds.take(1000, 100):
        mine = [request for request in requests if request.key_id == second.key_id]
        answered = [request for request in mine if request.outcome in ("ok", "client_closed")]
        refused = [request for request in mine if request.outcome in ("denied", "rate_limited")]
        assert second.requests == len(mine)
        assert second.refused == len(refused) == sum(second.refusals.values())
        assert second.errors == len(mine) - len(answered) - len(refused)
        assert sum(second.callers.values()) == len(answered)
        assert second.tokens == 7 * len(answered)
    assert len(seconds) == 0


def test_take_gives_out_the_oldest_and_keeps_the_rest() -> None:
    sums = SecondSums()
    for index, time in enumerate((10, 11, 12)):
        sums.add(served(time, key=f"key_{index}"))
    sums.add(served(13, key="key_0"))
    assert [second.key_id for second in sums.take(11, 1)] == ["key_0"]
    assert [second.key_id for second in sums.take(11, 5)] == ["key_1"]
    assert list(sums.key_ids()) == ["key_2"]


def test_open_requests_are_noted_only_for_keys_with_traffic() -> None:
    sums = SecondSums()
    sums.add(served(10, key="key_0"))
    sums.in_flight({"key_0": 4, "key_1": 9})
    sums.in_flight({"key_0": 2})
    assert [second.in_flight for second in sums.take(10, 5)] == [4]
    assert NO_KEY == ""
