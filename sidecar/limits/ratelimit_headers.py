"""The `x-ratelimit-*` headers in the form that OpenAI's clients read. Pure."""

from __future__ import annotations

from sidecar.limits.decision import Admission, Window

_MINUTE = 60.0
"""The window of a rate, in seconds: what every admission under one says of its end, since it is the newest there."""


def ratelimit_headers(admission: Admission) -> list[tuple[str, str]]:
    """The headers for an answer, refusals included; none for what the key has no limit on.

    `remaining` already counts this request, and its reservation for tokens.
    """
    headers = []
    for kind, window in (("requests", admission.requests), ("tokens", admission.tokens)):
        if window is not None:
            headers += _headers(kind, window)
    return headers


def duration(seconds: float) -> str:
    """`6m0s`, `1h0m0s`, `12s`, `1.5s`, `250ms`, `0s`: rounded up to a millisecond below a minute, to a second above."""
    if seconds == _MINUTE:
        return "1m0s"
    milliseconds = -int(-seconds * 1000 // 1)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds > 0 else "0s"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:g}s"
    minutes, rest = divmod(-(-milliseconds // 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"


def _headers(kind: str, window: Window) -> list[tuple[str, str]]:
    return [
        (f"x-ratelimit-limit-{kind}", str(window.limit)),
        (f"x-ratelimit-remaining-{kind}", str(window.remaining)),
        (f"x-ratelimit-reset-{kind}", duration(window.reset)),
    ]
