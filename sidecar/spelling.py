"""Guesses which known name was meant by one that is unknown. A guess never repeats what was typed, which may be a secret."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_PARTS = re.compile("[-_]+")


def did_you_mean(typed: str, known: Iterable[str]) -> str:
    """`; did you mean X?`, to be put behind a fault, with the closest name of `known`; empty when none is close.

    A name is also close by one of its words, the shortest such name first: --tokn is meant for --admin-token-file.
    The dashes of options do not count, or --tokn would be as close to --json.
    """
    names = {name.strip("-_"): name for name in known}
    words: dict[str, str] = {}
    for bare in sorted(names, key=len):
        for word in (bare, *_PARTS.split(bare)):
            words.setdefault(word, names[bare])
    close = difflib.get_close_matches(typed.strip("-_"), words, n=1)
    return f"; did you mean {words[close[0]]}?" if close else ""
