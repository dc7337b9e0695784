"""An anomaly as people see it: one episode of unusual use, with its evidence in words and what was done."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sidecar.control.anomaly.detectors.signals import LEVELS, Level
from sidecar.settings.declaration import OnAnomaly

State = Literal["open", "acknowledged", "closed"]
Subject = Literal["key", "source"]


class Evidence(msgspec.Struct, frozen=True):
    """One signal of an episode."""

    signal: Annotated[str, Meta(description="Name of the signal.")]
    weight: Annotated[int, Meta(description="What it adds to the score.")]
    since: Annotated[float, Meta(description="When it was raised, Unix time.")]
    text: Annotated[str, Meta(description="What was seen, in words.")]


class Response(msgspec.Struct, frozen=True):
    """What was done about a page, or would have been."""

    action: Annotated[OnAnomaly, Meta(description="observe, notify, throttle or disable.")]
    shadow: Annotated[bool, Meta(description="True: only recorded, because anomaly.shadow is on.")]
    at: Annotated[float, Meta(description="When, Unix time.")]
    until: Annotated[float | None, Meta(description="End of a throttle, Unix time.")] = None
    failed: Annotated[str, Meta(description="Why it could not be done; empty when it was.")] = ""


class Anomaly(msgspec.Struct):
    """One episode of one key, or of one network that touches many keys. Times are Unix seconds."""

    id: str
    subject: Subject
    key_id: str
    """Empty for a source."""
    key_name: str
    source: str
    """The network of a source; empty for a key."""
    level: Level
    score: int
    """The highest that it reached."""
    started_at: float
    updated_at: float
    signals: list[Evidence] = []
    state: State = "open"
    active: list[str] = []
    """Names of the signals that are up now."""
    warned_at: float | None = None
    paged_at: float | None = None
    ended_at: float | None = None
    quiet_since: float | None = None
    policy: str = ""
    """What a page is to do, once that is known."""
    responses: list[Response] = []
    acknowledged_at: float | None = None
    acknowledged_by: str = ""
    reason: str = ""
    muted_until: float | None = None
    instance: str = ""
    """The sidecar that saw it."""

    @property
    def name_of_subject(self) -> str:
        """Under which the detection follows it: the key's id, or the network's name."""
        return self.key_id or self.source

    @property
    def summary(self) -> str:
        """The evidence in one sentence, the heaviest first."""
        ordered = sorted(self.signals, key=lambda evidence: -evidence.weight)
        text = "; ".join(evidence.text for evidence in ordered)
        return text[:1].upper() + text[1:]

    def rises_to(self, level: Level) -> bool:
        """Take the higher of the two levels; True when that is a change."""
        if LEVELS.index(level) <= LEVELS.index(self.level):
            return False
        self.level = level
        return True


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Anomaly)

encode = _encoder.encode
decode = _decoder.decode
