"""What `off` and `shadow` promise is kept to the end: nothing is refused for a key, and only shadow remembers what would have been."""

from __future__ import annotations

import gzip

import pytest

from sidecar.worker.client.body import HIGH_WATER
from tests.worker.plane import Plane, running, until

CHAT = "/v1/chat/completions"
UNKNOWN = b"GET /api/v2/status HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer blocklet-x\r\n\r\n"


async def statuses(plane: Plane, request: bytes, count: int) -> list[bytes]:
    """The statuses of `count` like requests on one connection."""
    reader, writer = await plane.open()
    found = []
    for _ in range(count):
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        found.append(head.split(b" ", 2)[1])
    return found


@pytest.mark.parametrize(("mode", "shadow"), [("off", ""), ("shadow", "invalid_api_key")])
async def test_where_keys_are_not_enforced_nobody_is_slowed_down_for_wrong_ones(mode: str, shadow: str) -> None:
    async with running(profile="aigne", environment={"SIDECAR__ENFORCEMENT": mode}) as plane:
        assert set(await statuses(plane, UNKNOWN, 150)) == {b"200"}
        assert {(event.reason, event.shadow) for event in plane.events.requests} == {("", shadow)}


@pytest.mark.parametrize(("mode", "shadow"), [("off", ""), ("shadow", "key_store_unavailable")])
async def test_where_keys_are_not_enforced_nobody_waits_for_the_store(mode: str, shadow: str) -> None:
    async with running(environment={"SIDECAR__ENFORCEMENT": mode}) as plane:
        plane.keys.cold.add(plane.key.encode())
        plane.keys.away = True
        assert (await plane.exchange(plane.get())).startswith(b"HTTP/1.1 200 ")
        assert [event.shadow for event in plane.events.requests] == [shadow]


async def test_where_they_are_enforced_whoever_guesses_is_slowed_down() -> None:
    async with running(profile="aigne") as plane:
        found = await statuses(plane, UNKNOWN, 150)
        assert (found[0], found[-1]) == (b"401", b"429")


@pytest.mark.parametrize(("mode", "shadow"), [("off", ""), ("shadow", "invalid_request")])
@pytest.mark.parametrize("of_key", [False, True])
@pytest.mark.parametrize(
    ("body", "fields", "model"),
    [
        (gzip.compress(b'{"model":"a"}', mtime=0), "Content-Encoding: gzip\r\n", ""),
        (b'{"model":"a","model":"a"}', "", "a"),
        (b"no JSON", "", ""),
    ],
    ids=["coded", "twice", "no JSON"],
)
async def test_a_body_that_only_a_list_of_models_makes_unreadable_goes_on(
    mode: str, shadow: str, of_key: bool, body: bytes, fields: str, model: str
) -> None:
    environment = {} if of_key else {"SIDECAR__ENFORCEMENT": mode}
    async with running(profile="openai", environment=environment) as plane:
        plane.keys.change(plane.key, allowed_models=("a",), enforcement=mode if of_key else None)
        assert (await plane.exchange(plane.post(body, CHAT, fields=fields))).startswith(b"HTTP/1.1 200 ")
        assert plane.hub.seen[0].body == body
        (event,) = plane.events.requests
        assert (event.outcome, event.reason, event.shadow, event.model) == ("ok", "", shadow, model)


async def test_a_list_to_which_nobody_is_held_keeps_no_body_waiting() -> None:
    body = b'{"model":"dear","messages":"' + b"x" * HIGH_WATER + b'"}'
    environment = {"SIDECAR_PROXY__BOUNDS__INSPECTED_BODY": str(HIGH_WATER)}
    async with running(profile="openai", environment=environment) as plane:
        plane.keys.change(plane.key, allowed_models=("a",), enforcement="off")
        reader, writer = await plane.open()
        raw = plane.post(body, CHAT)
        writer.write(raw[:-100])
        await until(lambda: plane.hub.seen)
        writer.write(raw[-100:])
        assert (await reader.read(-1)).startswith(b"HTTP/1.1 200 ")
        assert plane.hub.seen[0].body == body
        (event,) = plane.events.requests
        assert (event.outcome, event.shadow) == ("ok", "")


MODES = [("off", ""), ("shadow", "request_too_large")]


@pytest.mark.parametrize(("mode", "shadow"), MODES)
@pytest.mark.parametrize("framing", ["Content-Length", "Transfer-Encoding"])
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "in pieces"])
async def test_nor_is_a_body_refused_that_is_too_long_for_such_a_list(mode: str, shadow: str, framing: str, at_once: bool) -> None:
    longest = 1000 if at_once else HIGH_WATER + 1000
    body = b'{"model":"dear","messages":"' + b"x" * (3 * longest) + b'"}'
    environment = {"SIDECAR_PROXY__BOUNDS__INSPECTED_BODY": str(longest)}
    async with running(profile="openai", environment=environment) as plane:
        plane.keys.change(plane.key, allowed_models=("a",), enforcement=mode)
        raw = plane.post(body, CHAT)
        if framing == "Transfer-Encoding":
            raw = raw.replace(b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked")
            raw = raw.replace(body, b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        reader, writer = await plane.open()
        writer.write(raw if at_once else raw[:-100])
        if not at_once:
            await until(lambda: plane.hub.seen)
            writer.write(raw[-100:])
        assert (await reader.read(-1)).startswith(b"HTTP/1.1 200 ")
        assert [side.body for side in plane.hub.seen] == [body]
        (event,) = plane.events.requests
        assert (event.outcome, event.shadow, event.model, event.bytes_in) == ("ok", shadow, "dear", len(body))


async def test_where_it_is_held_to_such_a_body_is_refused_at_once() -> None:
    async with running(profile="openai", environment={"SIDECAR_PROXY__BOUNDS__INSPECTED_BODY": "1000"}) as plane:
        plane.keys.change(plane.key, allowed_models=("a",))
        reader, writer = await plane.open()
        writer.write(plane.post(b"x" * 2000, CHAT)[:-1900])
        assert (await reader.read(-1)).startswith(b"HTTP/1.1 413 ")
        assert not plane.hub.seen
        (event,) = plane.events.requests
        assert (event.outcome, event.reason, event.shadow) == ("client_error", "request_too_large", "")


@pytest.mark.parametrize("mode", ["off", "shadow"])
async def test_a_prefix_that_is_cut_off_for_everybody_needs_the_whole_body_in_any_mode(mode: str) -> None:
    async with running(profile="aigne", environment={"SIDECAR_PROXY__BOUNDS__INSPECTED_BODY": "1000"}) as plane:
        plane.keys.change(plane.key, allowed_models=("a",), enforcement=mode)
        for sent in (2000, 100):
            reader, writer = await plane.open()
            raw = plane.post(b"x" * 2000, "/api/v2/chat/completions")
            writer.write(raw[: len(raw) - 2000 + sent])
            assert (await reader.read(-1)).startswith(b"HTTP/1.1 413 ")
        assert not plane.hub.seen
