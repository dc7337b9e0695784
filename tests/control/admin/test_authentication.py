"""Who fails too often, and who has the same address."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from sidecar.control.admin.authentication import Actor, Authenticator
from sidecar.control.admin.errors import AdminError
from sidecar.keys.admin_tokens import PREFIX
from sidecar.keys.token import generate
from sidecar.throttle import Throttle
from tests.control.admin.conftest import Api

AT_ONCE, INTERVAL = 10, 0.05


async def test_who_fails_keeps_nobody_else_behind_the_same_proxy_out(api: Api) -> None:
    never_seen = await api.admin_token("operator")
    statuses = [(await api.call("GET", "/admin/v1/whoami", token=f"guess{number}"))[0] for number in range(25)]
    assert statuses[-1] == 429
    assert (await api.call("GET", "/admin/v1/whoami", token=never_seen))[0] == 200


@dataclass
class Desk:
    """An authenticator whose `good` tokens are operators'; time stands still."""

    now: float = 1000.0
    good: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    slow: bool = False

    def __post_init__(self) -> None:
        self.failures = Throttle(clock=lambda: self.now)
        lookups = Throttle(burst=AT_ONCE, interval=INTERVAL, clock=lambda: self.now)
        self._authenticator = Authenticator(self, self.failures, lookups, "ahk", self._report)

    async def actor(self, token: str) -> Actor | None:
        self.asked.append(token)
        if self.slow:
            await asyncio.sleep(0.01)
        return Actor("admin_token", "sat_1", "Olga", "operator") if token in self.good else None

    async def attempt(self, token: str, address: str = "192.0.2.1") -> str:
        """The actor's role, or the code of the refusal."""
        try:
            return (await self._authenticator.holder(token, address)).role
        except AdminError as error:
            return error.problem.code

    async def _report(self, error: AdminError, address: str) -> None:
        self.told.append(error.problem.code)


@pytest.fixture
async def desk() -> Desk:
    """One at which the twenty failures that an address has at once are used up."""
    desk = Desk()
    assert {await desk.attempt("wrong") for _ in range(20)} == {"invalid_admin_token"}
    return desk


async def test_look_ups_for_who_fails_too_often_are_bounded(desk: Desk) -> None:
    desk.asked.clear()
    assert {await desk.attempt(generate(PREFIX)) for _ in range(3 * AT_ONCE)} == {"too_many_failures"}
    assert len(desk.asked) == AT_ONCE
    desk.good.add(good := generate(PREFIX))
    assert await desk.attempt(good) == "too_many_failures"
    assert await desk.attempt(good, "192.0.2.2") == "operator", "the bound is the address's own"


async def test_the_bound_holds_while_the_store_takes_its_time(desk: Desk) -> None:
    desk.asked.clear()
    desk.slow = True
    answers = await asyncio.gather(*(desk.attempt(generate(PREFIX)) for _ in range(3 * AT_ONCE)))
    assert len(desk.asked) == AT_ONCE and {*answers} == {"too_many_failures"}


async def test_a_good_token_is_looked_up_at_once_and_takes_of_the_bound_only_the_first_time(desk: Desk) -> None:
    desk.good.add(good := generate(PREFIX))
    assert {await desk.attempt(good) for _ in range(3 * AT_ONCE)} == {"operator"}


async def test_the_bound_fills_up_again(desk: Desk) -> None:
    for _ in range(2 * AT_ONCE):
        await desk.attempt(generate(PREFIX))
    desk.good.add(good := generate(PREFIX))
    assert await desk.attempt(good) == "too_many_failures"
    desk.now += INTERVAL
    assert await desk.attempt(good) == "operator"


async def test_what_cannot_be_an_admin_token_is_not_looked_up(desk: Desk) -> None:
    desk.asked.clear()
    for token in ("", "wrong", "x" * 300, "\u00e9", generate("ahk"), generate(PREFIX)[:-1] + "!", generate(PREFIX) + "x"):
        assert await desk.attempt(token) == "too_many_failures", token
    assert desk.asked == []


async def test_a_failed_look_up_counts_and_is_told_as_any_failure(desk: Desk) -> None:
    desk.now += 2.9
    assert desk.failures.wait("192.0.2.1") == pytest.approx(0.1)
    assert await desk.attempt(generate(PREFIX)) == "too_many_failures"
    assert desk.failures.wait("192.0.2.1") == pytest.approx(3.0)
    assert desk.told == ["invalid_admin_token"] * 20 + ["too_many_failures"]
