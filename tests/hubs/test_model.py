from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.hubs.load import BUILT_IN, load_profile
from sidecar.hubs.model import find_models, peek_model, peek_target, replace_prefix, strip_prefix
from sidecar.refusals import Refused

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
PREFIX = "aignehub/"
CHAT = ("json:input.modelOptions.model", "json:input.model", "json:model", "query:model")
AUDIO = ("form:model", "query:model")
EITHER = ("json:model", "form:model")


def multipart(*fields: tuple[str, str, bytes]) -> tuple[str, bytes]:
    body = b""
    for name, file, value in fields:
        file_name = f'; filename="{file}"' if file else ""
        body += f'--b\r\nContent-Disposition: form-data; name="{name}"{file_name}\r\n\r\n'.encode() + value + b"\r\n"
    return "multipart/form-data; boundary=b", body + b"--b--\r\n"


def names(
    places: tuple[str, ...], query: str = "", content_type: str = JSON, body: bytes = b"", path: str = "/", coding: str = ""
) -> tuple[str, ...]:
    return find_models(places, path, query, content_type, body, coding).names


def test_query_and_body_are_both_told():
    assert names(CHAT, "model=b", body=b'{"model":"a"}') == ("b", "a")


@pytest.mark.parametrize(
    "query",
    [
        "model=a&model=b",
        "model=a;model=b",
        "model=a;x,b",
        "model=a;",
        "x;model=a",
        "model=a&x=1;model=b",
        "model=a&mod%65l=b",
        "model=a&MODEL=b",
        "model[]=a",
        "model[0]=a",
        "x[model]=a",
        "+model=a",
        "Model=a",
        "MODEL=a",
    ],
)
def test_a_query_that_names_the_model_in_two_ways_is_refused(query):
    with pytest.raises(Refused):
        names(CHAT, query)


def test_a_semicolon_elsewhere_in_the_query_or_escaped_is_none_of_the_models():
    assert names(CHAT, "x=1;2&model=a&y=;3") == ("a",)
    assert names(CHAT, "model=a%3Bb") == ("a;b",)


def lacks(places: tuple[str, ...], query: str = "", content_type: str = JSON, body: bytes = b"", path: str = "/") -> str:
    return find_models(places, path, query, content_type, body).lacks


ROUTES = {(name, route.name, route.path): route for name in BUILT_IN for route in load_profile(name).routes if route.model}
FORM_ROUTES = [where for where, route in ROUTES.items() if "form:" in route.model[0]]


@pytest.mark.parametrize("where", ROUTES, ids=" ".join)
def test_every_route_says_where_its_model_must_be_named(where):
    route = ROUTES[where]
    places = route.model[0].split("|")
    content_type, form = multipart(("model", "", b"a"))
    for place in places:
        kind, _, path = place.partition(":")
        document: object = "a"
        for name in reversed(path.split(".")):
            document = {name: document}
        body = {"json": json.dumps(document).encode(), "form": form, "query": b""}[kind]
        query = f"{path}=a" if kind == "query" else ""
        assert lacks(route.model, query, content_type if kind == "form" else JSON, body) == ""
        assert names(route.model, query, content_type if kind == "form" else JSON, body) == ("a",)
    if not places[0].startswith("query:"):
        assert lacks(route.model, "model=a" if "query:model" in route.model else "") == places[0]
    if places[0].startswith("json:"):
        assert lacks(route.model, "", JSON, b'{"x":"a"}') == places[0]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"models": ["a"]},
        {"models": "a"},
        {"fallbacks": ["a"]},
        {"fallbacks": "a"},
        {"tools": [{"type": "function", "model": "a"}]},
        {"model": None, "models": ["a"], "tools": [{"model": "a"}]},
        {"model": [], "models": ["a"]},
    ],
)
@pytest.mark.parametrize("query", ["", "model=a"])
def test_what_a_hub_may_not_know_does_not_stand_for_the_model(body, query):
    places = ROUTES["openai", "chat-completions", "/v1/chat/completions"].model
    assert lacks(places, query, JSON, json.dumps(body).encode()) == "json:model"
    assert lacks(places, query, JSON, json.dumps(body | {"model": "b"}).encode()) == ""


@pytest.mark.parametrize("where", FORM_ROUTES, ids=" ".join)
def test_a_form_names_its_model_in_a_field(where):
    content_type, body = multipart(("prompt", "", b"a"))
    assert lacks(ROUTES[where].model, "model=a", content_type, body) == ROUTES[where].model[0].split("|")[0]
    assert lacks(ROUTES[where].model, "", FORM, b"model=a") == ""
    with pytest.raises(Refused):
        lacks(ROUTES[where].model, "", FORM, b"Model=a")


def test_the_path_of_a_deployment_names_the_model():
    places = ("path:2", "json:model", "query:model")
    path = "/openai/deployments/a/chat/completions"
    assert lacks(places, "", JSON, b"{}", path) == ""
    assert names(places, "model=c", JSON, b'{"model":"b"}', path) == ("a", "c", "b")
    assert lacks(places, "model=a", JSON, b'{"model":"b"}', "/openai") == "path:2"


def test_segments_of_the_path():
    assert names(("path:2",), path="/openai/deployments/gpt%2D4/chat") == ("gpt-4",)
    assert names(("path:2+",), path="/v1/models/openai/gpt-4") == ("openai/gpt-4",)
    assert names(("path:9",), path="/v1") == ()
    assert names(("path:1",), path="/a;x/gpt%3B4/b;y") == ("gpt;4",)


@pytest.mark.parametrize("place", ["path:1", "path:1+", "path:0+"])
def test_a_segment_that_a_server_may_cut_at_a_semicolon_is_refused(place):
    with pytest.raises(Refused):
        names((place,), path="/deployments/gpt-4;x-mini/chat")


def test_a_form_field():
    content_type, body = multipart(("model", "", b"whisper-1"), ("file", "a.wav", b"..."))
    assert names(AUDIO, "", content_type, body) == ("whisper-1",)
    assert names(EITHER, "", content_type, body) == ("whisper-1",)
    assert names(EITHER, "", FORM, b"x=1&model=a%2Fb") == ("a/b",)
    # .NET writes no quotes.
    assert names(AUDIO, "", content_type, body.replace(b'"', b"")) == ("whisper-1",)


@pytest.mark.parametrize(
    "fields",
    [
        [("file", "a.wav", b"..."), ("model", "", b"a")],
        [("model", "", b"a"), ("file", "a.wav", b"..."), ("model", "", b"b")],
        [("model", "", b"a"), ("model", "", b"b")],
        [("model", "m.txt", b"a")],
        [("model[]", "", b"a")],
        [("Model", "", b"a"), ("model", "", b"b")],
        [("Model", "", b"a")],
        [("model", "", b"\xff")],
    ],
)
def test_a_form_that_names_the_model_in_two_ways_or_too_late_is_refused(fields):
    content_type, body = multipart(*fields)
    with pytest.raises(Refused) as caught:
        names(AUDIO, "", content_type, body)
    assert caught.value.refusal.status == 400


@pytest.mark.parametrize(
    "form", ["model=a&x=1;model=b", "x=1;model=b&model=a", "model=a&x=;mod%65l[]=b", "model=a;model=b", "model=a;x-mini", "x;model=a"]
)
def test_a_form_that_names_another_model_to_who_splits_at_semicolons_is_refused(form):
    with pytest.raises(Refused):
        names(AUDIO, "", FORM, form.encode())
    assert names(AUDIO, "", FORM, b"model=a&prompt=one;two=2") == ("a",)
    assert names(AUDIO, "", FORM, b"model=a%3Bb") == ("a;b",)


@pytest.mark.parametrize("before", ["", " ", "\t\r\n\n", "/* &a= */", "// a\n"], ids=repr)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "utf-16", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("where", FORM_ROUTES, ids=" ".join)
def test_json_in_the_place_of_a_form_is_refused(where, encoding, before):
    """Hubs read it that ignore the label, such as Ollama, or guess the encoding, such as those that leave it to Python's json."""
    text = before + json.dumps({"model": "b", "prompt": "&model=a&"})
    for label in (FORM, f"{FORM}; charset=utf-8", f"{FORM} x"):
        with pytest.raises(Refused) as caught:
            names(ROUTES[where].model, "", label, text.encode(encoding))
        if encoding == "utf-8":
            assert "JSON" in caught.value.detail
    assert names(ROUTES[where].model, "", FORM, b"model=a&prompt={}") == ("a",)


def test_a_form_is_one_to_php_with_anything_behind_its_type():
    for label in (f"{FORM} x", f"{FORM},x", f"{FORM}\tx"):
        assert names(EITHER, "", label, b"model=a") == ("a",)
        with pytest.raises(Refused):
            names(CHAT, "", label, b'{"model":"a","x":"&model=b&"}')


@pytest.mark.parametrize(
    ("places", "content_type", "coding"),
    [
        (CHAT, "application/json; charset=utf-7", ""),
        (CHAT, "application/json; charset=utf-8; charset=utf-16", ""),
        (CHAT, "application/json; charset*=utf-7", ""),
        (CHAT, "multipart/form-data; boundary=b", ""),
        (AUDIO, JSON, ""),
        (CHAT, JSON, "gzip"),
        (CHAT, JSON, "br"),
    ],
)
def test_what_cannot_be_read_with_certainty_is_refused(places, content_type, coding):
    with pytest.raises(Refused):
        names(places, "", content_type, b'{"model":"a"}', coding=coding)


def test_only_the_model_field_of_a_form_must_be_in_utf8():
    head = b'--b\r\nContent-Disposition: form-data; name="%b"\r\nContent-Type: text/plain; charset=%b\r\n\r\n%b\r\n'
    end, content_type = b"--b--\r\n", "multipart/form-data; boundary=b"
    assert names(AUDIO, "", content_type, head % (b"model", b"utf-8", b"a") + head % (b"prompt", b"utf-16", b"a\0") + end) == ("a",)
    with pytest.raises(Refused) as caught:
        names(AUDIO, "", content_type, head % (b"model", b"base64", b"Z3B0LTU=:free") + end)
    assert caught.value.param == "model" and "UTF-8" in caught.value.detail


def test_the_model_field_of_a_form_is_no_file():
    head = b'--b\r\nContent-Disposition: form-data; name="model"\r\nContent-Type: %b\r\n\r\na\r\n--b--\r\n'
    assert names(AUDIO, "", "multipart/form-data; boundary=b", head % b"text/plain") == ("a",)
    with pytest.raises(Refused):
        names(AUDIO, "", "multipart/form-data; boundary=b", head % b"application/octet-stream")


@pytest.mark.parametrize("more", ["model%00x=b", "model\0x=b", "%20model%00=b", "input[model%00x]=b"])
def test_a_form_has_no_second_model_for_a_hub_that_ends_names_at_a_nul(more):
    """As PHP's do."""
    for body in (f"model=a&{more}", f"{more}&model=a", more):
        with pytest.raises(Refused):
            names(AUDIO, "", FORM, body.encode())


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain; x=urlencoded",
        "application/json; X=URLEncoded",
        "text/plain; x=multipart; boundary=b",
        "application/json, multipart/form-data; boundary=b",
        "application/json; x=octet-stream",
    ],
)
def test_a_label_that_has_the_word_of_another_type_is_refused(content_type):
    """formidable goes by the word: `&model=b&` is a field of a form to it."""
    with pytest.raises(Refused) as caught:
        names(CHAT, "", content_type, b'{"model":"a","x":"&model=b&"}')
    assert "Content-Type" in caught.value.detail


def test_a_form_whose_label_has_the_word_of_another_type_is_refused():
    part = b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
    for boundary in (b"multipart-boundary", b"urlencoded"):
        body = part % (boundary, b"model", b"a") + part % (boundary, b"prompt", b"&model=b&") + b"--%b--\r\n" % boundary
        content_type = f"multipart/form-data; boundary={boundary.decode()}"
        if boundary == b"urlencoded":
            with pytest.raises(Refused):
                names(AUDIO, "", content_type, body)
        else:
            assert names(AUDIO, "", content_type, body) == ("a",)


@pytest.mark.parametrize("content_type", [JSON, "", "text/plain", "application/json; charset=UTF-8", "application/vnd.x+json", FORM])
def test_json_is_read_whatever_its_label(content_type):
    assert names(CHAT, "", content_type, b'{"model":"a"}') == ("a",)


@pytest.mark.parametrize(
    "text",
    [
        "&model=b&",
        "&input[modelOptions][model]=b&",
        ";model=b",
        "&mod%65l=b",
        "[model]=b",
        # Without a model the hub takes one by default.
        "&prompt=the+whole+question&tail=",
        ";prompt=the+whole+question",
        "R&D",
    ],
)
def test_json_that_a_form_parser_reads_differently_is_refused(text):
    body = json.dumps({"model": "a", "x": text}).encode()
    assert names(CHAT, "", JSON, body) == ("a",)
    with pytest.raises(Refused) as caught:
        names(CHAT, "", FORM, body)
    assert "application/json" in caught.value.detail


def test_json_as_curl_labels_it_is_read_when_it_is_one_field_at_most():
    body = json.dumps({"model": "a", "prompt": "What is 1+1=2, 100% of it? [x].y"}).encode()
    assert names(CHAT, "", FORM, body) == ("a",)


OTHERS = [
    {"models": ["a", "b"]},
    {"fallbacks": ["b"]},
    {"fallbacks": [{"a": ["b"]}]},
    {"context_window_fallbacks": [{"a": ["b"]}]},
    {"content_policy_fallbacks": [{"a": ["b"]}]},
    {"context_window_fallback_dict": {"a": "b"}},
    {"model_list": [{"model_name": "a", "litellm_params": {"model": "b"}}]},
    {"user_config": {"model_list": []}},
    {"router_settings_override": {"fallbacks": [{"a": ["b"]}]}},
    {"extra_body": {"model": "b"}},
    {"extra_body": {}},
    {"deployment_id": "b"},
    {"model_id": "b"},
    {"prompt_id": "b"},
    {"tools": [{"type": "function"}, {"type": "image_generation", "model": "b"}]},
]
"""Members of a body by which LiteLLM, OpenRouter or a hub's own tools ask the model b."""
ASKING = [where for where, route in ROUTES.items() if where[0] == "openai" and "POST" in route.methods and route.group != "models"]
"""Routes of the profile openai that ask a model for something."""


@pytest.mark.parametrize("more", OTHERS, ids=json.dumps)
@pytest.mark.parametrize("where", ASKING, ids=" ".join)
def test_what_else_has_an_openai_hub_ask_another_model_is_told_or_refused(where, more):
    for body in ({"model": "a", **more}, more):
        with suppress(Refused):
            assert "b" in names(ROUTES[where].model, "", JSON, json.dumps(body).encode())


@pytest.mark.parametrize("more", [more for more in OTHERS if "tools" not in more], ids=json.dumps)
@pytest.mark.parametrize("where", [where for where in FORM_ROUTES if where in ASKING], ids=" ".join)
def test_in_the_fields_of_a_form_too(where, more):
    ((name, value),) = more.items()
    for spelling in (name, f"{name}[]", f"{name}[0]"):
        content_type, body = multipart(("model", "", b"a"), (spelling, "", json.dumps(value).encode()))
        with pytest.raises(Refused):
            names(ROUTES[where].model, "", content_type, body)
    with pytest.raises(Refused):
        names(ROUTES[where].model, "", FORM, f"model=a&{name}=b".encode())


@pytest.mark.parametrize("where", [where for where in ASKING if ROUTES[where].model[0].startswith("json:")], ids=" ".join)
def test_a_prompt_is_not_taken_for_the_model(where):
    places = ROUTES[where].model
    for document, own in (({"prompt_id": "p"}, ""), ({"prompt_id": "p", "model": "a"}, "a"), ({"fallbacks": ["b"], "model": "a"}, "a")):
        body = json.dumps(document).encode()
        assert find_models(places, "/", "", JSON, body).own == peek_model(places, body) == own
    assert find_models(places, "/", "model=a", JSON, b'{"prompt_id":"p"}').own == "a"


def test_without_a_body_or_places_there_is_nothing():
    assert names(CHAT) == ()
    assert names((), "model=a", JSON, b'{"model":"a"}') == ()


def test_a_body_that_would_hold_up_the_worker_is_refused():
    for places, body in ((AUDIO, b"model=a" + b"&a" * 100_001), (CHAT, b'{"model":"a","x":"' + b";a" * 100_001 + b'"}')):
        with pytest.raises(Refused):
            names(places, "", FORM, body)
    many = json.dumps({"model": [f"{PREFIX}{number}" for number in range(1001)]}).encode()
    with pytest.raises(Refused):
        names(CHAT, "", JSON, many)
    assert strip_prefix(CHAT, JSON, many, PREFIX) == many


def test_the_prefix_is_cut_off_every_name_of_a_list():
    before = json.dumps({"model": [f"{PREFIX}{number}" if number % 3 else "other" for number in range(1000)], "x": PREFIX}).encode()
    after = json.dumps({"model": [f"{number}" if number % 3 else "other" for number in range(1000)], "x": PREFIX}).encode()
    assert strip_prefix(CHAT, JSON, before, PREFIX) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"model":"aignehub/gpt-3.5-turbo","x": 1 }', b'{"model":"gpt-3.5-turbo","x": 1 }'),
        (b'{"model":"aignehub\\/gpt","x":"aignehub/"}', b'{"model":"gpt","x":"aignehub/"}'),
        (b'{"model":"\\u0061ignehub\\u002fgpt"}', b'{"model":"gpt"}'),
        (b'{"model":"aignehub/aignehub/x"}', b'{"model":"aignehub/x"}'),
        (b'{"model":"aignehub"}', b'{"model":"aignehub"}'),
        (b'{"model":"x/aignehub/y"}', b'{"model":"x/aignehub/y"}'),
        (b'{"model":"aig\\nehub/y"}', b'{"model":"aig\\nehub/y"}'),
        (
            b'{"input":{"modelOptions":{"model":"aignehub/a"},"model":"aignehub/b"},"model":"c"}',
            b'{"input":{"modelOptions":{"model":"a"},"model":"b"},"model":"c"}',
        ),
    ],
)
def test_the_prefix_is_cut_out_and_nothing_else_changes(before, after):
    finding = find_models(CHAT, "/", "", JSON, before)
    assert replace_prefix(before, finding, PREFIX) == after
    assert strip_prefix(CHAT, JSON, before, PREFIX) == after
    assert find_models(CHAT, "/", "", JSON, after).names == finding.dispatched(PREFIX)


def test_the_prefix_in_forms():
    content_type, body = multipart(("model", "", b"aignehub/whisper"), ("file", "a", b"aignehub/"))
    assert strip_prefix(AUDIO, content_type, body, PREFIX) == body.replace(b"aignehub/whisper", b"whisper")
    assert strip_prefix(AUDIO, FORM, b"x=1&model=aignehub%2Fa", PREFIX) == b"x=1&model=a"
    assert strip_prefix(AUDIO, FORM, b"x=1&model=%61ignehub/a%20", PREFIX) == b"x=1&model=%61ignehub/a%20"


def test_without_the_prefix_the_very_body_comes_back():
    body = b'{"model":"a","x":"aignehub"}'
    assert replace_prefix(body, find_models(CHAT, "/", "", JSON, body), PREFIX) is body
    assert strip_prefix(CHAT, JSON, body, PREFIX) is body
    assert strip_prefix(CHAT, JSON, b'{"model":"aignehub/a"', PREFIX) == b'{"model":"aignehub/a"'
    assert strip_prefix(CHAT, JSON, body, "") is body


@given(st.text(max_size=20), st.booleans(), st.text(max_size=10))
def test_replacing_is_the_same_as_writing_the_short_name(tail, is_ascii, other):
    before = json.dumps({"x": other, "model": PREFIX + tail}, ensure_ascii=is_ascii).encode("utf-8", "replace")
    after = json.dumps({"x": other, "model": tail}, ensure_ascii=is_ascii).encode("utf-8", "replace")
    assert strip_prefix(CHAT, JSON, before, PREFIX) == after


@pytest.mark.parametrize(
    ("places", "body", "model"),
    [
        (CHAT, b'{"input":{"modelOptions":{"model":"a"}}}', "a"),
        (CHAT, b'{"model":"a","input":"text"}', "a"),
        (CHAT, b'{"messages":[],"model":"a"', "a"),
        (CHAT, b'{"model":5}', ""),
        (CHAT, b"", ""),
        (CHAT, b"\xff", ""),
        (("query:model",), b'{"model":"a"}', ""),
        (AUDIO, multipart(("model", "", b"whisper"))[1], "whisper"),
        (AUDIO, multipart(("model", "", b"whisper"))[1].replace(b'"', b""), "whisper"),
        (AUDIO, multipart(("file", "a", b"x"))[1][:-5], ""),
    ],
)
def test_peek(places, body, model):
    assert peek_model(places, body) == model


@pytest.mark.parametrize(
    ("places", "path", "query", "model"),
    [
        (("query:model",), b"/v1/realtime", b"model=gpt-realtime", "gpt-realtime"),
        (CHAT, b"/", b"x=1&model=a%2Fb", "a/b"),
        (CHAT, b"/", None, ""),
        # No telling which the hub takes, and nobody is to be refused for it.
        (CHAT, b"/", b"model=a&model=b", ""),
        (CHAT, b"/", b"Model=a", ""),
        (CHAT, b"/", b"model=a;b", ""),
        (CHAT, b"/", b"model=a&x=;b", "a"),
        (("json:model", "path:2"), b"/openai/deployments/a;b/chat", b"", ""),
        (("json:model", "path:2"), b"/openai/deployments/a/chat", b"model=b", "a"),
        (("json:model", "path:2", "query:model"), b"/openai", b"model=b", "b"),
        ((), b"/", b"model=a", ""),
    ],
)
def test_peek_target(places, path, query, model):
    assert peek_target(places, path, query) == model


def test_a_body_is_not_asked_for_what_path_or_query_must_name():
    assert peek_model(("path:2", "json:model", "query:model"), b'{"model":"b"}') == ""


@given(st.text("/ab%2F0", max_size=40), st.text("model=&;%2Fb[]", max_size=40), st.binary(max_size=100))
def test_peek_never_raises(path, query, body):
    peek_model(CHAT, body)
    peek_model(AUDIO, b"--" + body)
    peek_target(("path:0+", "query:model"), path.encode(), query.encode())
