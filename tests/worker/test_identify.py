"""Credentials, and the judgement on keys at their boundary seconds."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.keys.cache import MISS, Answer
from sidecar.keys.reader import Found
from sidecar.keys.record import Key, Secret
from sidecar.refusals import API_KEY_EXPIRED, INVALID_API_KEY, TOO_MANY_FAILURES, Refusal, Refused
from sidecar.settings.declaration import Bounds
from sidecar.throttle import Throttle
from sidecar.worker.client.head import HeadReader
from sidecar.worker.client.known_heads import KnownHeads
from sidecar.worker.client.request_head import RequestHead
from sidecar.worker.identify import Identifier, credential, end_of, judge, parameter_names
from tests.worker.plane import Keys

KEY = Key("key_1", "one", 0.0)
SECRET = Secret("sec_1", "d", "p", "h", 0.0)


def head(*fields: str, target: str = "/v1") -> RequestHead:
    return HeadReader(Bounds()).parse("".join(f"{line}\r\n" for line in (f"GET {target} HTTP/1.1", "Host: a", *fields, "")).encode())


@pytest.mark.parametrize("value", ["Bearer abc", "bearer abc", "BEARER   abc"])
def test_one_bearer_token(value: str) -> None:
    assert credential(head(f"Authorization: {value}")) == b"abc"


@pytest.mark.parametrize(
    ("fields", "target", "code"),
    [
        ([], "/v1", "missing_api_key"),
        (["Authorization: "], "/v1", "missing_api_key"),
        (["Authorization: Bearer"], "/v1", "missing_api_key"),
        (["Authorization: Token abc"], "/v1", "invalid_api_key"),
        (["Authorization: Bearer " + "a" * 4097], "/v1", "invalid_api_key"),
        (["Authorization: Bearer a b"], "/v1", "invalid_request"),
        (["Authorization: Bearer a,Bearer b"], "/v1", "invalid_request"),
        (["Authorization: Basic eDp5, Bearer b"], "/v1", "invalid_request"),
        (["Authorization: ", "Authorization: Bearer a"], "/v1", "invalid_request"),
        (["Authorization: Bearer a", "Authorization: "], "/v1", "invalid_request"),
        (["Authorization: Bearer a"], "/v1?x=1&access_token=", "invalid_request"),
        (["Authorization: Bearer a"], "/v1?access%5ftoken=b", "invalid_request"),
        (["Authorization: Bearer a"], "/v1?+access_token+=b", "invalid_request"),
        (["Authorization: Bearer a"], "/v1?x=1;access_token=b", "invalid_request"),
        (["Authorization: Bearer a"], "/v1?[access_token]=b", "invalid_request"),
        (["Authorization: Bearer a"], "/v1?x=1&a%5Baccess_token%5D=b", "invalid_request"),
    ],
)
def test_anything_else_is_refused(fields: list[str], target: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        credential(head(*fields, target=target))
    assert refused.value.refusal.code == code


@pytest.mark.parametrize("length", [1, 4096])
def test_a_token_has_a_greatest_length(length: int) -> None:
    assert credential(head("Authorization: Bearer " + "a" * length)) == b"a" * length


@pytest.mark.parametrize(
    ("token", "target", "code"),
    [
        ("ahk_b", "/v1", ""),
        ("ahk_b", "/v1?x=1", ""),
        ("blocklet-b", "/v1", ""),
        ("b", "/v1?access_token=c", "invalid_request"),
    ],
)
def test_the_token_of_a_remembered_form_is_judged_alike(token: str, target: str, code: str) -> None:
    heads = KnownHeads(HeadReader(Bounds()), Bounds())
    for presented in ("one", "two", token):
        read = heads.parse(f"GET {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {presented}\r\n\r\n".encode())
    assert read.token == token.encode()
    if not code:
        assert credential(read) == token.encode()
        return
    with pytest.raises(Refused) as refused:
        credential(read)
    assert refused.value.refusal.code == code


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (b"a=1", [b"a"]),
        (b"a", [b"a"]),
        (b"=1", [b""]),
        (b"a+b=1", [b"a b"]),
        (b"+a%5b+=1", [b"a", b""]),
        (b"a%2bb=1", [b"a+b"]),
        (b"a[b][c]=1", [b"a", b"b", b"", b"c", b""]),
        (b"[a]=1", [b"", b"a", b""]),
        (b"%5B+a=1", [b"", b"a"]),
        (b"a.b]c=1", [b"a", b"b", b"c"]),
        (b"%41=%42", [b"A"]),
        (b"a==1", [b"a"]),
        (b"a&b=x.y;c", [b"a", b"b", b"c"]),
    ],
)
def test_parameter_names_are_read_as_a_hub_reads_them(query: bytes, names: list[bytes]) -> None:
    assert parameter_names(query) == names


@given(st.binary(max_size=30))
def test_parameter_names_never_fail(query: bytes) -> None:
    assert not any(sign in name for name in parameter_names(query) for sign in (b"[", b"]", b"."))


@pytest.mark.parametrize(
    ("key", "secret", "now", "code"),
    [
        ({"expires_at": 100.0}, {}, 99.999, ""),
        ({"expires_at": 100.0}, {}, 100.0, "api_key_expired"),
        ({"disabled": True}, {}, 0.0, "api_key_disabled"),
        ({"disabled": True, "expires_at": 1.0}, {}, 2.0, "api_key_expired"),
        ({"revoked_at": 5.0, "disabled": True, "expires_at": 1.0}, {}, 2.0, "api_key_revoked"),
        ({}, {"state": "retiring", "expires_at": 100.0}, 99.999, ""),
        ({}, {"state": "retiring", "expires_at": 100.0}, 100.0, "api_key_rotated"),
        ({}, {"state": "revoked"}, 0.0, "api_key_rotated"),
        ({}, {}, 1e12, ""),
        ({"revoked_at": 5.0}, {}, 6.0, "api_key_revoked"),
        ({}, {"expires_at": 100.0}, 99.999, ""),
        ({}, {"expires_at": 100.0}, 100.0, "api_key_rotated"),
        ({"expires_at": 50.0}, {"state": "retiring", "expires_at": 100.0}, 60.0, "api_key_expired"),
    ],
)
def test_a_key_lives_while_now_is_before_its_end(key: dict[str, object], secret: dict[str, object], now: float, code: str) -> None:
    changed, presented = msgspec.structs.replace(KEY, **key), msgspec.structs.replace(SECRET, **secret)
    if not code:
        judge(changed, presented, now)
        return
    with pytest.raises(Refused) as refused:
        judge(changed, presented, now)
    assert refused.value.refusal.code == code


async def test_an_address_that_keeps_failing_is_slowed_down_and_a_good_key_is_not() -> None:
    now = 0.0
    keys = Keys()
    token = keys.issue().encode()
    identifier = Identifier(keys, Throttle(burst=3, interval=10.0, clock=lambda: now), lambda found, token: None)

    async def fail() -> str:
        with pytest.raises(Refused) as refused:
            await identifier.find(b"ahk_wrong")
        return identifier.failure(refused.value, "192.0.2.1").refusal.code

    assert [await fail() for _ in range(5)] == ["invalid_api_key"] * 3 + ["too_many_failures"] * 2
    assert (await identifier.find(token)).key.id == "key_0000000000000000"
    now = 10.0
    assert await fail() == "invalid_api_key"


class _Verifier:
    """Has one answer in its cache and in its store."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def cached(self, token: bytes) -> Answer:
        return self._answer

    async def resolve(self, token: bytes) -> Found | None:
        return None


class _Attempts:
    """Asks for a wait, and notes what was charged."""

    def __init__(self, wait: float = 0.0) -> None:
        self._wait = wait
        self.charged: list[str] = []

    def wait(self, source: str) -> float:
        return self._wait

    def charge(self, source: str) -> None:
        self.charged.append(source)


def test_the_cache_knows_a_key_or_nobody_or_nothing() -> None:
    found = Found(KEY, SECRET)

    def known(answer: Answer) -> Found | None:
        return Identifier(_Verifier(answer), _Attempts(), lambda found, token: None).known(b"ahk_one")

    assert known(found) is found
    assert known(MISS) is None
    with pytest.raises(Refused, match="invalid_api_key"):
        known(None)


async def test_who_sends_a_key_of_the_hub_is_told_so_unless_somebody_has_it() -> None:
    def identifier(answer: Answer) -> Identifier:
        return Identifier(_Verifier(answer), _Attempts(), lambda found, token: None)

    found = Found(KEY, SECRET)
    assert identifier(found).known(b"blocklet-one") is found
    with pytest.raises(Refused, match="invalid_api_key") as told:
        identifier(None).known(b"blocklet-one")
    assert "access key of the hub itself" in told.value.detail
    with pytest.raises(Refused, match="invalid_api_key") as told:
        await identifier(MISS).find(b"blocklet-one")
    assert "access key of the hub itself" in told.value.detail


@pytest.mark.parametrize(
    ("refusal", "source", "wait", "answered", "charged"),
    [
        (INVALID_API_KEY, "192.0.2.1", 0.0, INVALID_API_KEY, ["192.0.2.1"]),
        (INVALID_API_KEY, "192.0.2.1", 0.5, TOO_MANY_FAILURES, []),
        (INVALID_API_KEY, "2001:db8:1:2::99", 0.0, INVALID_API_KEY, ["2001:db8:1:2::/64"]),
        (INVALID_API_KEY, "", 0.5, INVALID_API_KEY, []),
        (API_KEY_EXPIRED, "192.0.2.1", 0.5, API_KEY_EXPIRED, []),
    ],
)
def test_only_unknown_keys_of_a_known_address_are_charged(
    refusal: Refusal, source: str, wait: float, answered: Refusal, charged: list[str]
) -> None:
    attempts, refused = _Attempts(wait), Refused(refusal)
    answer = Identifier(_Verifier(None), attempts, lambda found, token: None).failure(refused, source)
    assert (answer.refusal, answer.retry_after, attempts.charged) == (answered, wait if answered is TOO_MANY_FAILURES else None, charged)
    assert answer is refused or answered is not refusal


@pytest.mark.parametrize(
    ("key_ends", "secret_ends", "end"),
    [(None, None, None), (7.0, None, 7.0), (None, 5.0, 5.0), (7.0, 5.0, 5.0), (3.0, 5.0, 3.0), (5.0, 5.0, 5.0)],
)
def test_a_request_ends_with_its_key_or_its_secret_whichever_is_first(
    key_ends: float | None, secret_ends: float | None, end: float | None
) -> None:
    secret = msgspec.structs.replace(SECRET, expires_at=secret_ends)
    assert end_of(Key("key_1", "app", 0.0, secrets=(secret,), expires_at=key_ends), secret) == end
