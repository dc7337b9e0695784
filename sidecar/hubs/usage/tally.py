"""What an answer has said so far. The last word wins, figures are never summed: hubs repeat them."""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec

from sidecar.events.record import Tokens, UsageSource

Failure = Literal["", "empty_answer", "error_in_answer", "error_event", "error_text", "hub_rejected_credential"]
"""How a failure was hidden in a 200; a label of metrics, so a small fixed set."""

LARGEST = 1 << 53
"""Beyond it JSON numbers are not exact in the hubs' own language; a larger figure is garbage."""


class Usage(msgspec.Struct, frozen=True):
    """What one answer used, in the hub's own words.

    `tokens.input` is what the hub calls its input: OpenAI counts cached tokens in it, Anthropic beside it.
    `source` is `partial` when the answer broke off after figures were seen, `none` when it had none.
    """

    tokens: Tokens
    model: str
    source: UsageSource
    error: str
    """A failure hidden in a 200, as a short label; empty when there was none."""


class Counts(msgspec.Struct):
    """A usage object, in every spelling that hubs use. Values are judged one by one, so one that is garbage spoils no other."""

    inputTokens: Any = None  # noqa: N815
    outputTokens: Any = None  # noqa: N815
    cacheReadInputTokens: Any = None  # noqa: N815
    cacheCreationInputTokens: Any = None  # noqa: N815
    aigneHubCredits: Any = None  # noqa: N815
    promptTokens: Any = None  # noqa: N815
    completionTokens: Any = None  # noqa: N815
    input_tokens: Any = None
    output_tokens: Any = None
    prompt_tokens: Any = None
    completion_tokens: Any = None
    total_tokens: Any = None
    cache_read_input_tokens: Any = None
    cache_creation_input_tokens: Any = None
    prompt_tokens_details: Any = None
    input_tokens_details: Any = None


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
        """Take a usage object that stands for the whole answer so far."""
        self.input = self.output = self.cached_input = self.cache_creation_input = self.credits = None
        self.merge(counts)

    def merge(self, counts: Counts) -> None:
        """Take a usage object whose missing figures keep their last value."""
        read = _first(counts.inputTokens, counts.promptTokens, counts.input_tokens, counts.prompt_tokens)
        written = _first(counts.outputTokens, counts.completionTokens, counts.output_tokens, counts.completion_tokens)
        if read is None and written is None:
            # Rerankers and some embedders say nothing but a total; all of it went in.
            read = count(counts.total_tokens)
        cached = _first(
            counts.cacheReadInputTokens,
            counts.cache_read_input_tokens,
            _cached(counts.prompt_tokens_details),
            _cached(counts.input_tokens_details),
        )
        created = _first(counts.cacheCreationInputTokens, counts.cache_creation_input_tokens)
        self.input = self.input if read is None else read
        self.output = self.output if written is None else written
        self.cached_input = self.cached_input if cached is None else cached
        self.cache_creation_input = self.cache_creation_input if created is None else created
        credits_ = amount(counts.aigneHubCredits)
        self.credits = self.credits if credits_ is None else credits_

    def name_model(self, *names: Any) -> None:
        """Take the first of `names` that is one."""
        for name in names:
            if isinstance(name, str) and name:
                self.model = name[:256]
                return

    def usage(self, complete: bool) -> Usage:
        """The answer's use; `complete` is False when it broke off."""
        figures = (self.input, self.output, self.cached_input, self.cache_creation_input, self.credits, self.images)
        source: UsageSource = "none" if not any(figure is not None for figure in figures) else "hub" if complete else "partial"
        tokens = Tokens(
            self.input or 0,
            self.output or 0,
            self.cached_input or 0,
            self.cache_creation_input or 0,
            self.credits or 0.0,
            self.images or 0,
        )
        return Usage(tokens, self.model, source, self.error)


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
        if value is not None and (number := count(value)) is not None:
            return number
    return None


def _cached(details: Any) -> Any:
    return details.get("cached_tokens") if isinstance(details, dict) else None
