"""What a key may do, as a table."""

from __future__ import annotations

from contextlib import nullcontext

import msgspec
import pytest

from sidecar.hubs.profile import Route
from sidecar.keys.record import Key
from sidecar.refusals import Refused
from sidecar.worker.authorize import LONGEST_MATCHED, address_allowed, check_models, check_use

KEY = Key("key_1", "one", 0.0)
CHAT = Route(name="chat", methods=("POST",), path="/api/v2/chat", group="chat")
ACCOUNT = Route(name="user-info", methods=("GET",), path="/api/user/info", group="account", opt_in=True)


def verdict(route: Route = CHAT, client: str = "192.0.2.7", now: float = 0.0, **fields: object) -> str:
    try:
        check_use(msgspec.structs.replace(KEY, **fields), route.methods[0], route.path, route, client, now)
    except Refused as refused:
        return refused.refusal.code
    return ""


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, ""),
        ({"allowed_ips": ("192.0.2.0/24",)}, ""),
        ({"allowed_ips": ("192.0.2.7",)}, ""),
        ({"allowed_ips": ("192.0.2.8/32", "2001:db8::/32")}, "ip_not_allowed"),
        ({"allowed_ips": ()}, "ip_not_allowed"),
        ({"allowed_routes": ("chat",)}, ""),
        ({"allowed_routes": ("image",)}, "route_not_allowed"),
        ({"allowed_routes": ()}, "route_not_allowed"),
        ({"throttled_until": 10.0}, "abnormal_usage_detected"),
        ({"throttled_until": 10.0, "allowed_ips": ()}, "abnormal_usage_detected"),
    ],
)
def test_use(fields: dict[str, object], code: str) -> None:
    assert verdict(**fields) == code


def test_opt_in_routes_need_to_be_named() -> None:
    assert verdict(ACCOUNT) == "route_not_allowed"
    assert verdict(ACCOUNT, allowed_routes=("chat",)) == "route_not_allowed"
    assert verdict(ACCOUNT, allowed_routes=("account",)) == ""


def test_a_throttle_ends_at_its_second() -> None:
    assert verdict(now=9.999, throttled_until=10.0) == "abnormal_usage_detected"
    assert verdict(now=10.0, throttled_until=10.0) == ""


@pytest.mark.parametrize(
    ("networks", "client", "allowed"),
    [
        (("10.0.0.0/8",), "10.255.255.255", True),
        (("10.1.2.3/8",), "10.255.255.255", True),
        (("10.0.0.0/8",), "11.0.0.0", False),
        (("10.0.0.0/8",), "::ffff:10.0.0.1", True),
        (("2001:db8::/32",), "2001:db8::1", True),
        (("0.0.0.0/0",), "2001:db8::1", False),
        (("0.0.0.0/0", "::/0"), "", False),
        (("0.0.0.0/0",), "not an address", False),
    ],
)
def test_addresses(networks: tuple[str, ...], client: str, allowed: bool) -> None:
    assert address_allowed(networks, client) is allowed


@pytest.mark.parametrize(
    ("allowed", "models", "refused"),
    [
        (None, (), False),
        (None, ("any",), False),
        ((), ("any",), True),
        (("a",), ("a",), False),
        (("a",), ("A",), True),
        (("a",), ("a", "b"), True),
        (("a",), (), True),
        (("openai/*",), ("openai/gpt-5",), False),
        (("openai/*",), ("openai",), True),
        (("openai/*",), ("openai-gpt-5",), True),
        (("openai/*",), ("other/openai/gpt-5",), True),
        (("openai/*",), ("openai/gpt-5,anthropic/claude",), True),
        (("openai/*",), ("openai/gpt-5, openai/gpt-4",), True),
        (("openai/*", "a,b"), ("a,b",), False),
        (("*",), ("a,b,",), False),
        (("a*", "b"), ("b", "ab", "a", "b"), False),
        (("a*", "b"), ("b", "ab", "ba"), True),
        (("*-mini",), ("openai/gpt-5-mini",), False),
        (("*-mini",), ("-mini",), False),
        (("*-mini",), ("openai/gpt-5-mini-2026",), True),
        (("*-mini",), ("openai/gpt-5-MINI",), True),
        (("openai/*-mini",), ("openai/gpt-5-mini",), False),
        (("openai/*-mini",), ("openai/-mini",), False),
        (("openai/*-mini",), ("azure/openai/gpt-5-mini",), True),
        (("openai/*/i-mini",), ("openai/i-mini",), True),
        (("*gpt*",), ("openai/gpt-5-mini",), False),
        (("*gpt*",), ("gpt",), False),
        (("*gpt*",), ("openai/g-p-t",), True),
        (("*a*b*c",), ("abc",), False),
        (("*a*b*c",), ("-a-b-b-c-c",), False),
        (("*a*b*c",), ("b-a-c",), True),
        (("a*aa*a",), ("aaaa",), False),
        (("a*aa*a",), ("aaa",), True),
        (("a*b*b",), ("ab",), True),
        (("a.c*d",), ("abcd",), True),
        (("a**",), ("ab",), False),
        (("**",), ("a,b",), False),
        (("*mini", "*gpt*"), ("openai/gpt-5,anthropic/claude-mini",), True),
        (("*-mini", "o*o"), ("oo", "x-mini", "*-mini"), False),
        (("*-mini", "o*o"), ("oo", "x-mini", "o"), True),
        (("*o",), ("o" * LONGEST_MATCHED,), False),
        (("*o",), ("o" * (LONGEST_MATCHED + 1),), True),
        (("*a" * 127 + "*b",), ("a" * LONGEST_MATCHED,), True),
    ],
)
def test_every_model_that_could_be_dispatched_must_be_listed(
    allowed: tuple[str, ...] | None, models: tuple[str, ...], refused: bool
) -> None:
    key = msgspec.structs.replace(KEY, allowed_models=allowed)
    if not refused:
        check_models(key, models)
        return
    with pytest.raises(Refused) as raised:
        check_models(key, models)
    assert (raised.value.refusal.code, raised.value.param) == ("model_not_allowed", "model")


@pytest.mark.parametrize(
    ("allowed", "models", "refused"),
    [
        (("hub/a",), ("a",), False),
        (("hub/a",), ("b",), True),
        (("hub/*",), ("b",), False),
        (("a", "hub/b-*"), ("a", "b-1"), False),
        (("hub/",), ("",), True),
        (("hub/hub/a",), ("a",), True),
    ],
)
def test_a_list_may_be_written_with_the_prefix_that_is_cut_off_models(
    allowed: tuple[str, ...], models: tuple[str, ...], refused: bool
) -> None:
    key = msgspec.structs.replace(KEY, allowed_models=allowed)
    with pytest.raises(Refused) if refused else nullcontext():
        check_models(key, models, prefix="hub/")
    with pytest.raises(Refused):
        check_models(key, models)


@pytest.mark.parametrize(
    ("models", "told"),
    [
        (("a", "b"), "This API key may not use the model b."),
        ((), "This API key may use certain models only; name one in the request."),
        (("b-" * 500,), f"This API key may not use the model {'b-' * 64}."),
        ((f"{'k' * 43} x",), "This API key may not use the model … x."),
    ],
)
def test_the_refusal_says_which_model_is_not_listed(models: tuple[str, ...], told: str) -> None:
    with pytest.raises(Refused) as raised:
        check_models(msgspec.structs.replace(KEY, allowed_models=("a",)), models)
    assert raised.value.detail == told


@pytest.mark.parametrize(
    ("lacks", "told"),
    [
        ("json:input.model", "name one in the request's JSON member input.model."),
        ("form:model", "name one in the request's form field model."),
        ("query:model", "name one in the request's query parameter model."),
        ("path:2+", "name one in the request's path segment 2+."),
    ],
)
def test_a_model_that_is_named_elsewhere_only_is_refused(lacks: str, told: str) -> None:
    check_models(KEY, ("a",), lacks)
    with pytest.raises(Refused) as raised:
        check_models(msgspec.structs.replace(KEY, allowed_models=("a",)), ("a",), lacks)
    assert raised.value.refusal.code == "model_not_allowed"
    assert raised.value.detail == f"This API key may use certain models only; {told}"


class Counted(str):
    """A name that counts how often it is compared."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return str(self) == other

    def __hash__(self) -> int:
        return super().__hash__()


@pytest.mark.parametrize("asked", [[f"model-{number}" for number in range(1000)], ["other/x"] * 1000])
def test_many_names_are_not_each_compared_with_every_entry(asked: list[str]) -> None:
    allowed = (*(Counted(f"model-{number}") for number in range(1000)), "other/*")
    Counted.compared = 0
    check_models(msgspec.structs.replace(KEY, allowed_models=allowed), tuple(asked))
    assert Counted.compared <= 3000


def test_a_throttle_says_how_long_it_lasts() -> None:
    with pytest.raises(Refused) as refused:
        check_use(msgspec.structs.replace(KEY, throttled_until=10.0), "POST", CHAT.path, CHAT, "192.0.2.7", 4.0)
    assert refused.value.retry_after == 6.0
