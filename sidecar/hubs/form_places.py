"""Finds fields of form bodies, with their byte spans, and refuses a form that can be read two ways. Pure.

Form parsers differ in what they repair, so nothing is repaired here: a body that is not exactly what
RFC 7578 or the URL standard describes is refused when a key's model list depends on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from sidecar.refusals import BAD_BODY, Refused

MAX_PARTS = 1000
MAX_FIELDS = 100_000
"""Fields of an urlencoded body, about 0.2 s of work: more would hold up the worker."""

# Nor a comma, at which Rack ends even a quoted one.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_./:=?-]{1,70}")
# Without quotes Werkzeug, PHP and Rack end it at a character that needs some, and find other fields then.
_TYPE_PARAMETER = re.compile(r'[ \t]*([0-9A-Za-z*_-]+)=(?:([0-9A-Za-z+_.-]+)|"([^"\\]*)")[ \t]*(?:;|\Z)')
# RFC 2183 lets a value that is a token go without quotes, as .NET sends it; of tokens those that no parser ends early.
_DISPOSITION = re.compile(
    rb'form-data((?:; ?(?:[A-Za-z*]+="[^"\\\r\n]*(?:\\.[^"\\\r\n]*)*"|filename\*=[!#-:<-~]++|[A-Za-z]+=[A-Za-z0-9._-]++))+)'
)
_PARAMETER = re.compile(rb'; ?([A-Za-z*]+)=(?:"([^"\\\r\n]*(?:\\.[^"\\\r\n]*)*)"|([!#-:<-~]++))')
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r\n]*)")


class Field(NamedTuple):
    """A field of a form: its name, and where its value stands in the body."""

    name: str
    start: int
    end: int
    is_file: bool


def query_fields(query: str) -> Iterator[tuple[str, str]]:
    """Each name and value of a query or of an urlencoded body, decoded. `;` separates too: some servers hold it does."""
    for pair in re.split("[&;]", query):
        if pair:
            name, _, value = pair.partition("=")
            yield _decoded(name), _decoded(value)


def urlencoded_fields(body: bytes) -> list[Field]:
    """Each field of an urlencoded body. Raises Refused(BAD_BODY)."""
    if not body.isascii():
        raise Refused(BAD_BODY, "The form is not percent-encoded.")
    return [
        Field(_decoded(match[1].decode("ascii")), match.end(1) + len(match[2]), match.end(), False)
        for match in re.finditer(rb"([^&=]*)(=?)[^&]*", body)
        if match[0]
    ]


def multipart_fields(body: bytes, boundary: str) -> list[Field]:
    """Each part of a multipart/form-data body. Raises Refused(BAD_BODY)."""
    if not _BOUNDARY.fullmatch(boundary):
        raise _not_multipart()
    delimiter = b"--" + boundary.encode("ascii")
    # RFC 2046 lets text stand before the first delimiter; no client of a form sends any, and parsers disagree on it.
    if not body.startswith(delimiter + b"\r\n"):
        raise _not_multipart()
    fields: list[Field] = []
    at = len(delimiter) + 2
    delimiter = b"\r\n" + delimiter
    while True:
        end = body.find(delimiter, at)
        blank = body.find(b"\r\n\r\n", at, end)
        if end < 0 or blank < 0 or len(fields) >= MAX_PARTS:
            raise _not_multipart()
        fields.append(_part(body[at:blank], blank + 4, end))
        at = end + len(delimiter) + 2
        if body[at - 2 : at] == b"--":
            if body[at:] not in (b"", b"\r\n") or _has_other_delimiters(body, delimiter, len(fields)):
                raise _not_multipart()
            return fields
        if body[at - 2 : at] != b"\r\n":
            raise _not_multipart()


def boundary_of(content_type: str) -> str:
    """The boundary parameter of `content_type`; empty when there is none, more than one, or one that not all servers read alike."""
    if content_type.lower().count("boundary") != 1:
        return ""
    rest, at = content_type.partition(";")[2], 0
    while at < len(rest):
        match = _TYPE_PARAMETER.match(rest, at)
        if match is None:
            return ""
        if match[1].lower() == "boundary":
            return match[2] or match[3]
        at = match.end()
    return ""


def _has_other_delimiters(body: bytes, delimiter: bytes, known: int) -> bool:
    """Whether there is a delimiter behind a bare CR or LF: Werkzeug and PHP take it for one."""
    return body.count(b"\n" + delimiter[2:]) + body.count(b"\r" + delimiter[2:]) != known


def _part(head: bytes, start: int, end: int) -> Field:
    dispositions: list[bytes] = []
    for line in head.split(b"\r\n"):
        match = _HEADER.fullmatch(line)
        if match is None:
            raise _not_multipart()
        # Stripped here and not by the pattern, whose work would grow with the third power of the blanks.
        name, value = match[1].lower(), match[2].strip(b" \t")
        if name == b"content-disposition":
            dispositions.append(value)
        elif name == b"content-transfer-encoding" and value.lower() not in (b"binary", b"8bit", b"7bit"):
            raise _not_multipart()
    if len(dispositions) != 1 or (found := _DISPOSITION.fullmatch(dispositions[0])) is None:
        raise _not_multipart()
    parameters = [(parameter[1].lower(), parameter[2] or parameter[3] or b"") for parameter in _PARAMETER.finditer(found[1])]
    names = [name for name, _ in parameters]
    if len(set(names)) != len(names) or not set(names) <= {b"name", b"filename", b"filename*"} or b"name" not in names:
        raise _not_multipart()
    name = dict(parameters)[b"name"]
    # Parsers disagree on whether a backslash or a percent sign escapes.
    if b"\\" in name or b"%" in name:
        raise _not_multipart()
    try:
        return Field(name.decode(), start, end, len(names) > 1)
    except UnicodeDecodeError as error:
        raise _not_multipart() from error


def _decoded(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ")).decode("utf-8", "replace")


def _not_multipart() -> Refused:
    return Refused(BAD_BODY, "The form is not multipart/form-data as RFC 7578 describes it.")
