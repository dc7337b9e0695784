"""Use, the call log and the shadow report, as JSON and as CSV."""

from __future__ import annotations

import csv
import io

import pytest

from sidecar.control.admin.messages.usage import ShadowEntry
from tests.control.admin.conftest import Api, Recorded, call
from tests.control.support.work import Work

TOTALS = {"requests", "errors", "denied", "input_tokens", "output_tokens", "images", "credits", "bytes_in", "bytes_out"}


@pytest.fixture
def recorded(api: Api) -> Recorded:
    assert isinstance(api.services.usage, Recorded)
    return api.services.usage


async def test_usage_of_all(api: Api, recorded: Recorded) -> None:
    status, body, _ = await api.call("GET", "/admin/v1/usage")
    assert status == 200
    assert set(body) == {"from", "to", "step", "totals", "series"}
    assert (body["from"], body["to"], body["step"]) == (None, None, "1h")
    assert set(body["totals"]) == TOTALS
    assert set(body["series"][0]) == TOTALS | {"time"}
    assert body["series"][0]["time"] == "1970-01-01T00:01:00Z"
    assert recorded.asked == [(None, None, None, "1h", None)]


async def test_a_span_with_offsets(api: Api, recorded: Recorded) -> None:
    api.clock.offset = 1_800_000_000 - api.clock()
    query = "from=2027-01-15T09:00:00%2B01:00&to=2027-01-15T08:02:00Z&step=1m&group_by=model"
    status, body, _ = await api.call("GET", f"/admin/v1/usage?{query}")
    assert (status, body["from"], body["to"]) == (200, "2027-01-15T08:00:00Z", "2027-01-15T08:02:00Z")
    assert [group["by"] for group in body["groups"]] == ["=model"]
    assert recorded.asked == [(None, 1_800_000_000.0, 1_800_000_120.0, "1m", "model")]


async def test_a_span_of_millennia_is_not_walked_through(api: Api, recorded: Recorded) -> None:
    query = "from=0001-01-01T00:00:00%2B10:00&to=9999-12-31T23:59:59-10:00"
    status, body, _ = await api.call("GET", f"/admin/v1/usage?{query}")
    assert (status, body["from"], body["to"]) == (200, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z")
    ((_, start, end, _, _),) = recorded.asked
    assert end - start < 403 * 86400


async def test_usage_of_a_key(api: Api, recorded: Recorded) -> None:
    key, _ = await api.key(name="Named")
    assert (await api.call("GET", f"/admin/v1/keys/{key['id']}/usage?step=1d"))[0] == 200
    assert recorded.asked == [(key["id"], None, None, "1d", None)]
    for group_by in ("key", "owner", "model"):
        assert (await api.call("GET", f"/admin/v1/keys/{key['id']}/usage?group_by={group_by}"))[0] == 200


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("from=yesterday", "from"),
        ("from=2026-01-01T00:00:00", "from"),
        ("to=2026-01-01", "to"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "to"),
        ("step=5m", "step"),
        ("group_by=colour", "group_by"),
        ("form=2026-01-01T00:00:00Z", "form"),
    ],
)
async def test_faults(api: Api, query: str, param: str) -> None:
    status, body, _ = await api.call("GET", f"/admin/v1/usage?{query}")
    assert (status, body["error"]["param"]) == (400, param)


async def test_usage_as_csv(api: Api) -> None:
    status, text, response = await api.call("GET", "/admin/v1/usage?group_by=model", headers={"Accept": "text/csv, */*"})
    assert (status, response.content_type) == (200, "text/csv")
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0][:3] == ["by", "time", "requests"]
    assert rows[1][:3] == ["'=model", "1970-01-01T00:01:00Z", "3"]


async def test_the_call_log(api: Api, recorded: Recorded) -> None:
    recorded.calls_kept = [call(number, outcome="denied" if number == 1 else "ok") for number in range(5)]
    _, page, _ = await api.call("GET", "/admin/v1/requests?limit=2")
    assert [one["request_id"] for one in page["data"]] == ["req_0", "req_1"]
    assert (page["data"][0]["duration_ms"], page["data"][0]["overhead_ms"]) == (250.0, 50.0)
    _, rest, _ = await api.call("GET", f"/admin/v1/requests?limit=9&cursor={page['next_cursor']}")
    assert ([one["request_id"] for one in rest["data"]], rest["next_cursor"]) == (["req_2", "req_3", "req_4"], None)
    _, denied, _ = await api.call("GET", "/admin/v1/requests?outcome=denied")
    assert [one["request_id"] for one in denied["data"]] == ["req_1"]
    assert (await api.call("GET", "/admin/v1/requests?cursor=x"))[0] == 400
    assert (await api.call("GET", "/admin/v1/requests?key=nonsense"))[0] == 400


async def test_the_call_log_as_csv_is_whole_and_harmless(api: Api, recorded: Recorded) -> None:
    recorded.calls_kept = [call(number, agent="=cmd()") for number in range(2500)]
    status, text, response = await api.call("GET", "/admin/v1/requests", headers={"Accept": "text/csv"})
    assert (status, response.headers["Content-Disposition"]) == (200, 'attachment; filename="requests.csv"')
    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) == 2501
    assert rows[1][rows[0].index("agent")] == "'=cmd()"
    for limit in (1, 3, 1000):
        _, text, _ = await api.call("GET", f"/admin/v1/requests?limit={limit}&cursor=7", headers={"Accept": "text/csv"})
        ids = [row[1] for row in csv.reader(io.StringIO(text))][1:]
        assert ids == [f"req_{number}" for number in range(7, 7 + limit)]
    status, body, _ = await api.call("GET", "/admin/v1/requests?cursor=x", headers={"Accept": "text/csv"})
    assert (status, body["error"]["param"]) == (400, "cursor")


async def test_who_would_break(api: Api, recorded: Recorded) -> None:
    key, _ = await api.key(name="App", owner="team")
    recorded.calls_kept = [
        *(call(number, key["id"], shadow="model_not_allowed", model=f"m{number}") for number in range(20)),
        call(30, key["id"]),
        call(31, "key_gone", shadow="ip_not_allowed"),
    ]
    status, body, _ = await api.call("GET", "/admin/v1/shadow-report")
    assert (status, body["calls"], body["complete"]) == (200, 22, True)
    first, second = body["data"]
    assert (first["name"], first["owner"], first["reason"], first["requests"]) == ("App", "team", "model_not_allowed", 20)
    assert len(first["models"]) == 10
    assert (second["key_id"], second["name"]) == ("key_gone", "")


@pytest.mark.parametrize(("bound", "complete"), [(23, True), (22, True), (21, False)])
async def test_the_report_is_complete_where_nothing_was_left_out(
    api: Api, recorded: Recorded, monkeypatch: pytest.MonkeyPatch, bound: int, complete: bool
) -> None:
    monkeypatch.setattr("sidecar.control.admin.resources.usage._SHADOW_BOUND", bound)
    recorded.calls_kept = [call(number, "key_gone") for number in range(22)]
    _, body, _ = await api.call("GET", "/admin/v1/shadow-report")
    assert (body["calls"], body["complete"]) == (min(bound, 22), complete)


async def test_a_report_of_thousands_of_keys_is_made_in_turns(api: Api, recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded.calls_kept = [call(number, f"key_{number:016d}", shadow="ip_not_allowed") for number in range(2000)]
    work = Work()
    monkeypatch.setattr("sidecar.control.admin.shadow.ShadowEntry", work.counted(ShadowEntry))
    async with work.watching():
        _, body, _ = await api.call("GET", "/admin/v1/shadow-report")
    assert (len(body["data"]), body["calls"], body["since"]) == (2000, 2000, "1969-12-31T23:43:21Z")
    assert work.longest <= 200
