"""A Dockerfile as data: what its last stage sets, so that a test can run the same thing without an engine."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Image:
    """What a container of the last stage starts with."""

    user: str = "root"
    workdir: str = "/"
    environment: dict[str, str] = field(default_factory=dict)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    run: list[str] = field(default_factory=list)


def last_stage(file: Path) -> Image:
    """Read `file`; exec forms only, as a container must start without a shell."""
    text = re.sub(r"^#.*\n", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    image = Image()
    for line in text.replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            image = Image()
        elif word == "ENV":
            image.environment.update(pair.split("=", 1) for pair in shlex.split(rest))  # type: ignore[arg-type]
        elif word == "RUN":
            image.run.append(rest)
        elif word in _SETTERS:
            name, read = _SETTERS[word]
            setattr(image, name, read(rest))
    return image


def build_locks(file: Path) -> list[Path]:
    """What the first stage of `file` installs beside its own interpreter, to build with: lock files."""
    (command,) = re.findall(r"python -m pip install ([^&\n]*)", file.read_text(encoding="utf-8"))
    return [file.parent / lock for lock in re.findall(r"-r (\S+)", command)]


_SETTERS: dict[str, tuple[str, Callable[[str], object]]] = {
    "USER": ("user", str),
    "WORKDIR": ("workdir", str),
    "ENTRYPOINT": ("entrypoint", json.loads),
    "CMD": ("command", json.loads),
    "HEALTHCHECK": ("healthcheck", lambda rest: json.loads(rest.partition("CMD ")[2])),
    "EXPOSE": ("ports", str.split),
    "VOLUME": ("volumes", str.split),
}
