from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.hubs import json_places
from sidecar.hubs.json_places import JsonPlaces
from sidecar.refusals import Refused

CHAT = JsonPlaces(("input.modelOptions.model", "input.model", "model"))
LIST = JsonPlaces(("model", "models"))

names = st.sampled_from(["model", "Model", "mODEL", "input", "modelOptions", "models", "x", "ſ", "messages", '"model"', "a\\"])
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8), names)
values = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=4)), max_leaves=12
)
spaces = st.sampled_from(["", " ", "\n", "\t\r\n "])


@st.composite
def written(draw: st.DrawFn, value: Any) -> str:
    """`value` as JSON with odd spaces and escapes."""
    space = draw(spaces)
    if isinstance(value, dict):
        members = [f"{draw(written(name))}{space}:{space}{draw(written(member))}" for name, member in value.items()]
        return f"{{{space}{f'{space},{space}'.join(members)}{space}}}"
    if isinstance(value, list):
        return f"[{space}{f'{space},{space}'.join(draw(written(member)) for member in value)}{space}]"
    if isinstance(value, str) and value and draw(st.integers(0, 5)) == 0:
        return '"' + "".join(f"\\u{ord(character):04x}" if ord(character) < 0x10000 else character for character in value) + '"'
    return json.dumps(value, ensure_ascii=draw(st.booleans()))


def decode(body: bytes) -> Any:
    """What `body` says by msgspec's word, or, with half of a pair of surrogates in it, by the standard library's; raises ValueError."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        if b"\\ud" not in body:
            raise
        return json.loads(body.decode(), parse_constant=int)


def model_of(document: Any, places: tuple[str, ...]) -> list[str] | None:
    """The few lines that the scanner is held against: names without case, but refused for it; None for what must be refused."""
    if not isinstance(document, dict):
        return None
    try:
        return walk(document, [place.split(".") for place in places])
    except ValueError:
        return None


def walk(value: Any, paths: list[list[str]], exact: bool = True) -> list[str]:
    if not isinstance(value, dict):
        return []
    found: list[str] = []
    wanted = {path[0].casefold() for path in paths}
    hits = [name for name in value if name.casefold() in wanted]
    if len({name.casefold() for name in hits}) != len(hits):
        raise ValueError
    for name in hits:
        below = [path[1:] for path in paths if path[0].casefold() == name.casefold()]
        members = value[name] if isinstance(value[name], list) else [value[name]]
        spelt = exact and name in {path[0] for path in paths}
        if [] not in below:
            found += [text for member in members for text in walk(member, below, spelt)]
        elif value[name] is not None:
            if not spelt or not all(isinstance(member, str) for member in members):
                raise ValueError
            found += members
    return found


@settings(deadline=None, max_examples=250)
@given(st.data(), st.sampled_from([("input.modelOptions.model", "input.model", "model"), ("model", "models")]))
def test_the_scanner_finds_what_a_decoder_sees(data, places):
    document = data.draw(values)
    body = data.draw(written(document)).encode("utf-8", "surrogatepass")
    expected = model_of(document, places)
    try:
        found = JsonPlaces(places).find(body)
    except Refused:
        assert expected is None or "\\ud" in body.decode("utf-8", "replace").lower()
        return
    assert [text.value for text in found] == expected
    for text in found:
        assert msgspec.json.decode(body[text.start : text.end]) == text.value


@settings(deadline=None, max_examples=250)
@given(
    st.lists(
        st.sampled_from(
            [
                "{",
                "}",
                "[",
                "]",
                ":",
                ",",
                '"',
                '"model"',
                '"a"',
                "\\",
                "\\u0061",
                "\\ud800",
                "1",
                "-",
                "01",
                "1e5",
                "NaN",
                "null",
                "tru",
                " ",
                "é",
                "\0",
            ]
        ),
        max_size=14,
    ).map("".join)
)
@example('{"model":"a"}x')
@example('\ufeff{"model":"a"}')
@example('{"model":NaN}')
@example('{"model":"a","x":"\\ud83d"}')
@example('{"x":"\\ude00\\ud83d","model":"\\ud83d\\ude00"}')
@example('{"x":"\\ud83d","model":"\\ud83d"}')
def test_what_is_no_json_is_refused_and_nothing_else_raises(text):
    body = text.encode()
    try:
        decoded = decode(body)
    except ValueError:
        with pytest.raises(Refused):
            LIST.find(body)
        return
    expected = model_of(decoded, ("model", "models"))
    try:
        found = LIST.find(body)
    except Refused:
        assert expected is None or body.count(b'"model"') > 1 or any("\ud800" <= letter <= "\udfff" for name in expected for letter in name)
    else:
        assert [text.value for text in found] == expected


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60))
def test_peek_never_raises(body):
    places = JsonPlaces(("input.model", "model"), ("input.model", "model"))
    places.peek(body)
    places.peek(b'{"model":' + body)


def test_peek_looks_at_main_places_alone():
    places = JsonPlaces(("input.model", "model", "prompt_id"), ("input.model", "model"))
    assert places.peek(b'{"prompt_id":"p","model":"a","input":{"model":"b"}}') == "b"
    assert places.peek(b'{"prompt_id":"p"}') == ""


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","model":"b"}',
        b'{"model":"a","model":"a"}',
        b'{"model":"a","MODEL":"b"}',
        b'{"Model":"a"}',
        b'{"mod\\u0045l":"a"}',
        b'{"model":null,"Input":{"model":"a"}}',
        b'{"model":"b","Input":[{"model":"a"}]}',
        '{"input":{"modelOption\u017f":{"model":"b"}}}'.encode(),
        b'{"model":"a","mod\\u0065l":"b"}',
        b'{"input":{"model":"a"},"input":{"model":"b"}}',
        b'{"input":{"model":"a"},"input":1}',
        b'{"input":{"modelOptions":{"model":"a","model":"b"}}}',
        b'{"input":[{"model":"a","Model":"b"}]}',
        b'{"input":[{"model":5}]}',
        '{"input":{"modelOptions":{"model":"a"},"modelOption\u017f":{"model":"b"}}}'.encode(),
        b'{"model":5}',
        b'{"model":{"name":"a"}}',
        b'{"model":["a",{"b":1}]}',
        b'{"model":"a","x":"\xff"}',
        b'\xef\xbb\xbf{"model":"a"}',
        b'{"model":"a"}{"model":"b"}',
        b'["model"]',
        b'"model"',
        b"",
        b"   ",
        b'{"model":"a"',
        b'{"model":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_can_be_read_two_ways_is_refused(body):
    with pytest.raises(Refused):
        CHAT.find(body)


@pytest.mark.parametrize(
    ("body", "models"),
    [
        (b'{"model":"a"}', ["a"]),
        (b'{"Model":null}', []),
        (b'{"model":"a","Input":{"x":"b"}}', ["a"]),
        (b'{"m\\u006fdel" : "\\u0061"}', ["a"]),
        (b'{"model":null}', []),
        (b"{}", []),
        (b'{"x":{"model":"b","model":"c"}}', []),
        (b'{"x":"\\"model\\":\\"b\\"","model":"a"}', ["a"]),
        (b'{"x":"model","model":"a"}', ["a"]),
        (b'{"input":{"modelOptions":{"model":"a"},"model":"b"},"model":"c"}', ["a", "b", "c"]),
        (b'{"input":["model"],"model":"a"}', ["a"]),
        (b'{"input":[1, {"model":"b"} ,"x",[{"model":"x"}],{"modelOptions":[{"model":"c"}]}],"model":"a"}', ["b", "c", "a"]),
        (b'{"input":[{"model":"b"}]}', ["b"]),
        (b'{"input":[ ],"model":"a"}', ["a"]),
        (b' {"model" :\n"a" , "x" : -1.5e3 } ', ["a"]),
    ],
)
def test_every_place_is_looked_at(body, models):
    assert [text.value for text in CHAT.find(body)] == models


@pytest.mark.parametrize("place", ["model", "\U0001f600", "stra\u00dfe"])
def test_a_name_is_known_however_long_it_is_written(place):
    units = place.encode("utf-16-be").hex()
    written = "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)).encode()
    assert [text.value for text in JsonPlaces((place,)).find(b'{"%b":"a"}' % written)] == ["a"]
    assert JsonPlaces((place,)).find(b'{"%b":"a"}' % (written + b"\\u0078" * 100)) == []


def test_a_list_of_models_names_all_of_them():
    assert [text.value for text in LIST.find(b'{"models":["a","b"],"model":"c"}')] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("body", "main"),
    [
        (b'{"model":"a"}', [True]),
        (b'{"model":"a","input":{"model":"b"},"tools":[{"model":"c"}],"models":["d"]}', [True, True, False, False]),
        (b'{"input":{"model":"b"}}', [True]),
        (b'{"input":{"model":"b"},"model":null}', [True]),
        (b'{"input":[{"model":"b"}]}', [False]),
        (b'{"model":["a","b"]}', [True, True]),
        (b'{"models":"a"}', [False]),
        (b'{"models":["a"],"model":null}', [False]),
        (b'{"tools":[{"model":"c"}]}', [False]),
        (b'{"tools":{"model":"c"}}', [False]),
    ],
)
def test_only_what_stands_at_a_main_place_and_not_below_a_list_is_main(body, main):
    places = JsonPlaces(("input.model", "model", "models", "tools.model"), ("input.model", "model"))
    assert [text.is_main for text in places.find(body)] == main


@pytest.mark.parametrize(
    "body",
    [
        b'{"tools":[' + b'{"model":"a"},' * 1000 + b'{"model":"a"}]}',
        b'{"models":[' + b'"a",' * 999 + b'"a"],"model":"a"}',
        b'{"model":"a","models":[' + b'"a",' * 999 + b'"a"]}',
    ],
)
def test_more_names_than_are_compared_are_refused_wherever_they_stand(body):
    with pytest.raises(Refused) as caught:
        JsonPlaces(("model", "models", "tools.model")).find(body)
    assert "too many models" in caught.value.detail
    # One object, or one name, less.
    fewer = body.replace(b'{"model":"a"},', b"", 1) if b"tools" in body else body.replace(b'["a",', b"[", 1)
    assert len(JsonPlaces(("model", "models", "tools.model")).find(fewer)) == 1000


def test_a_body_too_complex_to_be_checked_is_refused(monkeypatch):
    monkeypatch.setattr(json_places, "MAX_TOKENS", 1000)
    with pytest.raises(Refused):
        LIST.find(b'{"x":[' + b"[]," * 1000 + b'[]],"Model":"a"}')
    with pytest.raises(Refused):
        LIST.find(b'{"x":1,' + b'"x":1,' * 100 + b'"Model":"a"}')
