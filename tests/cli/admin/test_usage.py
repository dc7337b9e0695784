from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.admin.conftest import Cli, make_key
from tests.support.fake_admin import FakeAdmin, Reply

SUMS = {
    "requests": 12345,
    "errors": 2,
    "denied": 1,
    "input_tokens": 10,
    "output_tokens": 5,
    "images": 0,
    "credits": 0.25,
    "bytes_in": 7,
    "bytes_out": 8,
}
ZERO = dict.fromkeys(SUMS, 0)


def answer(points: int = 2, **more: Any) -> dict[str, Any]:
    series = [{"time": f"2026-11-{1 + hour // 24:02}T{hour % 24:02}:00:00Z", **SUMS} for hour in range(points)]
    return {"from": None, "to": None, "step": "1h", "totals": SUMS, "series": [*series, {"time": "2026-11-24T12:00:00Z", **ZERO}], **more}


def test_all_that_is_kept_by_default(cli: Cli, admin: FakeAdmin) -> None:
    admin.on("GET", "/usage", answer())
    result = cli("usage")
    assert admin.calls[0].query == {}
    assert "12,345" in result.out
    assert "2026-11-01 01:00" in result.out
    assert "2026-11-24 12:00" not in result.out


def test_one_key_and_a_time(cli: Cli, admin: FakeAdmin) -> None:
    admin.on("GET", "/keys", {"data": [make_key()], "next_cursor": None})
    admin.on("GET", "/keys/key_0123456789abcdef/usage", answer())
    result = cli("usage", "shop", "--from", "24h", "--to", "2026-11-24", "--step", "1m", "--json")
    assert admin.calls[-1].query == {"from": "2026-11-23T12:00:00+00:00", "to": "2026-11-24T00:00:00+00:00", "step": "1m"}
    assert json.loads(result.out) == answer()


def test_a_span_that_was_widened_is_told(cli: Cli, admin: FakeAdmin) -> None:
    """Its sums are about more than was asked for."""
    span = ("--from", "2026-10-01T10:30:00Z", "--to", "2026-10-01T12:00:00.0005Z")
    admin.on("GET", "/usage", {**answer(), "from": "2026-10-01T10:00:00Z", "to": "2026-10-01T12:00:00Z"})
    result = cli("usage", *span)
    assert "--from became 2026-10-01T10:00:00Z" in result.err and "--to" not in result.err
    admin.on("GET", "/usage", {**answer(), "from": "2026-10-01T10:30:00Z", "to": "2026-10-01T12:00:00Z"})
    assert "became" not in cli("usage", *span).err


def test_groups_come_busiest_first(cli: Cli, admin: FakeAdmin) -> None:
    groups = [
        {"by": "key_a", "totals": {**SUMS, "requests": 1}, "series": []},
        {"by": "key_b", "name": "shop", "totals": SUMS, "series": []},
    ]
    admin.on("GET", "/usage", answer(groups=groups))
    out = cli("usage", "--group-by", "key").out
    assert out.index("shop (key_b)") < out.index("key_a")


def test_long_series_show_the_newest_rows(cli: Cli, admin: FakeAdmin) -> None:
    admin.on("GET", "/usage", answer(100))
    result = cli("usage")
    assert "70 earlier rows are not shown" in result.err
    assert "2026-11-05 03:00" in result.out


def test_csv(cli: Cli, admin: FakeAdmin) -> None:
    admin.on("GET", "/usage", Reply(raw=b"time,requests\n2026,1\n", content_type="text/csv"))
    assert cli("usage", "--csv").out == "time,requests\n2026,1\n"
    assert admin.calls[0].headers["accept"] == "text/csv"


@pytest.mark.parametrize("words", [("--from", "soon"), ("--csv", "--json")])
def test_wrong_use(cli: Cli, words: tuple[str, ...]) -> None:
    assert cli("usage", *words).code == 2


def test_a_model_s_name_does_not_drive_the_terminal(cli: Cli, admin: FakeAdmin) -> None:
    rows = "by,time\r\n\x1b]0;mine\x07,2026-11-01T00:00:00Z\r\n"
    admin.on("GET", "/usage", Reply(raw=rows.encode(), content_type="text/csv"))
    assert cli("usage", "--group-by", "model", "--csv").out == rows
    assert cli("usage", "--group-by", "model", "--csv", tty=True).out == "by,time\n\ufffd]0;mine\ufffd,2026-11-01T00:00:00Z\n"
