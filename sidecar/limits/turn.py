"""The language between the limiter and `limits.lua`: what is kept where, what a turn says, what it answers.

A key's state is in four names of one slot (names.limit). All times are microseconds of the store's
own clock, so that every worker and every replica goes by one clock; amounts are requests or tokens.

- `rpm`, list: the time of each admission in the last 60 s, oldest first; without those that were withdrawn.
- `settled`, list: pairs of a time and the tokens counted up to it; what finished requests used in the last 60 s.
- `holds`, sorted set by expiry: what requests under way keep from others. A member is
  `<book>/<request>/<amount>`; its book is `slots`, `tpm`, the name of a quota period, or `slots+tpm`:
  a place and this amount of tokens.
- `counts`, hash: `<book>:held`, the sum of that book's members; `<period>:requests` and
  `<period>:tokens`, what a quota period has used; `<period>:done`, the part of `<period>:held` that is
  used and yet to be settled; `period`, the last one seen; `clock`, the last turn.

A worker takes holds when it admits, renews them while the request runs, and ends them with the
request; what it leaves behind when it dies lapses `LEASE` seconds after the last renewal. A quota's
hold (tokens reserved) outlives its request: at its end the worker turns it into
`<period>/=<request>/<amount>`, what was used, and the ledger ends that when it folds the request's
event, in the script that moves its position, by calling `settle_quota` (store/lua) with the names
`holds` and `counts` of the key, the event's `quota_period`, which is the hold as it was taken, and
`counted(event.tokens)`. Either may come first. So used tokens are added exactly once and the quota never
sees a gap between reserved and used. Without an event (its worker died) the hold lapses `GRACE` seconds later
than a lease; a ledger that lags by more than that lets the quota overshoot by what it has yet to settle.
A quota counts what is metered, from the moment that it is given to the key.

A request that came to nothing after it was admitted, without any work of the hub's, is withdrawn: it is taken out of
`rpm` and `<period>:requests` again. The answer to it says where it was counted (`Counted`, left out where it is counted
nowhere), and the worker says that back. A hold has a name and ends once, however often that is said; a withdrawal has
none and counts each time, so a turn whose answer is lost never has it said again.

Only a turn in which somebody asks offers quota periods. One that renews or ends goes by the key as it was
when somebody asked here last, which may be before its quota was changed: offered, the periods of then
would have the use of the present ones forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from sidecar.keys.record import Key, Quota
from sidecar.limits.decision import Admission, Counted, Reason, Window
from sidecar.limits.quota_period import around
from sidecar.settings.declaration import Enforcement
from sidecar.store import names
from sidecar.store.errors import StoreUnavailable

LEASE = 25.0
"""Seconds that a hold lives without renewal: with what a renewal may be late, under the 30 s of the promise."""
GRACE = 60.0
"""Seconds that a quota's hold lives beyond the lease, for the ledger to settle it."""

_ORDER: tuple[Reason, ...] = ("quota_requests", "quota_tokens", "max_concurrency", "rpm", "tpm")
"""As in the script: of several limits that refuse, the client is told a quota that is spent, else the one that lasts longest."""

Argument = str | bytes | int | float


class OtherTime(StoreUnavailable):
    """The store's clock, which shows `store_time` (Unix seconds), is in none of the periods that a turn offered.

    The turn has done nothing.
    """

    def __init__(self, store_time: float) -> None:
        super().__init__("the clocks of this host and of the key store are days apart")
        self.store_time = store_time


class _Answer(msgspec.Struct, array_like=True, gc=False):
    """What the script says to one request: what is left of each limit, -1 where there is none, and microseconds."""

    reason: Reason
    shadow: Reason
    wait: float
    holds: tuple[str, ...]
    requests: int
    requests_reset: float
    tokens: int
    tokens_reset: float
    quota_requests: int
    quota_tokens: int
    quota_reset: float
    counted: Counted | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Answer] | int).decode


@dataclass(frozen=True, slots=True)
class Plan:
    """What the limits of a key come to: the store names, the script's arguments, and whether anything is enforced."""

    key_id: str
    names: tuple[str, ...]
    limits: dict[Reason, int]
    arguments: tuple[str, ...]
    quota: Quota | None
    enforced: bool


def plan(key: Key, enforcement: Enforcement) -> Plan | None:
    """The plan for `key`, `enforcement` being the sidecar's own mode; None when nothing limits it.

    The narrowest mode counts: the limit's (`limits.enforcement`, where `quota` stands for both
    quotas), else the key's, else the sidecar's. A limit that is off does not exist: nothing is
    counted. One in shadow counts what it would have let through.
    """
    modes = {reason: _mode(key, reason, enforcement) for reason in _ORDER}
    limits = {reason: most for reason, most in _declared(key).items() if modes[reason] != "off"}
    if not limits:
        return None
    return Plan(
        key_id=key.id,
        names=tuple(names.limit(key.id, what) for what in ("rpm", "settled", "holds", "counts")),
        limits=limits,
        arguments=tuple(_argument(limits.get(reason), modes[reason]) for reason in _ORDER),
        quota=key.quota if "quota_requests" in limits or "quota_tokens" in limits else None,
        enforced=any(modes[reason] == "enforce" for reason in limits),
    )


def turn(
    plan: Plan,
    now: float,
    *,
    ended: Sequence[tuple[str, int | None]] = (),
    renewed: Sequence[str] = (),
    asking: Sequence[tuple[str, int]] = (),
    withdrawn: Sequence[Counted] = (),
    store_time: int | None = None,
    lease: float = LEASE,
    grace: float = GRACE,
) -> list[Argument]:
    """ARGV of one turn.

    `ended`: holds of finished requests and the tokens that these used, None (not for a quota's) when that is not known
    and the estimate counts. `renewed`: holds of running ones. `asking`: the name and the estimated tokens of each
    request that wants to be admitted. `withdrawn`: where each one was counted that came to nothing. `now` (Unix seconds)
    only chooses the quota periods that are offered; which one it is, the store's clock decides. `store_time`
    (microseconds) takes that clock's place.
    """
    arguments: list[Argument] = [
        "" if store_time is None else store_time,
        int(lease * 1_000_000),
        int(grace * 1_000_000),
        _periods(now, plan.quota) if plan.quota and asking else "",
        *plan.arguments,
        # One argument, however many take part: as such each would cost a command's worth of time on both sides.
        _encode((tuple((hold, -1 if tokens is None else tokens) for hold, tokens in ended), renewed, asking, withdrawn)),
    ]
    return arguments


def read_answers(plan: Plan, reply: bytes) -> list[Admission]:
    """What the script answered to those who asked, in their order. Raises OtherTime."""
    answers = _decode(reply)
    if isinstance(answers, int):
        raise OtherTime(answers / 1_000_000)
    return [_admission(plan, answer) for answer in answers]


def _admission(plan: Plan, answer: _Answer) -> Admission:
    reason = answer.reason
    refused: Reason = "quota_tokens" if reason == "quota_reserved" else reason
    return Admission(
        allowed=not reason,
        reason=reason,
        shadow=answer.shadow,
        retry_after=max(1.0, answer.wait / 1_000_000) if reason else 0.0,
        requests=_window(plan, answer, refused, "rpm", "quota_requests"),
        tokens=_window(plan, answer, refused, "tpm", "quota_tokens"),
        quota_period=next((hold for hold in answer.holds if hold[0].isdigit()), "") if plan.quota is not None else "",
        key_id=plan.key_id,
        holds=answer.holds,
        counted=answer.counted,
    )


def possible_holds(plan: Plan, name: str, tokens: int) -> list[str]:
    """What a request that asked under `name` holds if it was admitted, but for the quota's hold."""
    holds = []
    if "max_concurrency" in plan.limits:
        holds.append(f"slots/{name}/1")
    if "tpm" in plan.limits:
        holds.append(f"tpm/{name}/{tokens}")
    # A limit in shadow may have been left out, so all three are possible.
    return [*holds, f"slots+tpm/{name}/{tokens}"] if len(holds) == 2 else holds


_LEFT: dict[Reason, tuple[str, str]] = {
    "rpm": ("requests", "requests_reset"),
    "tpm": ("tokens", "tokens_reset"),
    "quota_requests": ("quota_requests", "quota_reset"),
    "quota_tokens": ("quota_tokens", "quota_reset"),
}
"""Where an answer says how much is left of a limit, and until when."""


def _window(plan: Plan, answer: _Answer, refused: Reason, rate: Reason, quota: Reason) -> Window | None:
    """The rate limit, or the quota where there is no rate or it is the quota that refuses."""
    reported = quota if refused == quota or rate not in plan.limits else rate
    if reported not in plan.limits:
        return None
    remaining, reset = _LEFT[reported]
    return Window(plan.limits[reported], getattr(answer, remaining), getattr(answer, reset) / 1_000_000)


def _declared(key: Key) -> dict[Reason, int]:
    quota = key.quota or Quota()
    declared: dict[Reason, int | None] = {
        "quota_requests": quota.requests,
        "quota_tokens": quota.tokens,
        "max_concurrency": key.limits.max_concurrency,
        "rpm": key.limits.rpm,
        "tpm": key.limits.tpm,
    }
    return {reason: most for reason, most in declared.items() if most is not None}


def _mode(key: Key, reason: Reason, enforcement: Enforcement) -> Enforcement:
    own = key.limits.enforcement or {}
    return own.get("quota" if reason.startswith("quota") else reason) or key.enforcement or enforcement


def _argument(most: int | None, mode: Enforcement) -> str:
    if most is None:
        return ""
    return f"~{most}" if mode == "shadow" else str(most)


def _periods(now: float, quota: Quota) -> str:
    spans = around(now, quota)
    return " ".join(f"{span.start} {span.name}" for span in spans) + f" {spans[-1].end}"
