from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.hubs import form_places
from sidecar.hubs.form_places import Names, boundary_of, loose_fields, multipart_fields, query_fields, unescaped, urlencoded_fields
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
        GOOD + b"\n",
        GOOD + b"\r\n" * 2,
        GOOD + b"\r\n" + part('form-data; name="a"', b"x") + END,
        GOOD.replace(b"whisper-1", f"x\n--{B}\ny".encode()),
        GOOD.replace(b"whisper-1", f"x\r--{B}\ry".encode()),
        GOOD.replace(b"whisper-1", f"x\n--{B}--".encode()),
        GOOD.replace(b"whisper-1", f"x\n--{B}\r--{B}".encode()),
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
        # Werkzeug ends a name at some of the characters that a file's may have, and PHP takes an apostrophe for a quote.
        part("form-data; name=a&b", b"x") + END,
        part("form-data; name=a; filename=it's.wav", b"x") + END,
        part("form-data; name=a; filename='a.wav'", b"x") + END,
        part("form-data; name=a; filename=a;wav", b"x") + END,
        part("form-data; name=a; filename=a=b", b"x") + END,
        part("form-data; name=a; filename=", b"x") + END,
        part("form-data; name=a; filename=a\\b", b"x") + END,
        part("form-data; filename*=a'; name=\"'; name=model; x=\"", b"x") + END,
        part("form-data; filename*=a'b'c'; name=\"'; name=model; x=\"", b"x") + END,
        part('form-data; filename*="\\\\"; name="; name=model; x="', b"x") + END,
        part('form-data; name="a"; name="model"', b"x") + END,
        part("form-data; name*=utf-8''model", b"x") + END,
        part("form-data; name=\"a\"; name*=utf-8''model", b"x") + END,
        part('attachment; name="model"', b"x") + END,
        part('form-data; name="mo\\del"', b"x") + END,
        part('form-data; name="mod%65l"', b"x") + END,
        part('form-data; name="a"', b"x", 'Content-Disposition: form-data; name="model"') + END,
        # Rack looks for the word, in whatever line.
        part('form-data; name="a"', b"x", 'X-Content-Disposition: form-data; name="model"') + END,
        part('form-data; name="a"', b"x", "Content-Type: text/plain; content-disposition:; name=model") + END,
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
        part("form-data; name=model" + "; name=a" * 5_000 + " x", b"x") + END,
        part("form-data; name=model" + "; filename*=a''b" * 5_000 + " x", b"x") + END,
        part('form-data; name="model"' + '; filename="a"' * 5_000 + " x", b"x") + END,
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


CHARSETS = [
    ("charset=utf-8", False),
    ('Charset="UTF-8"', False),
    ("charset = utf-8", False),
    # Apache's HttpClient and other Java.
    ("charset=ISO-8859-1", False),
    ("charset=US-ASCII", False),
    # With busboy `Z3B0LTU=:free` is `gpt-5` then.
    ("charset=base64", True),
    ("charset=utf-16le", True),
    ('charset="utf-7"', True),
    ("charset*=utf-8''utf-16", True),
    ("charset*0=utf; charset*1=-16", True),
    ("charset=utf-8; charset=utf-16", True),
    ("charset=", True),
]


@pytest.mark.parametrize(("charset", "is_recoded"), CHARSETS)
def test_a_part_in_another_charset_is_known(charset, is_recoded):
    body = part('form-data; name="model"', b"a", f"Content-Type: text/plain; {charset}") + part('form-data; name="b"', b"b") + END
    assert [field.is_recoded for field in multipart_fields(body, B)] == [is_recoded, False]


@pytest.mark.parametrize(
    ("line", "is_file"),
    [
        ("Content-Type: application/octet-stream", True),
        ("content-type:\tApplication/Octet-Stream; x=y", True),
        ("X: y\r\nContent-Type:application/octet-stream", True),
        ("Content-Type: text/plain", False),
        ("X-Content-Type: application/octet-stream", False),
    ],
)
def test_octets_are_a_file_without_a_name_too(line, is_file):
    """As busboy takes them, which would find no model then."""
    body = part('form-data; name="model"', b"a", line) + part('form-data; name="b"', b"b") + END
    assert [field.is_file for field in multipart_fields(body, B)] == [is_file, False]


@pytest.mark.parametrize(("charset", "is_read"), [(b"UTF-8", True), (b"windows-1252", True), (b"utf-16le\r\n", False), (b"", False)])
def test_a_field_that_tells_the_charset_of_all(charset, is_read):
    """RFC 7578 4.6; browsers fill it in, aiohttp heeds it."""
    body = part('form-data; name="_charset_"', charset) + part('form-data; name="model"', b"a") + END
    if is_read:
        assert len(multipart_fields(body, B)) == 2
    else:
        with pytest.raises(Refused):
            multipart_fields(body, B)


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\r\n\r\n"])
def test_how_clients_end_a_form(end):
    """axios and Ruby's multipart-post with an empty line."""
    assert [field.name for field in multipart_fields(GOOD.removesuffix(b"\r\n") + end, B)] == ["model", "file"]


@pytest.mark.parametrize(
    "parameters",
    [
        "filename=R&D.mp3; filename*=utf-8''R%26D.mp3",
        "filename=a+b.mp3",
        "FileName=a!#$%*^_`|~b.mp3",
        'filename="it\'s.mp3"; filename*="UTF-8\'\'it%27s.mp3"',
        "filename*=iso-8859-1'en'a.mp3",
        r'filename="C:\music\a \"b\".mp3"',
    ],
)
def test_names_of_files(parameters):
    body = part(f"form-data; name=file; {parameters}", b"x") + END
    assert [(field.name, field.is_file) for field in multipart_fields(body, B)] == [("file", True)]


@pytest.mark.parametrize(
    "disposition",
    [
        "form-data; filename*=utf-8''name=model; name=\"prompt\"",
        "form-data; filename*=utf-8''a-NAME=model; name=\"prompt\"",
        'form-data; filename="name=model"; name="prompt"',
        'form-data; filename*="name=model"; name="prompt"',
        'form-data; name="prompt"; filename="; name=model"',
        'form-data; name="prompt"; filename="x\\"; name=\\"model"',
        'form-data; name="prompt name=model"',
        'form-data; name="file"; filename="my name=1.mp3"',
        'form-data; name="file"; filename="é-Name=1.mp3"',
    ],
)
def test_a_name_within_another_parameter_is_refused(disposition):
    """Parsers that look for the word, and not for a parameter, take it for the name of the field."""
    with pytest.raises(Refused) as caught:
        multipart_fields(part(disposition, b"x") + END, B)
    assert "name=" in caught.value.detail


@pytest.mark.parametrize(
    "disposition",
    [
        'form-data; name="file"; filename="my name.mp3"',
        'form-data; name="file"; filename="filename=1.mp3"',
        'form-data; name="file"; filename="my_name=1.mp3"',
        'form-data; name="file"; filename="name =1.mp3"',
        'form-data; name="file"; filename="Ä=ö (1), x.mp3"',
        "form-data; name=file; filename=name.mp3; filename*=utf-8''name%3D1.mp3",
        'form-data;name="file";filename="name"',
        'form-data; filename="name"; NAME="file"',
    ],
)
def test_the_word_name_elsewhere_is_none(disposition):
    assert [(field.name, field.is_file) for field in multipart_fields(part(disposition, b"x") + END, B)] == [("file", True)]


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
        # PHP, in whose place any other parser that looks for the word may stand, finds another.
        ("multipart/form-data; Boundary=a-boundary; x=b", ""),
        ("multipart/form-data; boundary=a; x=boundary", ""),
        ("multipart/form-data; xboundary=b; boundary=a-boundary", ""),
        ('multipart/form-data; boundary="a-boundary=b"', ""),
        ('multipart/form-data; boundary="a-boundary:b"', ""),
        ("boundary; boundary=a-boundary", ""),
    ],
)
def test_boundary_of(content_type, boundary):
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "boundary",
    [
        "----WebKitFormBoundaryAbCdEf0123456789",
        "----geckoformboundary1a2b3c4d5e6f",
        "---------------------------735323031399963166993862150",
        "axios-1.7.2-boundary-AbC_d-3",
        "form-data-boundary-abcdefghijklmnop",
        "dart-http-boundary-a.b+c_d-e",
        "--dio-boundary-1234567890",
        "alamofire.boundary.12ab34cd56ef7890",
    ],
)
@pytest.mark.parametrize("quote", ["", '"'])
def test_boundaries_of_clients(boundary, quote):
    assert boundary_of(f"multipart/form-data; boundary={quote}{boundary}{quote}") == boundary
    assert boundary_of(f"multipart/form-data; charset=utf-8; boundary={quote}{boundary}{quote}; x=y") == boundary


def _of_php(content_type: str) -> str | None:
    at = content_type.find("boundary")
    _, sign, rest = content_type[at if at >= 0 else content_type.lower().find("boundary") :].partition("=")
    return (rest[1:].partition('"')[0] if rest.startswith('"') else re.split("[,;]", rest)[0]) if sign else None


def _of_a_pattern(pattern: str, flags: int = 0) -> Callable[[str], str | None]:
    def read(content_type: str) -> str | None:
        match = re.search(pattern, content_type, flags)
        return match[1].strip('"') if match else None

    return read


def _of_pairs(content_type: str) -> str | None:
    pairs = (pair.partition("=") for pair in content_type.split(";"))
    return next((value.strip(' "') for name, _, value in pairs if name.strip().lower() == "boundary"), None)


PARSERS = {
    "PHP": _of_php,
    "Rack": _of_a_pattern(r'\Amultipart/.*?boundary="?([^";,]+)"?', re.IGNORECASE),
    "Rack 1": _of_a_pattern(r'\Amultipart/.*boundary="?([^";,]+)"?', re.IGNORECASE),
    "formidable": _of_a_pattern(r'boundary=("[^"]+"|[^;]+)', re.IGNORECASE),
    "cpp-httplib": _of_a_pattern("boundary=([^;]*)"),
    "aiohttp": _of_pairs,
}
VALUES = ["a", "a-boundary", "aBoundary", "boundary", "boundary-=b", "boundary=b", "b=c", "a b", "a;boundary=b", "a,b"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["boundary", "Boundary", "x", "xboundary", "boundary-x"]), st.sampled_from(VALUES), st.booleans()),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from([";", "; ", " ; "]),
)
def test_no_parser_finds_another_boundary(parameters, separator):
    written = (f'{name}="{value}"' if is_quoted else f"{name}={value}" for name, value, is_quoted in parameters)
    content_type = separator.join(["multipart/form-data", *written])
    with contextlib.suppress(Refused):
        boundary = boundary_of(content_type)
        multipart_fields(GOOD.replace(B.encode(), boundary.encode()), boundary)
        found = {name: (of(content_type) or boundary).strip() for name, of in PARSERS.items()}
        assert found == dict.fromkeys(PARSERS, boundary)


def test_a_form_has_no_more_parts_than_can_be_checked():
    parts = part('form-data; name="a"', b"x") * 1000
    assert len(multipart_fields(parts + END, B)) == 1000
    with pytest.raises(Refused):
        multipart_fields(parts + part('form-data; name="a"', b"x") + END, B)


@pytest.mark.parametrize(("encoding", "is_taken"), [("binary", True), ("8bit", True), ("7BIT", True), ("base64", False)])
def test_a_part_comes_as_it_is(encoding, is_taken):
    """Other encodings of the transfer some parsers undo, and others do not."""
    body = part('form-data; name=""', b"x", f"Content-Transfer-Encoding:\t{encoding}") + END
    with contextlib.nullcontext() if is_taken else pytest.raises(Refused):
        assert [field.name for field in multipart_fields(body, B)] == [""]


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


def test_a_field_is_found_though_not_all_of_its_name_is_text():
    assert [field.name for field in query_fields(b"x%ff[model]=cheap", MODEL)] == ["x\ufffd[model]"]
    # Letters of three bytes each are folded to such of one.
    assert Names(["kkkk"]).have("\u212a\u212a\u212a\u212a".encode())


def test_loose_fields():
    text = b"a=1&b;mod%65l=x%2Fy+z&&=;model;x[model]=%"
    assert spans(loose_fields(text, MODEL), text) == [("model", b"x%2Fy+z"), ("model", b""), ("x[model]", b"%")]
    assert spans(loose_fields(text, Names(["a", "B"])), text) == [("a", b"1"), ("b", b"")]
    assert loose_fields(text, Names([])) == []


@pytest.mark.parametrize("fields_of", [query_fields, urlencoded_fields])
def test_query_fields(fields_of):
    text = b"a=1;2&b&mod%65l=x%2Fy%3Bz&&=;&model&x[model]=%=&;b=;&c=;"
    assert spans(fields_of(text, MODEL), text) == [("model", b"x%2Fy%3Bz"), ("model", b""), ("x[model]", b"%=")]
    assert fields_of(text, Names([])) == []


def test_an_urlencoded_form_is_ascii():
    assert query_fields("é=1;2&model=é".encode(), MODEL)
    with pytest.raises(Refused):
        urlencoded_fields("é=1".encode(), MODEL)


def _read(text: bytes, separators: bytes) -> list[tuple[str, int, bytes]]:
    """The fields that may be taken for the model, as a server reads them that splits at `separators`."""
    found = []
    for match in re.finditer(b"(?:^|[%b])([^%b]*)" % (separators, separators), text):
        name, _, value = match[1].partition(b"=")
        if MODEL.have(unescaped(name)):
            found.append((unescaped(name).decode(), match.end() - len(value), value))
    return found


@given(
    st.lists(st.sampled_from([b"model", b"%6dodel", b"model[]", b"x", b"=", b"&", b";", b";", b"%3B", b"[", b"."]), max_size=12).map(
        b"".join
    )
)
def test_a_semicolon_that_makes_a_difference_is_refused(text):
    wide, narrow = _read(text, b"&"), _read(text, b"&;")
    assert [(field.name, field.start, text[field.start : field.end]) for field in loose_fields(text, MODEL)] == narrow
    if wide != narrow:
        with pytest.raises(Refused) as caught:
            query_fields(text, MODEL)
        assert "%3B" in caught.value.detail
    else:
        assert [(field.name, field.start, text[field.start : field.end]) for field in query_fields(text, MODEL)] == wide


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
        (b"model\0s", True),
        (b"input[model\0s]", True),
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


@pytest.mark.parametrize("separator", [b"&", b"a=1&", b"a;b&"])
def test_a_model_that_not_each_hub_reads_is_refused(separator):
    """PHP and qs read the first 1,000 fields."""
    for fields_of in (query_fields, urlencoded_fields):
        many = 999 if separator != b"a;b&" else 499
        assert [field.name for field in fields_of(separator * many + b"model=a&" + b"b&" * 2000, MODEL)] == ["model"]
        with pytest.raises(Refused) as caught:
            fields_of(separator * (many + 1) + b"model=a", MODEL)
        assert caught.value.param == "model" and "first 1000" in caught.value.detail
        assert fields_of(separator * 5000, MODEL) == []


@pytest.mark.parametrize("mark", [b"%41", b"%", b"[", b"]", b".", b"\0"])
def test_names_that_would_hold_up_the_worker_are_refused(monkeypatch, mark):
    monkeypatch.setattr(form_places, "MAX_MARKS", 10)
    most = b"a" + mark * 4 + b"&b" + mark * 6 + b"=" + mark * 20 + b"&model=%41"
    for fields_of in (query_fields, urlencoded_fields, loose_fields):
        assert spans(fields_of(most, MODEL), most) == [("model", b"%41")]
        with pytest.raises(Refused) as caught:
            fields_of(most + b"&c" + mark, MODEL)
        assert "too many escapes or brackets" in caught.value.detail


def test_a_value_that_would_hold_up_the_worker_is_refused(monkeypatch):
    monkeypatch.setattr(form_places, "MAX_MARKS", 10)
    assert unescaped(b"%41" * 10 + b"+.[]" * 5) == b"A" * 10 + b" .[]" * 5
    with pytest.raises(Refused):
        unescaped(b"%41" * 11)
