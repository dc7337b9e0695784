from __future__ import annotations

import contextlib
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.hubs import form_places
from sidecar.hubs.form_places import Names, boundary_of, multipart_fields, query_fields, unescaped, urlencoded_fields
from sidecar.refusals import Refused

B = "x-BOUNDARY"
MODEL = Names(["model"])


def part(disposition: str, value: bytes, *more: str) -> bytes:
    head = "\r\n".join([f"Content-Disposition: {disposition}", *more])
    return f"--{B}\r\n{head}\r\n\r\n".encode() + value + b"\r\n"


END = f"--{B}--\r\n".encode()
GOOD = (
    part('form-data; name="model"', b"whisper-1")
    + part('form-data; name="file"; filename="a.wav"', b"\0\r\n--x", "Content-Type: audio/wav")
    + END
)


def test_fields_with_their_spans():
    fields = multipart_fields(GOOD, B)
    assert [(field.name, GOOD[field.start : field.end], field.is_file) for field in fields] == [
        ("model", b"whisper-1", False),
        ("file", b"\0\r\n--x", True),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"preamble\r\n" + GOOD,
        GOOD[:-4],
        GOOD + b"epilogue",
        GOOD.replace(b"whisper-1", f"x\n--{B}\ny".encode()),
        GOOD.replace(b"whisper-1", f"x\r--{B}\ry".encode()),
        GOOD.replace(b"whisper-1", f"x\n--{B}--".encode()),
        GOOD.replace(b"\r\n", b"\n"),
        part("form-data; name=a b", b"x") + END,
        part("form-data; name=a;b", b"x") + END,
        part("form-data; name=a,b", b"x") + END,
        part("form-data; name=", b"x") + END,
        part("form-data; name=mod%65l", b"x") + END,
        part("form-data; name='model'", b"x") + END,
        part('form-data; name=model"', b"x") + END,
        part('form-data; name="a"b', b"x") + END,
        part("form-data; name=model[]", b"x") + END,
        part("form-data; name=modél", b"x") + END,
        part("form-data; name = model", b"x") + END,
        part('form-data; name=a; name="model"', b"x") + END,
        part("form-data; name=a; NAME=model", b"x") + END,
        part("form-data; filename=a.wav", b"x") + END,
        part("form-data; name=a; x=b", b"x") + END,
        part('form-data; name="a"; name="model"', b"x") + END,
        part("form-data; name*=utf-8''model", b"x") + END,
        part("form-data; name=\"a\"; name*=utf-8''model", b"x") + END,
        part('attachment; name="model"', b"x") + END,
        part('form-data; name="mo\\del"', b"x") + END,
        part('form-data; name="mod%65l"', b"x") + END,
        part('form-data; name="a"', b"x", 'Content-Disposition: form-data; name="model"') + END,
        part('form-data; name="model"', b"d2hpc3Blcg==", "Content-Transfer-Encoding: base64") + END,
        part('form-data;\r\n name="model"', b"x") + END,
        part('form-data; name="model"', b"x", "bad header") + END,
        f"--{B}\r\n\r\nx\r\n".encode() + END,
        part('form-data; name="a"', b"x") * 2000 + END,
        # Patterns that try every way to read these would not end within a life.
        part('form-data; name="model"', b"x", "a:" + " " * 100_000 + "\n") + END,
        part('form-data; name="model"' + ";filename*=a" * 5_000 + " x", b"x") + END,
        part('form-data; name="model"' + '; filename*="a"' * 5_000 + " x", b"x") + END,
        part("form-data; name=model" + "; filename=a" * 5_000 + " x", b"x") + END,
        part("form-data; name=" + "a" * 100_000 + " x", b"x") + END,
    ],
)
def test_what_can_be_read_two_ways_is_refused(body):
    with pytest.raises(Refused):
        multipart_fields(body, B)


# As .NET's MultipartFormDataContent writes it.
TOKENS = (
    part("form-data; name=model", b"whisper-1", "Content-Type: text/plain; charset=utf-8")
    + part("form-data; name=file; filename=a.wav; filename*=utf-8''a.wav", b"\0", "Content-Type: audio/wav")
    + END
)


def test_names_without_quotes():
    assert [(field.name, TOKENS[field.start : field.end], field.is_file) for field in multipart_fields(TOKENS, B)] == [
        ("model", b"whisper-1", False),
        ("file", b"\0", True),
    ]


@given(st.text("abcXYZ019._-", min_size=1), st.text("abc019._-", min_size=1), st.sampled_from([";", "; "]))
def test_a_token_means_the_same_with_quotes_and_without(name, file_name, separator):
    def read(quote):
        parameters = [f"name={quote}{name}{quote}", f"filename={quote}{file_name}{quote}"]
        return [
            (field.name, field.is_file)
            for chosen in (parameters, parameters[:1], parameters[::-1])
            for field in multipart_fields(part(separator.join(["form-data", *chosen]), b"x") + END, B)
        ]

    assert read("") == read('"') == [(name, True), (name, False), (name, True)]


@pytest.mark.parametrize("boundary", ["", "a b", "a,b", "é", "x" * 71])
def test_boundaries_that_are_none(boundary):
    with pytest.raises(Refused):
        multipart_fields(GOOD, boundary)


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from([b"--" + B.encode(), b"\r\n", b"--", b'Content-Disposition: form-data; name="model"', b"a", b":"]), max_size=14
    )
)
def test_only_refusals_are_raised(pieces):
    with contextlib.suppress(Refused):
        multipart_fields(b"".join(pieces), B)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", "abc"),
        ('multipart/form-data; BOUNDARY="a b"', "a b"),
        ('multipart/form-data; boundary="==a?b=="', "==a?b=="),
        ("multipart/form-data; boundary=----a_b.c+d; charset=utf-8", "----a_b.c+d"),
        ("multipart/form-data; boundary=a,b", ""),
        ("multipart/form-data; boundary=a:b", ""),
        ("multipart/form-data; boundary=a=b", ""),
        ("multipart/form-data; boundary='a'", ""),
        ('multipart/form-data; boundary="a', ""),
        ("multipart/form-data; boundary=<a>", ""),
        ("multipart/form-data; x=1 ;boundary=a;", "a"),
        ('multipart/form-data; x="1;2"; boundary=a', "a"),
        ("multipart/form-data; boundary=", ""),
        ("multipart/form-data; nonsense; boundary=a", ""),
        ('multipart/form-data; x="; boundary=a"', ""),
        ("multipart/form-data; boundary=a; boundary=b", ""),
        ("multipart/form-data; boundary*=utf-8''a", ""),
        ("multipart/form-data", ""),
    ],
)
def test_boundary_of(content_type, boundary):
    assert boundary_of(content_type) == boundary


def test_heads_that_would_hold_up_the_worker_are_refused(monkeypatch):
    heads = len(part('form-data; name="model"', b"")) + len(part('form-data; name="b"', b"")) - 2 * len(f"--{B}\r\n\r\n\r\n\r\n")
    body = part('form-data; name="model"', b"x" * 1000) + part('form-data; name="b"', b"") + END
    monkeypatch.setattr(form_places, "MAX_HEADS", heads)
    assert [field.name for field in multipart_fields(body, B)] == ["model", "b"]
    monkeypatch.setattr(form_places, "MAX_HEADS", heads - 1)
    with pytest.raises(Refused) as caught:
        multipart_fields(body, B)
    assert "too long heads" in caught.value.detail


def spans(fields, text):
    return [(field.name, text[field.start : field.end]) for field in fields]


def test_query_fields():
    query = b"a=1&b;mod%65l=x%2Fy+z&&=;model;x[model]=%"
    assert spans(query_fields(query, MODEL), query) == [("model", b"x%2Fy+z"), ("model", b""), ("x[model]", b"%")]
    assert spans(query_fields(query, Names(["a", "B"])), query) == [("a", b"1"), ("b", b"")]
    assert query_fields(query, Names([])) == []


def test_urlencoded_fields():
    body = b"a=1&model=x%2Fy;model=b&b&=z"
    assert spans(urlencoded_fields(body, MODEL), body) == [("model", b"x%2Fy;model=b")]
    with pytest.raises(Refused):
        urlencoded_fields("é=1".encode(), MODEL)


@pytest.mark.parametrize(
    ("name", "has_it"),
    [
        (b"model", True),
        (b"MODEL", True),
        (b"model[]", True),
        (b"model[0][x]", True),
        (b"input[model]", True),
        (b"a.b.model", True),
        (b"[model", True),
        (b"a[" + b" " * 100 + b"model\t\r\n\0]", True),
        (b"a" * 100 + b".model", True),
        (b"models", False),
        (b"mod.el", False),
        (b"a model", False),
        (b"model\xff", False),
        (b"", False),
        (b"[]", False),
        ("\u212aey".encode(), True),
        ("STRA\u1e9eE".encode(), True),
        (b"strasse", True),
        (b"strase", False),
    ],
)
def test_what_a_field_may_be_taken_for(name, has_it):
    assert Names(["model", "key", "straße"]).have(name) is has_it
    assert bool(Names([])) is Names([]).have(name) is False


@given(st.lists(st.sampled_from([b"%", b"%4", b"%41", b"%c3", b"4", b"1", b"+", b"x"]), max_size=12).map(b"".join), st.integers(3, 9))
def test_what_is_unescaped_in_pieces_is_as_in_one(text, piece):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(form_places, "_PIECE", piece)
        assert unescaped(text) == unquote_to_bytes(text.replace(b"+", b" "))


@pytest.mark.parametrize("mark", [b"%41", b"%", b"[", b"]", b"."])
def test_names_that_would_hold_up_the_worker_are_refused(monkeypatch, mark):
    monkeypatch.setattr(form_places, "MAX_MARKS", 10)
    most = b"a" + mark * 4 + b"&b" + mark * 6 + b"=" + mark * 20 + b"&model=%41"
    for fields_of in (query_fields, urlencoded_fields):
        assert spans(fields_of(most, MODEL), most) == [("model", b"%41")]
        with pytest.raises(Refused) as caught:
            fields_of(most + b"&c" + mark, MODEL)
        assert "too many escapes or brackets" in caught.value.detail


def test_a_value_that_would_hold_up_the_worker_is_refused(monkeypatch):
    monkeypatch.setattr(form_places, "MAX_MARKS", 10)
    assert unescaped(b"%41" * 10 + b"+.[]" * 5) == b"A" * 10 + b" .[]" * 5
    with pytest.raises(Refused):
        unescaped(b"%41" * 11)
