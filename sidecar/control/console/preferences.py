"""What each browser may choose: colours and keyboard shortcuts. Kept in a cookie of its own, which is no secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

COOKIE: Final = "sidecar-preferences"
KEPT_FOR: Final = 400 * 86400
THEMES: Final = ("auto", "light", "dark")


@dataclass(frozen=True, slots=True)
class Preferences:
    """The choices; the defaults are those of somebody who has not chosen."""

    theme: str = "auto"
    shortcuts: bool = True

    @classmethod
    def parse(cls, cookie: str) -> Preferences:
        """Read the cookie; what is not understood is as by default."""
        theme, _, shortcuts = cookie.partition(".")
        return cls(theme if theme in THEMES else "auto", shortcuts != "off")

    def __str__(self) -> str:
        """The value of the cookie."""
        return f"{self.theme}.{'on' if self.shortcuts else 'off'}"
