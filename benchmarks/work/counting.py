"""Counts what the interpreter does inside this package: numbers that are the same at every run, on any machine."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import sidecar

PACKAGE = str(Path(sidecar.__file__).parent) + "/"


@dataclass
class Work:
    """Counts, and the bytecode instructions by module."""

    calls: int = 0
    """Functions of the package that were entered, and coroutines that went on."""
    builtins: int = 0
    """C functions that they called."""
    instructions: int = 0
    """Bytecode instructions that they ran."""
    modules: Counter[str] = field(default_factory=Counter)


@contextmanager
def counted(work: Work) -> Iterator[None]:
    """Count into `work` whatever this thread runs. Slow: about a hundred times."""

    def on_call(frame: FrameType, event: str, _arg: Any) -> None:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return
        if event == "call":
            work.calls += 1
        elif event == "c_call":
            work.builtins += 1

    def on_frame(frame: FrameType, _event: str, _arg: Any) -> Any:
        filename = frame.f_code.co_filename
        if not filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        module = filename[len(PACKAGE) :]

        def on_instruction(_frame: FrameType, event: str, _arg: Any) -> Any:
            if event == "opcode":
                work.instructions += 1
                work.modules[module] += 1
            return on_instruction

        return on_instruction

    tracing, profiling = sys.gettrace(), sys.getprofile()
    sys.settrace(on_frame)
    sys.setprofile(on_call)
    try:
        yield
    finally:
        sys.setprofile(profiling)
        sys.settrace(tracing)
