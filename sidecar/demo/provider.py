"""The model behind the demo hub: what it says to a prompt, how long it takes, and how it fails when asked to.

Faults are chosen by model name (`FAULTS`), so that anyone can show any of them with one curl.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

FAULTS = {
    "demo/slow": "waits 2 s, or the seconds behind a colon (demo/slow:0.5), before it begins",
    "demo/hang": "never answers",
    "demo/error": "fails with 500",
    "demo/rate-limited": "fails with 429",
    "demo/no-credit": "the hub's own account is empty: 402",
    "demo/broken": "breaks off in the middle of its answer",
    "demo/silent": "answers without saying what it used",
    "demo/long": "says 1,000 words, or the number behind a colon (demo/long:50)",
    "demo/large": "speaks 1 MiB of audio, or the number behind a colon (demo/large:200)",
}
_SENTENCE = (
    "This is the demo hub. It understands nothing, yet it answers like the real one: word by word, with a count of what was used, and with "
    "the errors that a provider makes. Ask for the model demo/error or demo/slow, or for events of demo/broken, "
    "to see how the sidecar takes them."
)


class ProviderError(Exception):
    """The provider refuses."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Work:
    """What a model will do for one request."""

    model: str
    words: tuple[str, ...]
    input_tokens: int
    wait: float = 0.0
    error: tuple[int, str] | None = None
    breaks: bool = False
    silent: bool = False
    mebibytes: int = 0

    @property
    def text(self) -> str:
        """All that it says."""
        return " ".join(self.words)

    @property
    def output_tokens(self) -> int:
        """One for each word."""
        return len(self.words)


def plan(model: str, prompt: Any) -> Work:
    """What `model` does with `prompt`, a text or any JSON value that holds texts. A token is a word."""
    words = words_of(prompt)
    name, _, argument = model.partition(":")
    number = float(argument) if argument.replace(".", "", 1).isdigit() else None
    said = (f'You said "{" ".join(words[:12])}".' if words else "You said nothing.") + f" {_SENTENCE}"
    spoken = tuple(said.split())
    if name == "demo/long":
        spoken = tuple((said.split() * 100)[: int(1000 if number is None else number)])
    errors = {"demo/error": (500, "provider failed"), "demo/rate-limited": (429, "429 slow down"), "demo/no-credit": (402, "buy credits")}
    wait = {"demo/slow": 2.0 if number is None else number, "demo/hang": float("inf")}.get(name, 0.0)
    return Work(
        model=model,
        words=spoken,
        input_tokens=len(words),
        wait=wait,
        error=errors.get(name),
        breaks=name == "demo/broken",
        silent=name == "demo/silent",
        mebibytes=int(number or 1) if name == "demo/large" else 0,
    )


async def begin(work: Work) -> None:
    """Take the time until the first word. Raises ProviderError."""
    if work.wait == float("inf"):
        await asyncio.Event().wait()
    if work.wait:
        await asyncio.sleep(work.wait)
    if work.error is not None:
        raise ProviderError(*work.error)


async def speak(work: Work, delay: float) -> AsyncIterator[str]:
    """Word by word, `delay` seconds apart; half of them when the work breaks off."""
    words = work.words[: len(work.words) // 2] if work.breaks else work.words
    for index, word in enumerate(words):
        if delay and index:
            await asyncio.sleep(delay)
        yield word if index == 0 else f" {word}"


def words_of(value: Any) -> list[str]:
    """The words of every text in `value`, the roles of messages left out."""
    if isinstance(value, str):
        return value.split()
    if isinstance(value, list):
        return [word for item in value for word in words_of(item)]
    if isinstance(value, dict):
        return [word for name, item in value.items() if name not in ("role", "type") for word in words_of(item)]
    return []
