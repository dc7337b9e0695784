"""How a command ends when it cannot do what was asked: one sentence that says what to do, and an exit code."""

from __future__ import annotations

REFUSED = 1
WRONG_USE = 2


class CommandError(Exception):
    """Ends a command; `str()` is the sentence for standard error, `code` the exit code."""

    def __init__(self, sentence: str, code: int = REFUSED) -> None:
        super().__init__(sentence)
        self.code = code
