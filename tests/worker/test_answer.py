"""The form of refusals, for every row of the table."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.refusals import TABLE, Refusal, Refused
from sidecar.worker.answer import Answers

ANSWERS = Answers("aigne-hub")


@pytest.mark.parametrize("refusal", TABLE, ids=lambda refusal: f"{refusal.code}-{refusal.status}")
def test_every_refusal_is_whole(refusal: Refusal) -> None:
    raw = ANSWERS.refusal(Refused(refusal, retry_after=0.2 if refusal.status == 429 else None), "req_1", keep_alive=False)
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0].startswith(f"HTTP/1.1 {refusal.status} ")
    fields = {name: value for name, _, value in (line.partition(": ") for line in lines[1:])}
    assert int(fields["content-length"]) == len(body)
    assert fields["cache-control"] == "no-store" and fields["x-request-id"] == "req_1" and fields["access-control-allow-origin"] == "*"
    error = msgspec.json.decode(body)["error"]
    assert error == {"message": refusal.message, "type": refusal.type, "param": None, "code": refusal.code}
    assert ("www-authenticate" in fields) == (refusal.status == 401 or "one credential" in refusal.message)
    if refusal.status in (429, 503) and refusal.code != "insufficient_quota":
        assert int(fields["retry-after"]) >= 1
    if refusal.status == 405:
        assert "allow" in fields


@given(
    st.lists(
        st.tuples(
            st.sampled_from(TABLE),
            st.sampled_from(["", "Say it otherwise."]),
            st.sampled_from([None, "model"]),
            st.sampled_from([None, 0.2, 7, 61.5]),
            st.sampled_from([(), (("x-more", "1"),)]),
            st.booleans(),
            st.booleans(),
            st.sampled_from(["req_1", "req_2"]),
        ),
        max_size=30,
    )
)
def test_no_answer_depends_on_those_before_it(
    asked: list[tuple[Refusal, str, str | None, float | None, tuple[tuple[str, str], ...], bool, bool, str]],
) -> None:
    one = Answers("aigne-hub")
    for refusal, detail, param, retry_after, headers, keep_alive, head_only, request_id in asked:
        refused = Refused(refusal, detail, param=param, retry_after=retry_after, headers=headers)
        told = one.refusal(refused, request_id, keep_alive=keep_alive, head_only=head_only)
        assert told == Answers("aigne-hub").refusal(refused, request_id, keep_alive=keep_alive, head_only=head_only)
        assert told.count(request_id.encode()) == 1 and b"\0" not in told
        assert (b"connection: close" in told) != keep_alive and told.endswith(b"\r\n\r\n") == head_only
        assert retry_after is None or f"retry-after: {math.ceil(retry_after)}\r\n".encode() in told


def test_the_challenge_names_an_error_only_when_a_credential_was_sent() -> None:
    by_code = {refusal.code: refusal for refusal in TABLE}
    assert b'Bearer realm="aigne-hub"\r\n' in ANSWERS.refusal(Refused(by_code["missing_api_key"]), "r", keep_alive=True)
    assert b'error="invalid_token"' in ANSWERS.refusal(Refused(by_code["invalid_api_key"]), "r", keep_alive=True)


def test_head_gets_the_length_without_the_body() -> None:
    raw = ANSWERS.refusal(Refused(TABLE[0]), "r", keep_alive=True, head_only=True)
    assert raw.endswith(b"\r\n\r\n") and b"content-length: " in raw and b"connection: close" not in raw


@pytest.mark.parametrize(
    ("asked", "told"), [(None, b"*"), (b"authorization, x-a", b"authorization, x-a"), (b"a\x00b", b"*"), (b"x" * 5000, b"*")]
)
def test_a_preflight_allows_what_is_asked(asked: bytes | None, told: bytes) -> None:
    assert b"access-control-allow-headers: " + told + b"\r\n" in ANSWERS.preflight(asked, "r", keep_alive=True)
