"""What the limits mean, in a few lines: the model that the script is held against. Times are microseconds."""

from __future__ import annotations

from dataclasses import dataclass, field

from sidecar.keys.record import Key, Quota
from sidecar.limits.quota_period import Span, around
from sidecar.limits.turn import GRACE, LEASE

MINUTE = 60_000_000
LEASE_TIME, QUOTA_TIME = int(LEASE * 1e6), int((LEASE + GRACE) * 1e6)


def period(now: float, quota: Quota) -> Span:
    """The quota's period that the Unix time `now` is in."""
    return around(now, quota)[1]


@dataclass
class Model:
    """State of one key; every limit is enforced."""

    admitted: list[int] = field(default_factory=list)
    settled: list[tuple[int, int]] = field(default_factory=list)
    holds: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """Of a book and a request: expiry and amount. A quota's are called `=` and the request when that is over."""
    used: dict[str, int] = field(default_factory=dict)
    counted: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Of a request that was let in: when, and in which quota period."""

    def held(self, book: str, now: int, only: str = "") -> int:
        return sum(amount for (of, name), (expiry, amount) in self.holds.items() if of == book and expiry > now and name.startswith(only))

    def reasons(self, key: Key, now: int) -> list[str]:
        """Every limit that refuses."""
        quota, limits = key.quota, key.limits
        name = period(now / 1e6, quota).name if quota else ""
        spent = sum(tokens for time, tokens in self.settled if time > now - MINUTE)
        checks = [
            ("quota_requests", quota and quota.requests, self.used.get(name + ":requests", 0)),
            ("quota_tokens", quota and quota.tokens, self.used.get(name + ":tokens", 0) + self.held(name, now)),
            ("max_concurrency", limits.max_concurrency, self.held("slots", now)),
            ("rpm", limits.rpm, sum(time > now - MINUTE for time in self.admitted)),
            ("tpm", limits.tpm, spent + self.held("tpm", now)),
        ]
        refusing = [reason for reason, most, used in checks if most is not None and used >= most]
        done = self.held(name, now, only="=")
        is_spent = quota and quota.tokens is not None and self.used.get(name + ":tokens", 0) + done >= quota.tokens
        return ["quota_reserved" if reason == "quota_tokens" and not is_spent else reason for reason in refusing]

    def wait(self, key: Key, reason: str, now: int) -> int:
        """Until there is room, 0 for as soon as a request is over, of a limit that refuses."""
        limits, held = key.limits, self.held("tpm", now)
        if reason == "rpm" and limits.rpm is not None:
            return sorted(time for time in self.admitted if time > now - MINUTE)[-limits.rpm] + MINUTE - now
        if reason == "tpm" and limits.tpm is not None and held < limits.tpm:
            window = [each for each in self.settled if each[0] > now - MINUTE]
            return min(t for t, _ in window if held + sum(tokens for time, tokens in window if time > t) < limits.tpm) + MINUTE - now
        return 0

    def ask(self, key: Key, name: str, tokens: int, now: int) -> str:
        """The limit that refuses, a quota that is spent before the one that lasts longest, or the request is taken in."""
        if reasons := self.reasons(key, now):
            spent = [reason for reason in reasons if reason in ("quota_requests", "quota_tokens")]
            return (spent or sorted(reasons, key=lambda reason: -self.wait(key, reason, now)))[0]
        self.counted[name] = (now, period(now / 1e6, key.quota).name if key.quota else "")
        if key.limits.rpm is not None:
            self.admitted.append(now)
        if key.limits.max_concurrency is not None:
            self.holds["slots", name] = (now + LEASE_TIME, 1)
        if key.limits.tpm is not None:
            self.holds["tpm", name] = (now + LEASE_TIME, tokens)
        if key.quota:
            book = period(now / 1e6, key.quota).name
            if key.quota.requests is not None:
                self.used[book + ":requests"] = self.used.get(book + ":requests", 0) + 1
            if key.quota.tokens is not None:
                self.holds[book, name] = (now + QUOTA_TIME, tokens)
        return ""

    def end(self, name: str, tokens: int, now: int) -> None:
        self.holds.pop(("slots", name), None)
        expiry, _ = self.holds.pop(("tpm", name), (0, 0))
        if expiry > now:
            self.settled.append((now, tokens))
        for book, of in list(self.holds):
            if of == name and book[0].isdigit():
                expiry, _ = self.holds[book, of]
                if expiry > now:
                    del self.holds[book, of]
                    self.holds[book, "=" + name] = (now + QUOTA_TIME, tokens)

    def withdraw(self, name: str) -> None:
        at, book = self.counted.pop(name)
        if at in self.admitted:
            self.admitted.remove(at)
        if book + ":requests" in self.used:
            self.used[book + ":requests"] -= 1

    def renew(self, name: str, now: int) -> None:
        for (book, of), (expiry, amount) in list(self.holds.items()):
            if of == name and expiry > now:
                self.holds[book, of] = (now + (QUOTA_TIME if book[0].isdigit() else LEASE_TIME), amount)

    def fold(self, name: str, tokens: int) -> None:
        for book, of in list(self.holds):
            if of in (name, "=" + name) and book[0].isdigit():
                del self.holds[book, of]
                self.used[book + ":tokens"] = self.used.get(book + ":tokens", 0) + tokens
