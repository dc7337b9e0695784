"""A key's list of models against a hub of its own mind: what reaches the hub names a listed model where any hub looks for it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from sidecar.hubs.load import load_profile
from sidecar.hubs.profile import Route
from sidecar.settings.declaration import Bounds
from sidecar.worker.client.exchange import Exchange
from sidecar.worker.inspection import BodyInspector
from tests.worker.plane import Plane, running, until

CHAT = "/v1/chat/completions"


async def status_of(
    plane: Plane, body: bytes, target: str = CHAT, *, content_type: str = "", fields: str = "", allowed: tuple[str, ...] = ("cheap",)
) -> int:
    """The status of a POST with a key for the models `allowed`; only 200 lets anything reach the hub."""
    plane.keys.change(plane.key, allowed_models=allowed)
    seen = len(plane.hub.seen)
    raw = plane.post(body, target, fields=fields)
    answer = await plane.exchange(raw.replace(b"application/json", content_type.encode()) if content_type else raw)
    status = int(answer.split(b" ", 2)[1])
    assert len(plane.hub.seen) - seen == (status == 200)
    return status


@pytest.mark.parametrize(
    ("body", "target", "status"),
    [
        (b'{"model":"cheap"}', CHAT, 200),
        (b'{"model":"cheap","models":["cheap"],"tools":[{"model":"cheap"}]}', f"{CHAT}?model=cheap", 200),
        (b'{"model":"dear"}', CHAT, 403),
        (b'{"model":"cheap","models":["dear"]}', CHAT, 403),
        (b"{}", CHAT, 403),
        (b'{"Model":"cheap"}', CHAT, 400),
        (b'{"models":["cheap"]}', CHAT, 403),
        (b'{"fallbacks":["cheap"]}', CHAT, 403),
        (b'{"model":"cheap","extra_body":{"model":"dear"}}', CHAT, 400),
        (b'{"model":"cheap","deployment_id":"dear"}', CHAT, 403),
        (b'{"model":"cheap","model_id":"dear"}', CHAT, 403),
        (b'{"model":"cheap"}', f"{CHAT}?model=cheap;x,dear", 400),
        (b'{"model":"cheap"}', f"{CHAT}?x=1;2&model=cheap", 200),
        (b'{"model":"cheap","prompt_id":"p"}', "/v1/responses", 403),
        (b'{"model":"cheap","fallbacks":["dear"]}', "/v1/images/edits", 403),
        (b'{"model":"cheap","extra_body":null}', CHAT, 200),
        (b'{"tools":[{"type":"function","model":"cheap"}]}', CHAT, 403),
        (b"{}", f"{CHAT}?model=cheap", 403),
        (b"", f"{CHAT}?model=cheap", 403),
        (b'{"model":"cheap"}', f"{CHAT}?Model=cheap", 400),
        (b'{"name":"cheap"}', "/api/show", 200),
    ],
)
async def test_a_listed_model_must_be_named_where_every_hub_looks(body: bytes, target: str, status: int) -> None:
    async with running(profile="openai") as plane:
        assert await status_of(plane, body, target) == status


@pytest.mark.parametrize(
    ("body", "target", "status"),
    [
        (b'{"input":{"modelOptions":{"model":"cheap"}}}', "/api/v2/chat", 200),
        (b'{"input":{"model":"aignehub/cheap"}}', "/api/v2/embeddings", 200),
        (b'{"modelOptions":{"model":"cheap"}}', "/api/v2/video", 200),
        (b'{"model":"cheap","input":["text"]}', "/api/v2/embeddings", 200),
        (b'{"input":[{"model":"cheap"}]}', "/api/v2/embeddings", 403),
        (b'{"input":{"modelOptions":{}}}', "/api/v2/chat?model=cheap", 403),
        (b'{"input":{"ModelOptions":{"model":"cheap"}}}', "/api/v2/chat", 400),
        (b'{"model":"cheap"}', "/api/v1/chat/completions", 200),
    ],
)
async def test_an_aigne_hub_has_several_such_places(body: bytes, target: str, status: int) -> None:
    async with running(profile="aigne") as plane:
        assert await status_of(plane, body, target) == status


@pytest.mark.parametrize("entry", ["cheap", "aignehub/cheap", "aignehub/c*"])
@pytest.mark.parametrize(("model", "status"), [(b"cheap", 200), (b"aignehub/cheap", 200), (b"aignehub/dear", 403), (b"dear", 403)])
async def test_a_list_is_written_with_the_hub_s_prefix_or_without(entry: str, model: bytes, status: int) -> None:
    async with running(profile="aigne") as plane:
        assert await status_of(plane, b'{"model":"%b"}' % model, "/api/v2/embeddings", allowed=(entry,)) == status


async def test_a_route_without_a_body_names_its_model_in_the_query_if_it_uses_one() -> None:
    async with running(profile="aigne") as plane:
        plane.keys.change(plane.key, allowed_models=("cheap",))
        for query, status in (("model=cheap", b"200"), ("model=dear", b"403"), ("x", b"200"), ("MODEL=cheap", b"400")):
            assert (await plane.exchange(plane.get(f"/api/v2/status?{query}"))).split(b" ", 2)[1] == status


@pytest.mark.parametrize("nominated", ["", "Connection: close, content-type\r\n", "Connection: close, Content-Type, content-length\r\n"])
async def test_the_hub_gets_the_content_type_by_which_the_model_was_judged(nominated: str) -> None:
    body = b'prompt={"model":"dear"}&model=cheap'
    form = "application/x-www-form-urlencoded"
    async with running(profile="openai") as plane:
        assert await status_of(plane, body, "/v1/images/edits", fields=nominated) == 400
        assert await status_of(plane, body, "/v1/images/edits", content_type=form, fields=nominated) == 200
        assert plane.hub.seen[-1].field("content-type") == form


async def test_a_content_type_that_the_profile_keeps_from_the_hub_says_nothing_of_the_model(tmp_path: Path) -> None:
    profile = tmp_path / "mine.yaml"
    edit = "{name: edit, methods: [POST], path: /edit, model: [json:model|form:model]}"
    profile.write_text(f"name: mine\nroutes: [{edit}]\nheaders: {{allow: [accept]}}\n")
    async with running(profile=str(profile)) as plane:
        form = "application/x-www-form-urlencoded"
        assert await status_of(plane, b'{"prompt":"&model=cheap&","model":"dear"}', "/edit", content_type=form) == 403
        assert await status_of(plane, b'{"prompt":"&model=dear&","model":"cheap"}', "/edit", content_type=form) == 200


@pytest.mark.parametrize(
    ("profile", "target", "body", "size"),
    [
        ("aigne", "/api/v2/chat", b'{"input":{"messages":[{"content":"%b"}],"modelOptions":{"model":"cheap"}}}', 70_000),
        ("openai", CHAT, b'{"messages":[{"content":"%b"}],"model":"cheap"}', 100),
        ("openai", CHAT, b'{"model":"cheap","messages":[{"content":"%b"}]}', 70_000),
    ],
)
async def test_the_model_of_a_long_body_is_recorded(profile: str, target: str, body: bytes, size: int) -> None:
    async with running(profile=profile) as plane:
        assert (await plane.exchange(plane.post(body % (b"x" * size), target))).startswith(b"HTTP/1.1 200 ")
        assert plane.events.requests[0].model == "cheap"


@pytest.mark.parametrize(("profile", "target", "listed", "status"), [
    ("openai", CHAT, True, b"413"), ("openai", CHAT, False, b"200"), ("aigne", "/api/v2/chat/completions", False, b"413"),
])  # fmt: skip
async def test_a_body_that_must_be_read_is_bounded_also_where_it_comes_at_once(
    profile: str, target: str, listed: bool, status: bytes
) -> None:
    """A profile with a prefix to cut off reads all of them."""
    async with running(profile=profile, environment={"SIDECAR_PROXY__BOUNDS__INSPECTED_BODY": "1000"}) as plane:
        if listed:
            plane.keys.change(plane.key, allowed_models=("cheap",))
        for size, expected in ((900, b"200"), (1100, status)):
            raw = plane.post(b'{"model":"cheap","prompt":"%b"}' % (b"x" * (size - 32)), target)
            assert (await plane.exchange(raw)).split(b" ", 2)[1] == expected


def estimated(body: bytes, content_type: str, model: str = "json:model") -> int:
    """The tokens that a call with this whole body is taken for, on a route that looks for its model there."""
    route = Route(name="a", methods=("POST",), path="/", model=(model,), usage="openai")
    inspector = BodyInspector(load_profile("openai"), Bounds())
    head = SimpleNamespace(first=lambda name: content_type.encode() if name == b"content-type" else None)
    return inspector.estimate(cast(Exchange, SimpleNamespace(head=head)), route, len(body), body)


@pytest.mark.parametrize("size", [100, 100_000, 5_000_000])
@pytest.mark.parametrize("body", [b'{"max_tokens":16000,"messages":"%b"}', b'{"messages":"%b","max_completion_tokens": 16000}'])
def test_the_output_that_is_asked_for_is_reserved_wherever_a_body_says_it(body: bytes, size: int) -> None:
    whole = body % (b"x" * size)
    assert estimated(whole, "application/json") == min(1_000_000, -(-len(whole) // 4) + 16_000)


@pytest.mark.parametrize("size", [0, 100_000])
@pytest.mark.parametrize("body", [
    b'{"max_tokens":1,"messages":"%b","max_tokens":16000}', b'{"max_tokens":16000,"messages":"%b","metadata":{"max_tokens":1}}',
])  # fmt: skip
def test_the_most_that_a_body_says_is_reserved(body: bytes, size: int) -> None:
    """Which of two members counts is the hub's to know: with the smaller one a client could use more than was reserved."""
    whole = body % (b"x" * size)
    assert estimated(whole, "application/json") == -(-len(whole) // 4) + 16_000


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=b", "Multipart/Form-Data;boundary=b"])
@pytest.mark.parametrize("model", ["form:model", "json:model|form:model"])
def test_files_are_not_taken_for_text(content_type: str, model: str) -> None:
    """Of a minute of sound as an MP3 a hub hears some hundred tokens, and some never say how many."""
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\n' + bytes(1_000_000) + b"\r\n--b--\r\n"
    assert estimated(form, content_type, model) == 256


def test_nor_is_text_taken_for_files_for_its_label() -> None:
    """Ollama and others read JSON whatever it is called."""
    body = b'{"max_tokens":16000,"messages":"%b"}' % (b"x" * 1000)
    assert estimated(body, "multipart/form-data; boundary=b") == estimated(body, "application/json") > 16_000


@pytest.mark.parametrize("framing", ["Content-Length", "Transfer-Encoding"])
async def test_the_model_is_recorded_however_the_body_comes(framing: str) -> None:
    async with running(profile="openai") as plane:
        reader, writer = await plane.open()
        raw = plane.post(b'{"model":"cheap"}', CHAT)
        if framing == "Transfer-Encoding":
            raw = raw.replace(b"Content-Length: 17", b"Transfer-Encoding: chunked").replace(b"{", b"11\r\n{") + b"\r\n0\r\n\r\n"
        head, end, body = raw.partition(b"\r\n\r\n")
        writer.write(head + end)
        await until(lambda: len(plane.plane.open))
        writer.write(body)
        assert (await reader.read(-1)).startswith(b"HTTP/1.1 200 ")
        assert plane.events.requests[0].model == "cheap"


@pytest.mark.parametrize("listed", [None, ("cheap",)])
async def test_the_model_is_recorded_where_the_query_names_it(listed: tuple[str, ...] | None) -> None:
    async with running(profile="openai") as plane:
        plane.keys.change(plane.key, allowed_models=listed)
        assert (await plane.exchange(plane.get("/v1/realtime?model=cheap"))).startswith(b"HTTP/1.1 200 ")
        assert plane.events.requests[0].model == "cheap"


async def test_a_query_that_names_two_models_is_nobodys_matter_without_a_list() -> None:
    async with running(profile="openai") as plane:
        assert (await plane.exchange(plane.get("/v1/realtime?model=a&model=b"))).startswith(b"HTTP/1.1 200 ")
        assert plane.events.requests[0].model == ""


@pytest.mark.parametrize("listed", [None, ("cheap",)])
@pytest.mark.parametrize("body", [b"", b'{"model":"other"}'])
async def test_the_model_is_recorded_where_the_path_names_it(tmp_path: Path, listed: tuple[str, ...] | None, body: bytes) -> None:
    profile = tmp_path / "mine.yaml"
    profile.write_text("name: mine\nroutes: [{name: chat, methods: [POST], path: /deployments/*/chat, model: [path:1, json:model]}]\n")
    async with running(profile=str(profile)) as plane:
        plane.keys.change(plane.key, allowed_models=listed and (*listed, "other"))
        assert (await plane.exchange(plane.post(body, "/deployments/cheap/chat"))).startswith(b"HTTP/1.1 200 ")
        assert plane.events.requests[0].model == "cheap"


async def test_the_model_is_recorded_where_the_query_names_it_and_the_body_streams() -> None:
    async with running(profile="openai") as plane:
        reader, writer = await plane.open()
        raw = plane.post(b'{"x":1}', f"{CHAT}?model=cheap")
        writer.write(raw[:-7])
        await until(lambda: len(plane.plane.open))
        writer.write(raw[-7:])
        assert (await reader.read(-1)).startswith(b"HTTP/1.1 200 ")
        assert plane.events.requests[0].model == "cheap"


async def test_one_body_with_many_models_is_refused_at_once() -> None:
    async with running(profile="openai") as plane:
        body = b'{"tools":[' + b'{"model":"cheap"},' * 1000 + b'{"model":"cheap"}],"model":"cheap"}'
        assert len(body) < Bounds().inspected_body
        assert await status_of(plane, body) == 400
