"""What an answer has said so far. The last word wins, figures are never summed: hubs repeat them."""

from __future__ import annotations

import math
from typing import Any

from msgspec.structs import astuple

from sidecar.events.record import Tokens, UsageSource
from sidecar.hubs.usage.documents import Counts, Failure, Usage

LARGEST = 1 << 40
"""A larger figure is garbage. Millions of such must add up to less than 64 bits: a sum that the store cannot hold ends the fold."""


class Tally:
    """Collects figures, model and failure of one answer."""

    __slots__ = ("cache_creation_input", "cached_input", "credits", "error", "images", "input", "model", "output")

    def __init__(self) -> None:
        self.input: int | None = None
        self.output: int | None = None
        self.cached_input: int | None = None
        self.cache_creation_input: int | None = None
        self.credits: float | None = None
        self.images: int | None = None
        self.model = ""
        self.error: Failure = ""

    def replace(self, counts: Counts) -> None:
        """Take a usage object that stands for the whole answer so far; one that has no member of ours says nothing."""
        if not self._is_silent() and not any(figure is not None for figure in astuple(counts)):
            return
        self.input = self.output = self.cached_input = self.cache_creation_input = self.credits = None
        self.merge(counts)

    def merge(self, counts: Counts) -> None:
        """Take a usage object whose missing figures keep their last value."""
        # All of it in one step, in the order of their declaration: compiled code reaches a msgspec struct's fields slowly.
        (
            read_camel, written_camel, cached_camel, created_camel, credits, prompt_camel, completion_camel, read_snake, written_snake,
            prompt_snake, completion_snake, total, cached_snake, created_snake, prompt_details, input_details,
        ) = astuple(counts)  # fmt: skip
        read = _first(read_camel, prompt_camel, read_snake, prompt_snake)
        written = _first(written_camel, completion_camel, written_snake, completion_snake)
        if read is None and written is None:
            # Rerankers and some embedders say nothing but a total; all of it went in.
            read = count(total)
        cached = _first(cached_camel, cached_snake)
        created = _first(created_camel, created_snake)
        if prompt_details is not None or input_details is not None:
            if cached is None:
                cached = _first(_detail(prompt_details, "cached_tokens"), _detail(input_details, "cached_tokens"))
            if created is None:
                created = _first(_detail(prompt_details, "cache_write_tokens"), _detail(input_details, "cache_write_tokens"))
        self.input = self.input if read is None else read
        self.output = self.output if written is None else written
        self.cached_input = self.cached_input if cached is None else cached
        self.cache_creation_input = self.cache_creation_input if created is None else created
        if credits is not None:
            spent = amount(credits)
            self.credits = self.credits if spent is None else spent

    def name_model(self, *names: Any) -> None:
        """Take the first of `names` that is one."""
        for name in names:
            if isinstance(name, str) and name:
                self.model = name[:256]
                return

    def usage(self, complete: bool) -> Usage:
        """The answer's use; `complete` is False when it broke off."""
        silent = self._is_silent() and self.images is None
        source: UsageSource = "none" if silent else "hub" if complete else "partial"
        tokens = Tokens(
            self.input or 0,
            self.output or 0,
            self.cached_input or 0,
            self.cache_creation_input or 0,
            self.credits or 0.0,
            self.images or 0,
        )
        return Usage(tokens, self.model, source, self.error)

    def _is_silent(self) -> bool:
        """Whether no usage object has told a figure yet."""
        return (
            self.input is None
            and self.output is None
            and self.credits is None
            and self.cached_input is None
            and self.cache_creation_input is None
        )


def count(value: Any) -> int | None:
    """`value` as a number of things, None when it is none."""
    if type(value) is int:
        return value if 0 <= value < LARGEST else None
    if type(value) is float and value.is_integer():
        return count(int(value))
    return None


def amount(value: Any) -> float | None:
    """`value` as an amount of credits, None when it is none."""
    if type(value) not in (int, float) or not 0 <= value < LARGEST or not math.isfinite(value):
        return None
    return float(value)


def _first(*values: Any) -> int | None:
    for value in values:
        if value is None:
            continue
        if type(value) is int and 0 <= value < LARGEST:
            return value
        if (number := count(value)) is not None:
            return number
    return None


def _detail(details: Any, name: str) -> Any:
    return details.get(name) if isinstance(details, dict) else None
