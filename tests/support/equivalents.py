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


_NEEDS_MEASURING = "if five[place] >= least and (five[place] > usual[peaks + 1] or minute[place] > usual[peaks]):"
_TOO_MUCH = "if len(head) > self._bounds.headers or (length is not None and length > self._bounds.body):"
_IS_LINE = "def __init__(self, status: int, field: tuple[bytes, bytes], length: int = -1, patience: float = -1.0) -> None:"
_SUMMED = "return list(map(sum, zip_longest(*lists, fillvalue=0))) if len(lists) > 1 else lists[0]"
_MOST_REQUESTS = (
    'if figures.output and outcome == "ok" and not (figures.credits or figures.images or figures.cached_input or figures.cache_creation):'
)
_OF_THE_LEDGER = 'like = ("ledger", kind, call.key_id, call.usage_source)'

EQUIVALENTS: tuple[Equivalent, ...] = (
    *_each(
        "control/anomaly/detectors/baseline",
        "the greater of two equal numbers is either",
        ("if minute[place] > hour[peak]:", "minute[place] >= hour[peak]"),
        ("if five[place] > hour[peak + 1]:", "five[place] >= hour[peak + 1]"),
    ),
    *_each(
        "control/anomaly/detectors/volume",
        "this only spares measuring: each line has the same floor or a higher one, and is above the peaks",
        (_NEEDS_MEASURING, "five[place] >= least or (five[place] > usual[peaks + 1] or minute[place] > usual[peaks])"),
        (_NEEDS_MEASURING, "five[place] >= usual[peaks + 1]"),
        (_NEEDS_MEASURING, "minute[place] >= usual[peaks]"),
    ),
    *_each(
        "control/totals/series",
        "the sums of one list are that list",
        (_SUMMED, "len(lists) >= 1"),
    ),
    *_each(
        "control/totals/series",
        "this only spares some work: the longer way leaves the zeros out as well",
        (_MOST_REQUESTS, "'ok!'"),
    ),
    *_each(
        "control/totals/sums",
        "a time that is the first or the last already changes nothing",
        ("if time > row.last:", "time >= row.last"),
        ("elif time < row.first:", "time <= row.first"),
    ),
    *_each(
        "control/totals/rows",
        "no time is none",
        ("if proxy < 0.0:", "proxy <= 0.0"),
    ),
    *_each(
        "control/totals/sums",
        "a head without traits is passed over as well",
        ("if len(record) < HEAD_SIZE or record[0] != MARK:", "len(record) <= HEAD_SIZE"),
    ),
    *_each(
        "control/totals/sums",
        "the word only keeps these rows apart from those of requests",
        (_OF_THE_LEDGER, "'ledger!'"),
    ),
    *_each(
        "events/wire",
        "a head without traits cannot be decoded either",
        ("if len(record) < HEAD_SIZE:", "len(record) <= HEAD_SIZE"),
    ),
    *_each(
        "control/usage/span",
        "minutes are kept from a whole hour on, which needs no rounding to one",
        ("if first < minutes_from:", "first <= minutes_from"),
        ("if last < minutes_from:", "last <= minutes_from"),
    ),
    *_each(
        "control/usage/span",
        "the rest of a minute ends within it, where no bucket does",
        ("calls = [each for each in calls if each[1] <= low or each[0] >= high]", "1"),
    ),
    *_each(
        "worker/upstream/plain",
        "an answer that begins with the end of a head has an empty status line, which is none",
        ('end = data.find(b"\\r\\n\\r\\n", 0, LONGEST_HEAD)', "1"),
        ("if end < 0:", "end <= 0"),
        ("if end < 0:", "1"),
    ),
    *_each(
        "worker/upstream/plain",
        "of what a line does not say only the sign is looked at",
        (_IS_LINE, "2"),
        (_IS_LINE, "2.0"),
        ("length, patience = -1, -1.0", "2"),
    ),
    *_each(
        "worker/upstream/plain",
        "a status line has no field, and a field no status",
        ('return _remember(self._status_lines, text, Line(status, (b"", b"")))', "b'!'"),
        ("line = Line(0, (name, value))", "1"),
    ),
    *_each(
        "limits/quota_period",
        "the end is the first instant of the next date, so that clocks show that date then",
        ("if now >= spans[1].end:", "now > spans[1].end"),
    ),
    *_each(
        "limits/quota_period",
        "the search finds midnight too, where it is not needed, and wherever before midnight it begins",
        ("if datetime.fromtimestamp(midnight - 1, zone).date() < day:", "midnight + 1"),
        ("low, high = midnight - 86400, midnight", "86401"),
    ),
    *_each(
        "limits/quota_period",
        "32 days after the first of a month are in the next one as well",
        ('return first + timedelta(days=7) if kind == "week" else (first + timedelta(days=31)).replace(day=1)', "32"),
    ),
    *_each(
        "worker/client/known_heads",
        "what is exactly at a bound the strict reader takes too",
        (_TOO_MUCH, "len(head) >= self._bounds.headers"),
        (_TOO_MUCH, "length >= self._bounds.body"),
    ),
    *_each(
        "worker/client/known_heads",
        "what stands for a value in a form's key is the same for all",
        ('parts[1] = parts[8] = b""', "b'!'"),
        ('parts[at + kind] = b""', "b'!'"),
    ),
    *_each(
        "worker/client/known_heads",
        "the longer way finds the same",
        ("if len(parts) == 13 and parts[1] is not None and parts[8] is not None:", "14"),
    ),
    *_each(
        "worker/client/address",
        "the name of an encoding is read without its punctuation",
        ('entries = [entry.strip() for entry in b",".join(forwarded_for).decode("latin-1").split(",")]', "'latin-1!'"),
    ),
)
