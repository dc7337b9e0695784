"""Between the form of a key and the messages of the API. Pure.

The form has one text for each field; the API's own checks judge what it says, and their findings are
led back to the fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sidecar.control.admin.errors import AdminError
from sidecar.control.admin.messages.keys import KeyObject
from sidecar.control.console.text import whole

LABELS = {
    "name": "Name",
    "owner": "Owner",
    "expires_at": "Until",
    "allowed_routes": "Routes",
    "allowed_models": "Models",
    "allowed_ips": "Addresses",
    "rpm": "Requests a minute",
    "tpm": "Tokens a minute",
    "max_concurrency": "Requests at a time",
    "quota_requests": "Quota of requests",
    "quota_tokens": "Quota of tokens",
    "quota_timezone": "Time zone of the quota",
    "tags": "Tags",
}
_LISTS = ("allowed_routes", "allowed_models", "allowed_ips")
_LIMITS = ("rpm", "tpm", "max_concurrency")
_NONE = "none"
"""Written in a list to allow nothing at all, which an empty list does not say."""
_FIELD_OF = {"quota": "quota_requests", "quota.requests": "quota_requests", "quota.tokens": "quota_tokens"}
_FIELD_OF |= {"quota.timezone": "quota_timezone", "quota.period": "quota_requests"}
_DIGITS = 17
_INDEX = re.compile(r"\[.*?\]")


class KeyForm:
    """The fields of a key's form, each as the text that stands in it."""

    def __init__(self, given: Mapping[str, str] | None = None) -> None:
        given = given or {}

        def text(name: str, otherwise: str = "") -> str:
            return given.get(name, otherwise).replace("\r\n", "\n").strip()

        self.name = text("name")
        self.owner = text("owner")
        self.expires = text("expires")
        self.expires_at = text("expires_at")
        self.allowed_routes = text("allowed_routes")
        self.allowed_models = text("allowed_models")
        self.allowed_ips = text("allowed_ips")
        self.rpm = text("rpm")
        self.tpm = text("tpm")
        self.max_concurrency = text("max_concurrency")
        self.quota_requests = text("quota_requests")
        self.quota_tokens = text("quota_tokens")
        self.quota_period = text("quota_period", "month")
        self.quota_timezone = text("quota_timezone", "UTC")
        self.enforcement = text("enforcement")
        self.on_anomaly = text("on_anomaly")
        self.tags = text("tags")

    @classmethod
    def of(cls, key: KeyObject) -> KeyForm:
        """The form that says what `key` is."""
        quota = key.quota
        return cls(
            {
                "name": key.name,
                "owner": key.owner,
                "expires": "at" if key.expires_at is not None else "",
                "expires_at": "" if key.expires_at is None else key.expires_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M"),
                **{name: _lines(getattr(key, name)) for name in _LISTS},
                **{name: str(getattr(key.limits, name) or "") for name in _LIMITS},
                "quota_requests": str(quota.requests or "") if quota else "",
                "quota_tokens": str(quota.tokens or "") if quota else "",
                "quota_period": quota.period if quota else "month",
                "quota_timezone": quota.timezone if quota else "UTC",
                "enforcement": key.enforcement or "",
                "on_anomaly": key.on_anomaly or "",
                "tags": ", ".join(key.tags),
            }
        )

    @property
    def restricted(self) -> bool:
        """Whether an allow-list is filled in."""
        return bool(self.allowed_routes or self.allowed_models or self.allowed_ips)

    @property
    def limited(self) -> bool:
        """Whether a limit or quota is filled in."""
        return bool(self.rpm or self.tpm or self.max_concurrency or self.quota_requests or self.quota_tokens)

    @property
    def particular(self) -> bool:
        """Whether the key behaves unlike others."""
        return bool(self.enforcement or self.on_anomaly or self.tags)

    def body(self, now: float) -> dict[str, Any]:
        """The members of the API's message, the same for a new key and for a change; `now` is Unix seconds."""
        return {
            "name": self.name,
            "owner": self.owner,
            "expires_at": self._end(now),
            **{name: _entries(getattr(self, name)) for name in _LISTS},
            "limits": {name: _number(getattr(self, name)) for name in _LIMITS},
            "quota": self._quota(),
            "enforcement": self.enforcement or None,
            "on_anomaly": self.on_anomaly or None,
            "tags": [tag.strip() for tag in self.tags.split(",") if tag.strip()],
        }

    def changes(self, before: KeyForm, now: float) -> dict[str, Any]:
        """The members of `body` that say something else than those of `before`, the form as it was opened.

        A form shows less than a key holds: minutes of its end, tags between commas. What came back as it was shown must
        not take the place of the rest.
        """
        shown = before.body(now)
        return {name: value for name, value in self.body(now).items() if value != shown[name]}

    def contradictions(self, before: KeyForm | None, now: float) -> dict[str, str]:
        """Ends that the API would take, though nobody means them, by field: a date without effect, a new key that has ended already.

        `before` is the form as it was opened, None for a new key. Whoever chooses another end leaves the date that stood there.
        """
        if self.expires != "at":
            ignored = self.expires_at not in ("", before.expires_at if before is not None else "")
            return {"expires_at": "Has no effect so. Choose “until a date I choose” to have this date, or empty it."} if ignored else {}
        try:
            ended = before is None and datetime.fromisoformat(self._end(now) or "").timestamp() <= now
        except ValueError:
            # The API says what is wrong with it.
            ended = False
        return {"expires_at": "Must lie ahead: a new key would have ended already."} if ended else {}

    def _end(self, now: float) -> str | None:
        if self.expires == "at":
            return f"{self.expires_at}:00Z" if re.fullmatch(r".*T\d\d:\d\d", self.expires_at) else f"{self.expires_at}Z"
        if not re.fullmatch(r"[0-9]{1,99}", self.expires):
            # What is no number of days goes on as it is, for the API to refuse: it must not mean for ever.
            return self.expires or None
        end = datetime.fromtimestamp(int(now), UTC) + timedelta(days=min(int(self.expires), 36500))
        return end.isoformat()

    def _quota(self) -> dict[str, Any] | None:
        if not self.quota_requests and not self.quota_tokens:
            return None
        return {
            "requests": _number(self.quota_requests),
            "tokens": _number(self.quota_tokens),
            "period": self.quota_period,
            "timezone": self.quota_timezone,
        }


def faults_by_field(faults: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What the API found, by field of the form, one sentence for each."""
    found: dict[str, str] = {}
    for path, sentence in faults:
        place = _INDEX.sub("", path)
        name = _FIELD_OF.get(place, place.removeprefix("limits."))
        entry = re.search(r"\[(\d+)\]", path)
        where = f"Entry {int(entry[1]) + 1} " if entry else ""
        plain = _in_words(sentence)
        found.setdefault(name, f"{where}{plain}.".replace("..", ".") if where else plain[:1].upper() + plain[1:].rstrip(".") + ".")
    return found


def faults_of(error: AdminError, *fields: str) -> dict[str, str]:
    """The same of a form that has these fields; raises `error` again where it is no fault of theirs."""
    found = faults_by_field(error.faults)
    if error.problem.status != 400 or not found.keys() <= set(fields):
        raise error
    return found


def _in_words(sentence: str) -> str:
    """What the API says of types, for somebody who has filled in a form."""
    most = _MOST.fullmatch(sentence)
    if most:
        return f"must be {whole(int(most[2]))} at most" if most[1] is None else f"must have {most[2]} {_PARTS[most[1]]} at most"
    return _SENTENCES.get(sentence, sentence)


_MOST = re.compile(r"expected `(?:int|(str|array))(?: \| null)?`(?: of length)? <= (\d+)")
_PARTS = {"str": "characters", "array": "entries"}
_SENTENCES = {
    "expected `str` of length >= 1": "must not be empty",
    "expected `int | null`, got `str`": "must be a whole number of at least 1",
    "expected `int` >= 1": "must be a whole number of at least 1",
    "expected `datetime | null`, got `str`": "must be a date and a time",
    "invalid RFC3339 encoded datetime": "must be a date and a time",
}


def _number(text: str) -> int | str | None:
    # What is no number goes on as it is, for the API to refuse; one of more digits than JSON has as a number that is refused, too.
    digits = re.fullmatch(r"(-?)0*(\d+)", text)
    return int(digits[1] + digits[2][:_DIGITS]) if digits else text or None


def _entries(text: str) -> list[str] | None:
    entries = [line.strip() for line in text.split("\n") if line.strip()]
    if entries == [_NONE]:
        return []
    return entries or None


def _lines(values: list[str] | None) -> str:
    return "" if values is None else "\n".join(values) or _NONE
