"""Mutants that no test can notice, since the module does the same with them; each with why.

The list is short and is kept honest: `tests.support.mutation` prints what it leaves out, and fails when an
entry is noticed after all or belongs to no mutant any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Equivalent(NamedTuple):
    """In `module`, the mutant that turns a part of `line` (as it stands, without its indent) into `becomes`."""

    module: str
    line: str
    becomes: str
    reason: str


def _each(module: str, reason: str, *changes: tuple[str, str]) -> Iterator[Equivalent]:
    return (Equivalent(module, line, becomes, reason) for line, becomes in changes)


_REQUESTS = "if five[SERVED] >= self.least_requests and (five[SERVED] > usual.five or minute[SERVED] > usual.minute):"
_TOKENS = "if five[TOKENS] >= self.least_tokens and (five[TOKENS] > usual.tokens_five or minute[TOKENS] > usual.tokens_minute):"

EQUIVALENTS: tuple[Equivalent, ...] = (
    *_each(
        "control/anomaly/baseline",
        "the greater of two equal numbers is either",
        ("if minute[SERVED] > hour.minute:", "minute[SERVED] >= hour.minute"),
        ("if five[SERVED] > hour.five:", "five[SERVED] >= hour.five"),
        ("if minute[TOKENS] > hour.tokens_minute:", "minute[TOKENS] >= hour.tokens_minute"),
        ("if five[TOKENS] > hour.tokens_five:", "five[TOKENS] >= hour.tokens_five"),
    ),
    *_each(
        "control/anomaly/volume",
        "this only spares measuring: each line has the same floor or a higher one, and is above the peaks",
        ("self.least_tokens = t.tokens_a_second * 60", "t.tokens_a_second + 60"),
        (_REQUESTS, "five[SERVED] >= self.least_requests or (five[SERVED] > usual.five or minute[SERVED] > usual.minute)"),
        (_REQUESTS, "five[SERVED] >= usual.five"),
        (_REQUESTS, "minute[SERVED] >= usual.minute"),
        (_TOKENS, "five[TOKENS] >= self.least_tokens or (five[TOKENS] > usual.tokens_five or minute[TOKENS] > usual.tokens_minute)"),
        (_TOKENS, "five[TOKENS] >= usual.tokens_five"),
        (_TOKENS, "minute[TOKENS] >= usual.tokens_minute"),
    ),
)
