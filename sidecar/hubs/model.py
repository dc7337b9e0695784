"""Which model a request will be dispatched to, decided on the very bytes that are forwarded. Pure.

Every place that can choose the model is looked at, never only the first; what can be read in two ways
is refused. But only the first place of a route, or one of its alternatives (`json:a|json:b`), names the
request's own model: all others add to it, and a hub that does not know them would take a default.
`find_models` is strict and for keys with a model list; `peek_…` and `strip_prefix` are for all others:
they never refuse, a malformed request is the hub's to answer.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from sidecar.hubs.form_places import (
    MAX_FIELDS,
    URLENCODED,
    Field,
    Names,
    boundary_of,
    loose_fields,
    media_type_of,
    multipart_fields,
    query_fields,
    unescaped,
    urlencoded_fields,
)
from sidecar.hubs.json_places import JsonPlaces
from sidecar.refusals import BAD_BODY, Refused

_FORM_MODEL = re.compile(rb'name=(?:"model"|model)\r\n\r\n([^\r\n]{1,256})\r\n')
_JSON_MODEL = re.compile(rb'"model"\s*:\s*"([^"\\]{1,256})"')
# With blanks, zeros of UTF-16 or a comment in front.
_JSON_BEGINNING = re.compile(rb"[\0- ]*+[{/]")
_PEEKED = 64 << 10
_JSON_UNIT = re.compile(rb'\\u[0-9a-fA-F]{4}|\\.|[^\\"]', re.DOTALL)


class Span(NamedTuple):
    """Where a model name stands in the body, and how it is written there."""

    start: int
    end: int
    form: str
    """`json`: a string token with its quotes; `raw`; `url`: percent-encoded."""


@dataclass(frozen=True, slots=True)
class ModelFinding:
    """Every model name that a request names, as sent; `spans` has those in the body, in order of position.

    `lacks` says where the request must name its model but does not; it is empty when all is well. `own` is the first name
    at a main place, or else in path or query; what further places of a body name may be no model at all, such as a prompt.
    """

    names: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()
    lacks: str = ""
    own: str = ""

    def dispatched(self, prefix: str) -> tuple[str, ...]:
        """The names as the hub gets them once `replace_prefix` has cut `prefix` off."""
        return tuple(name.removeprefix(prefix) for name in self.names)


def find_models(places: tuple[str, ...], path: str, query: str, content_type: str, body: bytes, content_encoding: str = "") -> ModelFinding:
    """Every model that the request names at `places` (`Route.model`); `path` and `query` are raw, without `?`.

    Raises Refused(BAD_BODY) when a place is named twice, in other capitals, or cannot be read with certainty: broken or
    ambiguous JSON or form, another charset than UTF-8, a content coding, a model field behind a file.
    """
    compiled = _compile(places)
    found = [*compiled.in_path(path), *compiled.in_query(query)]
    if body and compiled.reads_body:
        if content_encoding.lower() not in ("", "identity"):
            raise Refused(BAD_BODY, "Send the request body without a content coding, so that its model can be checked.")
        found += compiled.in_body(content_type, body)
    main = next((named for named in found if named.is_main), None)
    own = main or next((named for named in found if named.span is None), None)
    return ModelFinding(
        tuple(named.name for named in found),
        tuple(named.span for named in found if named.span is not None),
        compiled.main if main is None else "",
        own.name if own is not None else "",
    )


def peek_model(places: tuple[str, ...], body: bytes) -> str:
    """The model that `body` most likely names, for metering; the empty string when it names none.

    `body` may be the first part of one. Never raises and judges nothing.
    """
    compiled = _compile(places)
    if not compiled.peeks_body or not body:
        return ""
    model = compiled.json.peek(body) if compiled.json is not None else ""
    if not model:
        match = (_FORM_MODEL if body.startswith(b"--") else _JSON_MODEL).search(body, 0, _PEEKED)
        model = match[1].decode("utf-8", "replace") if match is not None else ""
    return model


def peek_target(places: tuple[str, ...], path: bytes, query: bytes | None) -> str:
    """The same for path and query, both raw: for a request whose body names no model."""
    compiled = _compile(places)
    try:
        named = compiled.in_path(path.decode()) or compiled.in_query((query or b"").decode())
    except Refused:
        return ""
    return named[0].name if named else ""


def replace_prefix(body: bytes, finding: ModelFinding, prefix: str) -> bytes:
    """`body` with `prefix` cut off the model names that begin with it; everything else byte for byte, and `body` itself if none does."""
    pieces: list[bytes] = []
    at = 0
    for span in finding.spans:
        cut = _written_length(body, span, prefix)
        if cut:
            start = span.start + (span.form == "json")
            pieces.append(body[at:start])
            at = start + cut
    return b"".join((*pieces, body[at:])) if pieces else body


def may_hold(body: bytes, prefix: str) -> bool:
    """Whether a name in `body` may begin with `prefix`, which is not empty; a quick look that `strip_prefix` is spared by."""
    # `/` may be written `\\/` in JSON and %2F in a form, so only what stands before it is looked for.
    # find, not `in`, which first takes bytes for a number: for a small body that costs more than the search.
    return body.find(_stem(prefix)) >= 0 or body.find(b"\\u") >= 0


def strip_prefix(places: tuple[str, ...], content_type: str, body: bytes, prefix: str) -> bytes:
    """`replace_prefix` for a request whose models need no check; a body that cannot be read is returned as it is."""
    if not prefix or not may_hold(body, prefix):
        return body
    try:
        return replace_prefix(body, find_models(places, "/", "", content_type, body), prefix)
    except Refused:
        return body


class _Named(NamedTuple):
    """A model name at a place; `is_main` when the place is a main one, `span` when it is in the body."""

    name: str
    is_main: bool
    span: Span | None


class _Fields:
    """Places that are fields of a form or parameters of a query; `main` are those of them that are main places."""

    def __init__(self, places: list[str], main: list[str]) -> None:
        self.names = Names(places)
        self._exact = frozenset(places)
        self._main = frozenset(main)

    def is_main(self, name: str) -> bool:
        return name in self._main

    def require_once(self, fields: list[Field], what: str) -> None:
        if len(fields) > 1 or not self._exact.issuperset(field.name for field in fields):
            raise Refused(BAD_BODY, f"Send the model in one {what}, by its plain name.", param="model")


class _Places:
    """`Route.model`, sorted by kind."""

    def __init__(self, places: tuple[str, ...]) -> None:
        kinds = _by_kind([place for entry in places for place in alternatives(entry)])
        main = _by_kind(alternatives(places[0]) if places else [])
        self.main = alternatives(places[0])[0] if places else ""
        self.json = JsonPlaces(tuple(kinds["json"]), tuple(main["json"])) if kinds["json"] else None
        self.forms = _Fields(kinds["form"], main["form"])
        self.queries = _Fields(kinds["query"], main["query"])
        self._segments = [(int(where.rstrip("+")), where.endswith("+"), where in main["path"]) for where in kinds["path"]]
        self._json_leaves = Names(where.rpartition(".")[2] for where in kinds["json"])
        self.reads_body = self.json is not None or bool(kinds["form"])
        self.peeks_body = bool(main["json"] or main["form"])

    def in_path(self, path: str) -> list[_Named]:
        found: list[_Named] = []
        segments = path.split("/")[1:] if self._segments else []
        for index, rest, is_main in self._segments:
            if index < len(segments):
                text = "/".join(segments[index:]) if rest else segments[index]
                if ";" in text:
                    # Java's servers cut a segment there.
                    raise Refused(BAD_BODY, "Write a semicolon in the path as %3B, so that the model can be checked.", param="model")
                found.append(_Named(unquote_to_bytes(text).decode("utf-8", "replace"), is_main, None))
        return found

    def in_query(self, query: str) -> list[_Named]:
        if not query or not self.queries.names:
            return []
        raw = query.encode()
        found = query_fields(raw, self.queries.names)
        self.queries.require_once(found, "query parameter")
        values = [unescaped(raw[field.start : field.end]).decode("utf-8", "replace") for field in found]
        return [_Named(value, self.queries.is_main(field.name), None) for field, value in zip(found, values, strict=True)]

    def in_body(self, content_type: str, body: bytes) -> list[_Named]:
        media_type = media_type_of(content_type)
        if media_type == "multipart/form-data" and self.forms.names:
            return self._in_form(multipart_fields(body, boundary_of(content_type)), body, "raw")
        # PHP needs no `;` behind a type that it knows.
        is_form = media_type.startswith(URLENCODED)
        if is_form and body.count(b"&") + body.count(b";") > MAX_FIELDS:
            raise Refused(BAD_BODY, "The form has too many fields to be checked.")
        if is_form and self.forms.names:
            if _JSON_BEGINNING.match(body):
                # Ollama and others read JSON whatever its label.
                raise Refused(BAD_BODY, "Send JSON as application/json." if self.json else "Send the model in a form, not in JSON.")
            return self._in_form(urlencoded_fields(body, self.forms.names), body, "url")
        if self.json is None or media_type.startswith("multipart/"):
            raise Refused(BAD_BODY, "The model cannot be checked in a request body of this Content-Type.")
        # `curl -d` labels JSON so. A hub that believes the label must find neither a model of its own in it nor a prompt, for which
        # it would take a model by default: only what it reads as one field, with the JSON for a name, is none of these.
        if is_form and (b"&" in body or b";" in body or loose_fields(body, self._json_leaves)):
            raise Refused(BAD_BODY, "Send the request body as application/json, not as a form.")
        return [_Named(text.value, text.is_main, Span(text.start, text.end, "json")) for text in self.json.find(body)]

    def _in_form(self, fields: list[Field], body: bytes, form: str) -> list[_Named]:
        found = [field for field in fields if self.forms.names.have(field.name.encode())]
        self.forms.require_once(found, "form field")
        files = [field.start for field in fields if field.is_file]
        if any(field.is_file or (files and field.start > files[0]) for field in found):
            raise Refused(BAD_BODY, "Send the model field before the file.")
        return [
            _Named(_field_text(body, field, form), self.forms.is_main(field.name), Span(field.start, field.end, form)) for field in found
        ]


def alternatives(entry: str) -> list[str]:
    """The places of one entry of `Route.model`, of which a request names its model at any: `json:a|json:b` has two."""
    return entry.split("|")


def _by_kind(places: list[str]) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {"json": [], "form": [], "query": [], "path": []}
    for place in places:
        kind, _, where = place.partition(":")
        kinds[kind].append(where)
    return kinds


@lru_cache(maxsize=256)
def _compile(places: tuple[str, ...]) -> _Places:
    return _Places(places)


@lru_cache(maxsize=16)
def _stem(prefix: str) -> bytes:
    return prefix.rstrip("/").encode()


def _field_text(body: bytes, field: Field, form: str) -> str:
    raw = body[field.start : field.end]
    with suppress(UnicodeDecodeError):
        if not field.is_recoded:
            return (unescaped(raw) if form == "url" else raw).decode()
    raise Refused(BAD_BODY, "The model field is not UTF-8.", param="model")


def _written_length(body: bytes, span: Span, prefix: str) -> int:
    """How many bytes at the beginning of the name at `span` write `prefix`; 0 when it does not begin so."""
    if span.form == "raw":
        return len(prefix.encode()) if body.startswith(prefix.encode(), span.start, span.end) else 0
    at = span.start + (span.form == "json")
    first = at
    for letter in prefix:
        unit = _unit(body, at, span)
        if unit is None or unit[0] != letter:
            return 0
        at += unit[1]
    return at - first


def _unit(body: bytes, at: int, span: Span) -> tuple[str, int] | None:
    """The character written at `at`, and the number of bytes that write it. Prefixes are ASCII, so is all that counts."""
    if at >= span.end:
        return None
    if span.form == "url":
        length = 3 if body[at : at + 1] == b"%" else 1
        return unquote_to_bytes(body[at : at + length]).decode("latin-1"), length
    match = _JSON_UNIT.match(body, at)
    if match is None:
        return None
    written = match[0]
    if written.startswith(b"\\u"):
        return chr(int(written[2:], 16)), 6
    escape = written.startswith(b"\\") and written[1:] not in b'/"\\'
    return "" if escape else written[-1:].decode("latin-1"), len(written)
