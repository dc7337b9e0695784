"""Between the form of a key and the API's messages: what goes out comes back, and faults find their fields."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.admin.decoding import decode_body
from sidecar.control.admin.errors import AdminError
from sidecar.control.admin.key_fields import new_members
from sidecar.control.admin.messages.keys import NewKey
from sidecar.control.admin.presenting import key_object
from sidecar.control.console.forms import LABELS, KeyForm, faults_by_field
from sidecar.keys.record import Key

words = st.text("abcxyz-*/", min_size=1, max_size=8)
numbers = st.one_of(st.just(""), st.integers(1, 10**6).map(str))
filled = st.fixed_dictionaries(
    {
        "name": words,
        "owner": st.one_of(st.just(""), words),
        "expires": st.sampled_from(["", "at"]),
        "expires_at": st.just("2031-01-31T13:05"),
        "allowed_models": st.one_of(st.just(""), st.just("none"), st.lists(words, min_size=1, unique=True).map("\n".join)),
        "allowed_ips": st.sampled_from(["", "none", "203.0.113.7", "203.0.113.0/24\n2001:db8::/32"]),
        "rpm": numbers,
        "tpm": numbers,
        "max_concurrency": numbers,
        "quota_tokens": numbers,
        "quota_period": st.sampled_from(["day", "week", "month"]),
        "quota_timezone": st.sampled_from(["UTC", "Europe/Berlin"]),
        "enforcement": st.sampled_from(["", "shadow"]),
        "on_anomaly": st.sampled_from(["", "disable"]),
        "tags": st.sampled_from(["", "a, b"]),
    }
)


def key_of(body: dict[str, Any]) -> Key:
    return Key(id="key_1", created_at=1.0, **new_members(decode_body(msgspec.json.encode(body), NewKey)))


@given(filled)
def test_a_form_makes_a_key_whose_form_is_the_same(given_: dict[str, str]) -> None:
    key = key_of(KeyForm(given_).body(now=0.0))
    again = KeyForm.of(key_object(key, None, 0.0))
    assert key_of(again.body(now=0.0)) == key
    assert again.limited == KeyForm(given_).limited and again.restricted == KeyForm(given_).restricted


def test_days_are_counted_from_now() -> None:
    assert KeyForm({"name": "a", "expires": "30"}).body(0.0)["expires_at"] == "1970-01-31T00:00:00+00:00"
    assert KeyForm({"name": "a", "expires": "999999999999"}).body(0.0)["expires_at"].startswith("20")


def test_faults_find_their_fields() -> None:
    found = faults_by_field(
        [
            ("limits.rpm", "expected `int | null`, got `str`"),
            ("allowed_ips[1]", "is not an address"),
            ("allowed_ips[2]", "is not an address"),
            ("quota", "must name requests, tokens or both"),
            ("quota.timezone", "is not an IANA time zone"),
            ("tags[0]", "must have printable characters only"),
        ]
    )
    assert found == {
        "rpm": "Must be a whole number of at least 1.",
        "allowed_ips": "Entry 2 is not an address.",
        "quota_requests": "Must name requests, tokens or both.",
        "quota_timezone": "Is not an IANA time zone.",
        "tags": "Entry 1 must have printable characters only.",
    }
    assert set(found) <= set(LABELS)


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"rpm": "9" * 16}, "rpm", "Must be 9\u202f007\u202f199\u202f254\u202f740\u202f991 at most."),
        ({"rpm": "9" * 17}, "rpm", "Must be 9\u202f007\u202f199\u202f254\u202f740\u202f991 at most."),
        ({"rpm": "1" + "0" * 5000}, "rpm", "Must be 9\u202f007\u202f199\u202f254\u202f740\u202f991 at most."),
        ({"rpm": "-" + "9" * 30}, "rpm", "Must be a whole number of at least 1."),
        ({"rpm": "many"}, "rpm", "Must be a whole number of at least 1."),
        ({"tags": "a" * 65}, "tags", "Entry 1 must have 64 characters at most."),
        ({"tags": ",".join(map(str, range(51)))}, "tags", "Must have 50 entries at most."),
        ({"name": "a" * 129}, "name", "Must have 128 characters at most."),
    ],
)
def test_what_is_too_much_is_said_in_words(fields: dict[str, str], field: str, sentence: str) -> None:
    with pytest.raises(AdminError) as caught:
        key_of(KeyForm({"name": "a", **fields}).body(now=0.0))
    assert faults_by_field(caught.value.faults) == {field: sentence}


def test_noughts_before_a_number_do_not_change_it() -> None:
    assert KeyForm({"rpm": "0" * 30 + "12", "tpm": "0"}).body(0.0)["limits"] == {"rpm": 12, "tpm": 0, "max_concurrency": None}
