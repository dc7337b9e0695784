"""Mutated requests against a whole data plane: each is answered or cut, and the hub only ever sees what is beyond reproach."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re

import httptools
import pytest

from tests.fuzz.effort import EXAMPLES
from tests.fuzz.material import NASTY
from tests.wire.cases import KEY, all_cases
from tests.worker.plane import Plane, running

SEED = int(os.environ.get("SIDECAR_FUZZ_SEED", "0")) or random.SystemRandom().getrandbits(32)
SEEDS = [case.raw for case in all_cases() if len(case.raw) < 2000]
AT_ONCE = 16
TIMEOUTS = {f"SIDECAR_PROXY__TIMEOUTS__{name}": "300ms" for name in ("HEADER", "BODY_IDLE", "KEEP_ALIVE")}


def mutate(chance: random.Random, key: bytes) -> bytes:
    data = chance.choice(SEEDS).replace(KEY, key)
    for _ in range(chance.randrange(4)):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.randrange(6))
        data = data[:start] + chance.choice([*NASTY, b"", data[start:end] * 2]) + data[end:]
    return data


async def send(plane: Plane, raw: bytes, cut: int) -> bytes:
    """All that comes back until the sidecar closes; it must, since every deadline is short."""
    reader, writer = await plane.open()
    writer.write(raw[:cut])
    await asyncio.sleep(0)
    if not writer.is_closing():
        writer.write(raw[cut:])
    received = b""
    try:
        while data := await asyncio.wait_for(reader.read(65_536), 60):
            received += data
    except ConnectionResetError:
        pass
    finally:
        writer.transport.abort()
    return received


def judge(plane: Plane) -> None:
    for side in plane.hub.seen:
        fields = side.fields()
        names = [name for name, _ in fields]
        assert re.fullmatch(r"[A-Z]+ /[!-~]* HTTP/1\.1", side.request_line), side.head
        httptools.HttpRequestParser(object()).feed_data(side.head)
        assert names.count("host") == 1 and names.count("authorization") == 1 and names.count("via") == 1, side.head
        assert ("authorization", "Bearer blocklet-hub-key") in fields
        assert plane.key.encode() not in side.head
        assert not ({"content-length", "transfer-encoding"} <= set(names)) and "connection" not in names


@pytest.mark.parametrize("profile", ["generic", "openai"])
async def test_mutated_requests(profile: str, caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(SEED)
    async with running(profile=profile, environment=TIMEOUTS) as plane:
        for _ in range(max(1, EXAMPLES // AT_ONCE)):
            plane.hub.seen.clear()
            raws = [mutate(chance, plane.key.encode()) for _ in range(AT_ONCE)]
            answers = await asyncio.gather(*(send(plane, raw, chance.randrange(len(raw) + 1)) for raw in raws))
            for raw, answer in zip(raws, answers, strict=True):
                assert not answer or answer.startswith(b"HTTP/1.1 "), f"seed {SEED}: {raw!r}"
                assert b"HTTP/1.1 500" not in answer, f"seed {SEED}: {raw!r}"
                assert raw.strip() == b"" or plane.key.encode() not in answer
            judge(plane)
        async with asyncio.timeout(60):
            while plane.plane.front.connections or len(plane.plane.open):
                await asyncio.sleep(0.01)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == [], f"seed {SEED}"
