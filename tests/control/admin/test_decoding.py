"""Requests are read into messages, or refused with every fault at once."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from sidecar.control.admin.decoding import MOST_TOLD, decode_body, decode_query
from sidecar.control.admin.errors import AdminError
from sidecar.control.admin.messages.keys import Because, ImportedKey, KeyChange, KeysQuery, NewKey, Rotation
from sidecar.control.admin.messages.usage import UsageQuery


@pytest.mark.parametrize(
    ("body", "message", "param", "parts"),
    [
        (b"{", NewKey, None, ["not JSON"]),
        (b"[]", NewKey, None, ["must be an object"]),
        (b"null", NewKey, None, ["must be an object"]),
        (b"", NewKey, "name", ["name: is missing"]),
        (b'{"name":""}', NewKey, "name", ["name: expected `str` of length >= 1"]),
        (b'{"name":null}', NewKey, "name", ["name: expected `str`"]),
        (b'{"name":"a","quota":{"period":"year"}}', NewKey, "quota.period", ["quota.period: invalid enum value"]),
        (b'{"name":"a","expires_at":"2027-01-01T00:00:00"}', NewKey, "expires_at", ["expires_at: expected `datetime` with a timezone"]),
        (b'{"throttled_until":"2027-01-01T00:00:00Z"}', KeyChange, "throttled_until", ["throttled_until: expected `null`"]),
        (b'{"limits":{"rpm":true}}', KeyChange, "limits.rpm", ["limits.rpm: expected `int | null`"]),
        (
            b'{"name":"a","sha256":"zz"}',
            ImportedKey,
            "sha256",
            ["sha256: does not have the right form: SHA-256 of the token, 64 hex digits."],
        ),
        (
            b'{"name":"a","allowed_routes":["x y"]}',
            NewKey,
            "allowed_routes[0]",
            ["allowed_routes[0]: does not have the right form: A route or"],
        ),
        (
            b'{"grace_period":"1000d"}',
            Rotation,
            "grace_period",
            ["grace_period: does not have the right form: A number and a unit, 999d at most"],
        ),
        (b'{"name":"a\\u0007"}', NewKey, "name", ["name: does not have the right form: 1 to 128 printable characters"]),
        (
            b'{"name":"a","owner":"Sales\\tBerlin"}',
            NewKey,
            "owner",
            ["owner: does not have the right form: Who uses the key; up to 128 printable"],
        ),
        (
            b'{"reason":"a\\u202e"}',
            Because,
            "reason",
            ["reason: does not have the right form: Why, for the audit log; up to 500 printable"],
        ),
        (
            b'{"nme":1,"limits":{"rpm":0,"burst":1},"allowed_ips":[1],"tags":[""]}',
            NewKey,
            "nme",
            ["nme: unknown member", "name: is missing", "limits.rpm: ", "limits.burst: unknown", "allowed_ips[0]: ", "tags[0]: "],
        ),
    ],
)
def test_all_faults_of_a_body(body: bytes, message: type[msgspec.Struct], param: str | None, parts: list[str]) -> None:
    with pytest.raises(AdminError) as caught:
        decode_body(body, message)
    assert caught.value.param == param
    assert caught.value.problem.status == 400
    for part in parts:
        assert part in caught.value.detail


@pytest.mark.parametrize(
    "body",
    [
        b'{"name":"a",%s}' % b",".join(b'"m%d":1' % number for number in range(5000)),
        b'{"name":"a",%s}' % b",".join(b'"m%d":1,"m%d":1' % (number, number) for number in range(5000)),
    ],
    ids=["unknown", "twice"],
)
def test_of_very_many_faults_the_first_are_told(body: bytes) -> None:
    with pytest.raises(AdminError) as caught:
        decode_body(body, NewKey)
    assert [path for path, _ in caught.value.faults] == [f"m{number}" for number in range(MOST_TOLD)]
    assert caught.value.param == "m0"
    assert caught.value.detail.endswith(f"; and {5000 - MOST_TOLD} more.")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"name":"dup","allowed_models":[],"allowed_models":null}', "allowed_models"),
        (b'{"name":"a","n\\u0061me":"a"}', "name"),
        (b'{"name":"a","limits":{"rpm":1,"tpm":2,"rpm":null}}', "limits.rpm"),
        (b'{"name":"a","surprise":[{"b":1},{"b":1,"b":2,"b":3}]}', "surprise[1].b"),
    ],
)
def test_a_member_that_is_there_twice_is_no_choice_of_ours(body: bytes, param: str) -> None:
    with pytest.raises(AdminError) as caught:
        decode_body(body, NewKey)
    assert (caught.value.problem.status, caught.value.param, caught.value.detail) == (400, param, f"{param}: is given twice.")


def test_the_same_member_of_two_objects_is_no_repeat() -> None:
    body = b'{"name":"a","metadata":{"name":"b"},"limits":{"rpm":1},"quota":{"requests":1,"period":"day"}}'
    assert decode_body(body, NewKey).metadata == {"name": "b"}


@pytest.mark.parametrize("number", [b"9" * 5000, b"1e999", b"-0.0"])
def test_numbers_of_any_length_are_judged_by_their_member(number: bytes) -> None:
    with pytest.raises(AdminError) as caught:
        decode_body(b'{"name":' + number + b"}", NewKey)
    assert caught.value.problem.status == 400


def test_absent_and_null_differ() -> None:
    assert decode_body(b"{}", KeyChange).quota is msgspec.UNSET
    assert decode_body(b'{"quota":null}', KeyChange).quota is None


def test_depth_is_bounded() -> None:
    with pytest.raises(AdminError):
        decode_body(b"[" * 100_000, NewKey)


@pytest.mark.parametrize(
    ("pairs", "param"),
    [
        ([("limit", "x")], "limit"),
        ([("limit", "0")], "limit"),
        ([("limit", "5"), ("limit", "6")], "limit"),
        ([("status", "gone")], "status"),
        ([("status", "null")], "status"),
        ([("limit", "1e2")], "limit"),
        ([("limit", "9" * 40)], "limit"),
        ([("surprise", "1")], "surprise"),
    ],
)
def test_faults_of_a_query(pairs: list[tuple[str, str]], param: str) -> None:
    with pytest.raises(AdminError) as caught:
        decode_query(pairs, KeysQuery)
    assert caught.value.param == param


@pytest.mark.parametrize("value", ["0", "1700000000", "1.5", "null", " ", "2026-01-01", "2026-01-01T00:00:00"])
def test_times_of_other_forms(value: str) -> None:
    with pytest.raises(AdminError):
        decode_query([("from", value)], UsageQuery)


def test_query_values() -> None:
    assert decode_query([("limit", "5"), ("status", "active"), ("q", "")], KeysQuery) == KeysQuery(limit=5, status="active")
    # A + that nobody escaped comes as a blank.
    query = decode_query([("from", "2026-11-24T02:00:00+02:00"), ("to", "2026-11-24T05:30:00.5 05:30"), ("step", "1d")], UsageQuery)
    assert query.from_ == datetime(2026, 11, 24, tzinfo=UTC)
    assert query.to == datetime(2026, 11, 24, microsecond=500_000, tzinfo=UTC)
    assert query.step == "1d"


@pytest.mark.parametrize("message", [KeysQuery, UsageQuery])
def test_a_parameter_without_a_value_is_left_out(message: type[msgspec.Struct]) -> None:
    names = [field.encode_name for field in msgspec.structs.fields(message)]
    assert decode_query([(name, "") for name in names], message) == message()
    for fault in ([("surprise", "")], [("limit", ""), ("limit", "")]):
        with pytest.raises(AdminError):
            decode_query(fault, message)
