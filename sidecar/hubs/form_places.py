"""Finds fields of form bodies, with their byte spans, and refuses a form that can be read two ways. Pure.

Form parsers differ in what they repair, so nothing is repaired here: a body that is not exactly what
RFC 7578 or the URL standard describes is refused when a key's model list depends on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from sidecar.refusals import BAD_BODY, Refused

URLENCODED = "application/x-www-form-urlencoded"
MAX_PARTS = 1000
"""Parts of a multipart body."""
MAX_HEADS = 1 << 20
"""Bytes of the heads of all parts, about 0.1 s of work however short their lines are; a thousand files have a third of it."""
MAX_FIELDS = 100_000
"""Fields of an urlencoded body, about 0.2 s of work: more would hold up the worker."""
MOST_READ = 1000
"""Fields of a query or an urlencoded body that each hub reads: PHP and qs (Express) pass over all behind these without a word."""
MAX_MARKS = 1_000_000
"""Percent signs, brackets and dots in the names of all fields, or percent signs in a value: each is looked at by itself, up to 0.4 s."""

# Nor a comma, at which Rack ends even a quoted one.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_./:=?-]{1,70}")
# Without quotes Werkzeug, PHP and Rack end it at a character that needs some, and find other fields then.
_PLAIN = re.compile(r"[0-9A-Za-z+_.-]+")
_TYPE_PARAMETER = re.compile(r'[ \t]*([0-9A-Za-z*_-]+)=(?:([0-9A-Za-z+_.-]+)|"([^"\\]*)")[ \t]*(?:;|\Z)')
# Possessive, as in json_places: of what a repeated group may give back, re keeps a hundred bytes each time.
_QUOTED = rb'[^"\\\r\n]*+(?:\\.[^"\\\r\n]*+)*+'
# RFC 8187, without the apostrophe that PHP takes for an opening quote.
_EXTENDED = rb"[!#-&(-:<-~]*+'[!#-&(-:<-~]*+'[!#-&(-:<-~]++"
# RFC 2183 lets a value that is a token go without quotes, as .NET sends it; of tokens those that no parser ends early. No two
# alternatives may match the same parameter, or a head of many that does not fit would take exponential time.
_DISPOSITION = re.compile(
    rb'form-data((?:; ?(?:[A-Za-z]++="%b"|(?i:filename\*)=(?:"[^"\\\r\n]*+"|%b)'
    rb"|(?i:name)=[A-Za-z0-9._-]++|(?i:filename)=[!#-&*+.^_`|~0-9A-Za-z-]++))+)" % (_QUOTED, _EXTENDED)
)
_PARAMETER = re.compile(rb'; ?([A-Za-z*]+)=(?:"(%b)"|([!#-:<-~]++))' % _QUOTED)
# As formidable 2 (Node) looks for the name of a part: the first one, also within other parameters. Rack 2 takes the last one.
_NAME = re.compile(rb"\bname=", re.IGNORECASE)
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r\n]*)")
_FIELD = re.compile(rb"([^&;=]*)=?([^&;]*)([&;]?)")
_MARKS = b"%[].\0"
# PHP ends a name at a NUL.
_NAME_PART = re.compile(rb"[^\[\].\0]+")
# To busboy a file, also without a name of one.
_OCTETS = re.compile(rb"^content-type:[ \t]*application/octet-stream", re.IGNORECASE | re.MULTILINE)
_FORMS = (("urlencoded", URLENCODED), ("multipart", "multipart/"), ("octet-stream", "application/octet-stream"))
"""Words by which formidable (Node) knows how to read a body, wherever in its Content-Type they stand, and the types that begin so."""
_CHARSET = re.compile(rb"charset[*0-9]*\s*=\s*\"?([^\s\";]*)", re.IGNORECASE)
_PLAIN_CHARSETS = (b"utf-8", b"utf8", b"us-ascii", b"ascii", b"iso-8859-1", b"latin1", b"windows-1252")
"""Those in which the letters of ASCII are what they are in UTF-8; Java's clients say the last three of a form's fields."""
_PIECE = 64 << 10


class Names:
    """Names of places, without case, that fields may be taken for."""

    def __init__(self, names: Iterable[str]) -> None:
        self._folded = frozenset(name.casefold() for name in names)
        # Of four bytes a character at most; folding makes none fewer.
        self._longest = 4 * max(map(len, self._folded), default=0)

    def __bool__(self) -> bool:
        return bool(self._folded)

    def have(self, field: bytes) -> bool:
        """Whether a field called `field`, unescaped, may be taken for one: form parsers make members of `model[]` and `input[model]`."""
        for match in _NAME_PART.finditer(field):
            part = match[0].strip(b" \t\r\n")
            if len(part) <= self._longest and part.decode("utf-8", "replace").casefold() in self._folded:
                return True
        return False


class Field(NamedTuple):
    """A field of a form or query: its name, and where its value stands."""

    name: str
    start: int
    end: int
    is_file: bool
    is_recoded: bool = False
    """Whether its part says that it is in a charset in which its bytes are other letters than in UTF-8: aiohttp and busboy heed that,
    and busboy knows one called base64."""


def media_type_of(content_type: str) -> str:
    """The media type in `content_type`. Raises Refused(BAD_BODY) for a charset other than UTF-8, and where another type may be found."""
    label = content_type.lower()
    media_type = label.partition(";")[0].strip()
    charsets = _CHARSET.findall(label.encode())
    if any(charset not in (b"utf-8", b"utf8", b"us-ascii") for charset in charsets):
        raise Refused(BAD_BODY, "Send the request body in UTF-8.")
    if any(word in label and not media_type.startswith(beginning) for word, beginning in _FORMS):
        raise Refused(BAD_BODY, "Send the request body with a Content-Type that names one type.")
    return media_type


def query_fields(query: bytes, names: Names) -> list[Field]:
    """The fields of a query that have one of `names`.

    Raises Refused(BAD_BODY) when there is too much in the names, and when one of these fields, or its value, is there only for
    a server that splits at `;`, or only for one that does not, or for one that reads more than MOST_READ fields.
    """
    fields: list[Field] = []
    for field, is_cut in _fields(query, names):
        if is_cut:
            raise Refused(BAD_BODY, "Write a semicolon in a query or form as %3B, so that the model can be checked.", param="model")
        fields.append(field)
    if fields and query.count(b"&", 0, fields[-1].start) + query.count(b";", 0, fields[-1].start) >= MOST_READ:
        raise Refused(BAD_BODY, f"Send the model among the first {MOST_READ} fields.", param="model")
    return fields


def urlencoded_fields(body: bytes, names: Names) -> list[Field]:
    """The same for an urlencoded body, which must be ASCII."""
    if not body.isascii():
        raise Refused(BAD_BODY, "The form is not percent-encoded.")
    return query_fields(body, names)


def loose_fields(text: bytes, names: Names) -> list[Field]:
    """The fields of `text` with one of `names` for a server that splits at `;` too. Raises Refused(BAD_BODY)."""
    return [field for field, _ in _fields(text, names)]


def unescaped(text: bytes) -> bytes:
    """What the percent-escapes and pluses of `text` stand for. Raises Refused(BAD_BODY) when these are too many."""
    text = text.replace(b"+", b" ")
    if text.count(b"%") > MAX_MARKS:
        raise _too_many_marks()
    if len(text) <= _PIECE:
        return unquote_to_bytes(text)
    # A piece at a time: what unquote_to_bytes keeps for each escape takes forty times its place.
    pieces, at = [], 0
    while at < len(text):
        end = at + _PIECE
        escape = text.rfind(b"%", end - 2, end)
        end = escape if escape >= 0 else end
        pieces.append(unquote_to_bytes(text[at:end]))
        at = end
    return b"".join(pieces)


def multipart_fields(body: bytes, boundary: str) -> list[Field]:
    """Each part of a multipart/form-data body. Raises Refused(BAD_BODY)."""
    if not _BOUNDARY.fullmatch(boundary):
        raise _not_multipart()
    delimiter = b"--" + boundary.encode("ascii")
    # RFC 2046 lets text stand before the first delimiter; no client of a form sends any, and parsers disagree on it.
    if not body.startswith(delimiter + b"\r\n"):
        raise _not_multipart()
    fields: list[Field] = []
    heads = 0
    at = len(delimiter) + 2
    delimiter = b"\r\n" + delimiter
    while True:
        end = body.find(delimiter, at)
        blank = body.find(b"\r\n\r\n", at, end)
        if end < 0 or blank < 0 or len(fields) >= MAX_PARTS:
            raise _not_multipart()
        heads += blank - at
        if heads > MAX_HEADS:
            raise Refused(BAD_BODY, "The parts of the form have too long heads to be checked.")
        fields.append(_part(body[at:blank], blank + 4, end))
        at = end + len(delimiter) + 2
        if body[at - 2 : at] == b"--":
            # Of what RFC 2046 lets follow, what clients do send: axios and Ruby's multipart-post end with an empty line.
            if body[at : at + 5] not in (b"", b"\r\n", b"\r\n\r\n") or _has_other_delimiters(body, delimiter, len(fields)):
                raise _not_multipart()
            # RFC 7578 4.6: what this field says holds for all others.
            if any(field.name == "_charset_" and not _is_plain(body[field.start : field.end]) for field in fields):
                raise Refused(BAD_BODY, "Send the request body in UTF-8.")
            return fields
        if body[at - 2 : at] != b"\r\n":
            raise _not_multipart()


def boundary_of(content_type: str) -> str:
    """The boundary parameter of `content_type`; empty when there is none, more than one, or one that not all servers read alike."""
    rest, at = content_type.partition(";")[2], 0
    while at < len(rest):
        match = _TYPE_PARAMETER.match(rest, at)
        if match is None:
            return ""
        if match[1].lower() == "boundary":
            value: str = match[2] or match[3]
            return value if _is_found_by_all(content_type, match[1], value) else ""
        at = match.end()
    return ""


def _is_found_by_all(content_type: str, name: str, value: str) -> bool:
    """Whether each parser takes `value` for the boundary, also one that looks for the word and not for a parameter."""
    words = content_type.lower().count("boundary")
    if words == 1:
        return True
    # Browsers, axios and Dart have the word in the boundary itself. PHP goes by the first one in small letters and the next `=`,
    # old Rack by the last one before a `=`.
    return name == "boundary" and words == 1 + value.lower().count("boundary") and _PLAIN.fullmatch(value) is not None


def _has_other_delimiters(body: bytes, delimiter: bytes, known: int) -> bool:
    """Whether there is a delimiter behind a bare CR or LF: Werkzeug and PHP take it for one."""
    return body.count(b"\n" + delimiter[2:]) + body.count(b"\r" + delimiter[2:]) != known


def _part(head: bytes, start: int, end: int) -> Field:
    disposition = _disposition(head)
    if len(_NAME.findall(disposition)) > 1:
        raise Refused(BAD_BODY, "Leave name= out of the names of files in a form, so that its fields can be told.")
    parameters = [(parameter[1].lower(), parameter[2] or parameter[3] or b"") for parameter in _PARAMETER.finditer(disposition)]
    names = [name for name, _ in parameters]
    if len(set(names)) != len(names) or not set(names) <= {b"name", b"filename", b"filename*"} or b"name" not in names:
        raise _not_multipart()
    name = dict(parameters)[b"name"]
    # Parsers disagree on whether a backslash or a percent sign escapes.
    if b"\\" in name or b"%" in name:
        raise _not_multipart()
    try:
        is_file = len(names) > 1 or _OCTETS.search(head) is not None
        return Field(name.decode(), start, end, is_file, not all(map(_is_plain, _CHARSET.findall(head))))
    except UnicodeDecodeError as error:
        raise _not_multipart() from error


def _is_plain(charset: bytes) -> bool:
    return charset.strip().lower() in _PLAIN_CHARSETS


def _disposition(head: bytes) -> bytes:
    """The parameters of a part's only Content-Disposition."""
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
    # Rack looks for the word, in whatever line.
    if len(dispositions) != 1 or head.lower().count(b"content-disposition:") != 1:
        raise _not_multipart()
    found = _DISPOSITION.fullmatch(dispositions[0])
    if found is None:
        raise _not_multipart()
    parameters: bytes = found[1]
    return parameters


def _fields(text: bytes, names: Names) -> Iterator[tuple[Field, bool]]:
    """Each field between `&` or `;` that has one of `names`, and whether a `;` is beside it."""
    marks = 0
    separator = b""
    for match in _FIELD.finditer(text):
        name, before, separator = match[1], separator, match[3]
        marks += len(name) - len(name.translate(None, _MARKS))
        if marks > MAX_MARKS:
            raise _too_many_marks()
        name = unescaped(name)
        if names.have(name):
            yield Field(name.decode("utf-8", "replace"), *match.span(2), False), b";" in (before, separator)


def _too_many_marks() -> Refused:
    return Refused(BAD_BODY, "The form has too many escapes or brackets to be checked.")


def _not_multipart() -> Refused:
    return Refused(BAD_BODY, "The form is not multipart/form-data as RFC 7578 describes it.")
