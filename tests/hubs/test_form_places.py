from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.hubs.form_places import boundary_of, multipart_fields, query_fields, urlencoded_fields
from sidecar.refusals import Refused

B = "x-BOUNDARY"


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


def test_query_fields():
    assert list(query_fields("a=1&b;mod%65l=x%2Fy+z&&=")) == [("a", "1"), ("b", ""), ("model", "x/y z"), ("", "")]


def test_urlencoded_fields():
    body = b"a=1&model=x%2Fy&b&=z"
    assert [(field.name, body[field.start : field.end]) for field in urlencoded_fields(body)] == [
        ("a", b"1"),
        ("model", b"x%2Fy"),
        ("b", b""),
        ("", b"z"),
    ]
    with pytest.raises(Refused):
        urlencoded_fields("é=1".encode())
