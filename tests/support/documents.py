"""The project's documents as data: their fenced blocks and links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.support.source import ROOT

_FENCE = re.compile(r"(?:<!-- run: (?P<run>[^>]+?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block; `run` is what the comment above it says."""

    file: Path
    language: str
    run: str
    text: str


def documents() -> list[Path]:
    """Every Markdown file of the project."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")])


def blocks(file: Path) -> list[Block]:
    """The fenced blocks of a document."""
    found = _FENCE.finditer(file.read_text(encoding="utf-8"))
    return [Block(file, match["language"], match["run"] or "", match["text"]) for match in found]


def links(file: Path) -> list[str]:
    """The targets of a document's links, those in fenced blocks left out."""
    return [match["target"] for match in _LINK.finditer(_FENCE.sub("", file.read_text(encoding="utf-8")))]


def anchors(file: Path) -> set[str]:
    """What a link into a document can name: its headings as GitHub and GitLab spell them."""
    headings = _HEADING.findall(_FENCE.sub("", file.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}
