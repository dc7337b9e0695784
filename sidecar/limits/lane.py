"""A lane: everything that is to be told to the store about one key, strictly in order.

Order matters: a slot that is given back must be free before the next request of the same worker
asks, and a renewal must never overtake the end of the request that it renews. So a lane has at most
one turn under way, and what comes up meanwhile is gathered for the next one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from sidecar.limits.decision import Admission, Counted
from sidecar.limits.turn import LEASE, Argument, Plan, possible_holds, read_answers, turn

MOST_PER_TURN = 256
"""Requests, ends, withdrawals or renewals in one turn: a script runs alone in the store, so none may take long."""
MOST_DOUBTS = 1024
"""Requests without an answer whose holds are ended to be sure; the first to ask are the likeliest to hold anything."""


@dataclass(slots=True, eq=False)
class Ask:
    """A request that wants to be admitted."""

    name: str
    tokens: int
    answer: asyncio.Future[Admission]


@dataclass(slots=True, eq=False)
class End:
    """A hold that is over; `tokens` are what its request counts for in the hold's book, None for as many as were estimated."""

    hold: str
    tokens: int | None
    since: float


@dataclass(slots=True, eq=False)
class Lane:
    """What waits for the next turn, and what the turn under way has taken along."""

    plan: Plan
    """Of the key as it was when somebody asked last."""
    asking: list[Ask] = field(default_factory=list)
    ending: list[End] = field(default_factory=list)
    withdrawing: list[Counted] = field(default_factory=list)
    renewing: list[str] = field(default_factory=list)
    running: set[str] = field(default_factory=set)
    """Holds of requests under way."""
    is_busy: bool = False
    ahead: float = 0.0
    """Seconds by which the store's clock is taken to be ahead of the wall clock here."""
    _plan: Plan | None = None
    """Of the turn under way: the key may change meanwhile, and with it `plan`."""
    _asked: list[Ask] = field(default_factory=list)
    _ended: list[End] = field(default_factory=list)
    _withdrawn: list[Counted] = field(default_factory=list)
    _wall_time: float = 0.0
    _is_again: bool = False
    """Whether the turn under way was said before, by a time that was not the store's."""

    @property
    def has_work(self) -> bool:
        """Whether the next turn has anything to say."""
        return bool(self.asking or self.ending or self.withdrawing or self.renewing)

    @property
    def is_idle(self) -> bool:
        """Whether the lane can be forgotten."""
        return not (self.is_busy or self.running or self.has_work)

    def admit(self, admission: Admission) -> None:
        """Keep the holds of a request that begins."""
        self.running.update(admission.holds)

    def end(self, admission: Admission, tokens: int | None, metered: int, now: float) -> None:
        """Give the holds of a finished request back. That of its quota becomes one of `metered` tokens, which the ledger ends."""
        for hold in admission.holds:
            self.running.discard(hold)
            self.ending.append(End(hold, metered if hold == admission.quota_period else tokens, now))

    def abandon(self, admission: Admission, now: float) -> None:
        """Give back everything of a request that nobody waits for any more."""
        self.ending += (End(hold, 0, now) for hold in admission.holds)

    def begin(self, wall_time: float) -> list[Argument]:
        """ARGV of the next turn, `wall_time` in Unix seconds; `finish` or `fail` must follow, or `repeat` and another `begin`."""
        self.is_busy = True
        self._wall_time = wall_time
        self._plan = self.plan
        self._asked, self.asking = self.asking[:MOST_PER_TURN], self.asking[MOST_PER_TURN:]
        self._ended, self.ending = self.ending[:MOST_PER_TURN], self.ending[MOST_PER_TURN:]
        self._withdrawn, self.withdrawing = self.withdrawing[:MOST_PER_TURN], self.withdrawing[MOST_PER_TURN:]
        renewed = [hold for hold in self.renewing[:MOST_PER_TURN] if hold in self.running]
        self.renewing = self.renewing[MOST_PER_TURN:]
        return turn(
            self.plan,
            wall_time + self.ahead,
            ended=[(end.hold, end.tokens) for end in self._ended],
            renewed=renewed,
            asking=[(ask.name, ask.tokens) for ask in self._asked],
            withdrawn=self._withdrawn,
        )

    def finish(self, reply: bytes, now: float) -> None:
        """The store's answers to those who asked. Raises OtherTime, and the turn is still under way."""
        answers = read_answers(self._plan or self.plan, reply)
        asked, self._asked, self._ended, self._withdrawn = self._asked, [], [], []
        self.is_busy = self._is_again = False
        for ask, decided in zip(asked, answers, strict=True):
            if ask.answer.done():
                self.abandon(decided, now)
            else:
                self.admit(decided)
                ask.answer.set_result(decided)

    def repeat(self, store_time: float) -> bool:
        """Say the turn under way again, by the store's own clock. False when that has been tried: then it fails.

        What was to be renewed is not said again, its time comes before it lapses.
        """
        if self._is_again:
            # A clock that runs wild would have the turn go round without end, and all who ask wait.
            return False
        self.ahead = store_time - self._wall_time
        # It has done nothing, so that withdrawals may be said again too.
        self.asking[:0], self.ending[:0], self.withdrawing[:0] = self._asked, self._ended, self._withdrawn
        self._asked, self._ended, self._withdrawn, self.is_busy, self._is_again = [], [], [], False, True
        return True

    def fail(self, error: Exception, now: float) -> None:
        """No answer: those who asked are told; what has ended is tried again for as long as its holds can live.

        The store may have decided all the same, and only its answer was late. So what was withdrawn stays counted: said
        twice, it would take back what another request was counted for.
        """
        asked, self._asked, self.is_busy, self._is_again = self._asked, [], False, False
        self.ending = [end for end in (*self._ended, *self.ending) if now - end.since < LEASE]
        self._ended, self._withdrawn = [], []
        for ask in asked:
            if len(self.ending) < MOST_DOUBTS:
                self.ending += (End(hold, 0, now) for hold in possible_holds(self._plan or self.plan, ask.name, ask.tokens))
            if not ask.answer.done():
                ask.answer.set_exception(error)
