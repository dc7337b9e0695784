"""Verdicts in the words of each proxy."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sidecar.refusals import Refused
from sidecar.worker.authz.dialect import CADDY, ENVOY, NGINX, TRAEFIK, Dialect
from sidecar.worker.authz.replies import last, reply, unpack
from sidecar.worker.authz.verdict import Denied, Granted

GRANTED = Granted(
    injected=b"authorization: Bearer x\r\n",
    passed=[b"Accept: */*\r\n", b"Content-Encoding: gzip\r\n"],
    dropped=b"cookie,x-user-did",
    target=b"/mount/a?b",
    client=b"x-ratelimit-limit-requests: 3\r\n",
    request_id=b"x-request-id: req_1\r\n",
)
DENIED = Denied(429, b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 2\r\n\r\n{}")


@pytest.mark.parametrize(
    ("dialect", "target", "dropped", "accept"),
    [(ENVOY, False, True, False), (NGINX, True, False, False), (TRAEFIK, False, False, True), (CADDY, True, False, False)],
)
def test_a_grant_says_what_the_proxy_can_use(dialect: Dialect, target: bool, dropped: bool, accept: bool) -> None:
    verdict = GRANTED if dialect.takes_removals else GRANTED._replace(dropped=b"")
    answer = reply(verdict, dialect)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"content-length: 0\r\n\r\n")
    assert b"authorization: Bearer x\r\n" in answer and b"x-request-id: req_1\r\n" in answer and b"x-ratelimit" in answer
    assert (b"x-sidecar-target: /mount/a?b\r\n" in answer) == target
    assert (b"x-envoy-auth-headers-to-remove: cookie,x-user-did\r\n" in answer) == dropped
    assert (b"Accept: */*\r\n" in answer) == accept
    assert b"gzip" not in answer, "it would describe this answer"


@pytest.mark.parametrize("dialect", [ENVOY, TRAEFIK, CADDY])
def test_a_refusal_goes_through_as_it_is(dialect: Dialect) -> None:
    assert reply(DENIED, dialect) == DENIED.answer


@pytest.mark.parametrize(
    ("status", "line"), [(401, b"HTTP/1.1 401 "), (429, b"HTTP/1.1 403 "), (503, b"HTTP/1.1 403 "), (200, b"HTTP/1.1 403 ")]
)
def test_for_nginx_it_is_packed(status: int, line: bytes) -> None:
    answer = reply(DENIED._replace(status=status), NGINX)
    assert answer.startswith(line)
    packed = answer.partition(b"x-sidecar-answer: ")[2].partition(b"\r\n")[0]
    assert unpack(packed, head_only=False) == DENIED.answer
    assert unpack(packed, head_only=True) == DENIED.answer[:-2]


def test_the_last_answer_of_a_connection_is_told_as_such() -> None:
    body = b"{\r\n\r\n}"
    assert last(b"HTTP/1.1 200 OK\r\na: b\r\n\r\n" + body) == b"HTTP/1.1 200 OK\r\na: b\r\nconnection: close\r\n\r\n" + body


@given(st.binary(max_size=200))
def test_nothing_else_is_unpacked(data: bytes) -> None:
    assume(not (data.startswith(b"HTTP/1.1 ") and b"\r\n\r\n" in data))  # that is an answer, and Hypothesis makes one now and then
    for packed in (data, urlsafe_b64encode(data)):
        with pytest.raises(Refused):
            unpack(packed, head_only=False)
