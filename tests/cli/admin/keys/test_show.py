from __future__ import annotations

import json
from typing import get_args

from sidecar.keys.ordering import Order
from tests.cli.admin.conftest import Cli, make_key
from tests.support.fake_admin import Call, FakeAdmin, Reply


def test_list_goes_through_all_pages(cli: Cli, admin: FakeAdmin) -> None:
    def page(call: Call) -> Reply:
        first = "cursor" not in call.query
        return Reply({"data": [make_key(name=f"key {1 if first else 2}")], "next_cursor": "c" if first else None})

    admin.on("GET", "/keys", page)
    assert [key["name"] for key in json.loads(cli("keys", "list", "--json").out)["data"]] == ["key 1", "key 2"]
    assert "key 2" in cli("keys", "list").out


def test_a_list_comes_in_the_order_that_was_asked_for(cli: Cli, admin: FakeAdmin) -> None:
    admin.on("GET", "/keys", lambda call: Reply({"data": [make_key(name=call.query.get("sort", "as ever"))], "next_cursor": None}))
    assert "as ever" in cli("keys", "list").out
    for order in get_args(Order):
        assert order in cli("keys", "list", "--sort", order).out


def test_a_list_that_was_cut_off_says_where_the_rest_begins(cli: Cli, admin: FakeAdmin) -> None:
    def page(call: Call) -> Reply:
        start = int(call.query.get("cursor", "0"))
        end = min(start + int(call.query["limit"]), 6)
        return Reply({"data": [make_key(name=f"key {n}") for n in range(start, end)], "next_cursor": str(end) if end < 6 else None})

    admin.on("GET", "/keys", page)
    for options, count, cursor in ((["--limit", "2"], 2, "2"), (["--limit", "6"], 6, None), (["--limit", "9"], 6, None), ([], 6, None)):
        listing = json.loads(cli("keys", "list", "--json", *options).out)
        assert (len(listing["data"]), listing["next_cursor"]) == (count, cursor)


def test_a_list_goes_on_where_the_one_before_ended(cli: Cli, admin: FakeAdmin) -> None:
    def page(call: Call) -> Reply:
        start = int(call.query.get("cursor", "0"))
        end = min(start + int(call.query["limit"]), 5)
        return Reply({"data": [make_key(name=f"key {n}") for n in range(start, end)], "next_cursor": str(end) if end < 5 else None})

    admin.on("GET", "/keys", page)
    names: list[str] = []
    options: list[str] = []
    while True:
        listing = json.loads(cli("keys", "list", "--json", "--limit", "2", *options).out)
        names += [key["name"] for key in listing["data"]]
        if listing["next_cursor"] is None:
            break
        options = ["--cursor", listing["next_cursor"]]
    assert names == [f"key {n}" for n in range(5)]
    told = cli("keys", "list", "--cursor", "3").out
    assert "key 3" in told and "key 2" not in told


def test_list_fits_the_terminal(cli: Cli, admin: FakeAdmin) -> None:
    admin.on("GET", "/keys", {"data": [make_key(name="n" * 128, owner="o" * 128)], "next_cursor": None})
    lines = cli("keys", "list", tty=True).out.splitlines()
    assert all(len(line) <= 120 for line in lines)
    assert "key_0123456789abcdef" in lines[1]


def test_filters_are_sent(cli: Cli, admin: FakeAdmin) -> None:
    admin.on("GET", "/keys", {"data": [], "next_cursor": None})
    result = cli("keys", "list", "sho", "--status", "expired", "--owner", "x", "--limit", "5")
    assert admin.calls[0].query == {"q": "sho", "status": "expired", "owner": "x", "limit": "5"}
    assert result.err == "No keys match.\n"


def test_a_name_cannot_drive_the_terminal(cli: Cli, admin: FakeAdmin) -> None:
    admin.on("GET", "/keys", {"data": [make_key(name="a\x1b[2J")], "next_cursor": None})
    assert "\x1b" not in cli("keys", "list").out


SECRETS = {
    "data": [
        {
            "id": "sec_2",
            "hint": "ahk_…1c96",
            "state": "retiring",
            "created_at": "2026-11-01T00:00:00Z",
            "expires_at": "2026-11-25T12:00:00Z",
            "last_used_at": "2026-11-24T11:00:00Z",
            "requests": 1234,
            "networks": ["203.0.113.0/24"],
            "agents": ["curl/8.5"],
        }
    ],
    "safe_to_retire": {"safe": False, "reason": "used 1 h ago from 203.0.113.0/24"},
}


def test_show_tells_who_uses_the_old_secret(cli: Cli, admin: FakeAdmin) -> None:
    limits = {"rpm": 60, "tpm": None, "max_concurrency": 5}
    quota = {"requests": None, "tokens": 1000, "period": "day", "timezone": "UTC"}
    admin.on("GET", "/keys", {"data": [make_key(limits=limits, quota=quota, allowed_models=[], metadata={"a": "b"})], "next_cursor": None})
    admin.on("GET", "/keys/key_0123456789abcdef/secrets", SECRETS)
    out = cli("keys", "show", "shop").out
    for part in (
        "rpm 60, max_concurrency 5",
        "1,000 tokens a day (UTC)",
        "203.0.113.0/24",
        "curl/8.5",
        "1,234",
        "is still needed: used 1 h ago",
    ):
        assert part in out
    document = json.loads(cli("keys", "show", "shop", "--json").out)
    assert document["key"]["id"] == "key_0123456789abcdef"
    assert document["secrets"] == SECRETS["data"]


def test_a_limit_that_is_not_enforced_is_not_told_as_one_that_is(cli: Cli, admin: FakeAdmin) -> None:
    limits = {"rpm": 60, "tpm": 9, "max_concurrency": None, "enforcement": {"rpm": "shadow", "quota": "off"}}
    quota = {"requests": 5, "tokens": None, "period": "day", "timezone": "UTC"}
    admin.on("GET", "/keys/key_0123456789abcdef", {"key": make_key(limits=limits, quota=quota)})
    admin.on("GET", "/keys/key_0123456789abcdef/secrets", SECRETS)
    said = [
        line.split(None, 1)[1]
        for line in cli("keys", "show", "key_0123456789abcdef").out.splitlines()
        if line.startswith(("Limits", "Quota"))
    ]
    assert said == ["rpm 60 (shadow), tpm 9", "5 requests a day (UTC) (off)"]
