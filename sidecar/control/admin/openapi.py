"""The OpenAPI 3.1 document, made from the same declarations as routing and validation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, get_args, get_type_hints

import msgspec

from sidecar.control.admin import errors
from sidecar.control.admin.endpoint import Endpoint, Nothing
from sidecar.control.admin.errors import ErrorBody, Problem
from sidecar.control.admin.paths import PARAMETERS, parameters

_REF = "#/components/schemas/{name}"
_REVISION = '^((W/)?"-?[0-9]{1,18}"|-?[0-9]{1,18})$'
_DESCRIPTION = (
    "Keys, their use and everything that was done to them. Sign in with an admin token; "
    "API keys are not accepted here, nor admin tokens on the data plane."
)


def document(endpoints: Sequence[Endpoint[Any, Any]], version: str) -> dict[str, Any]:
    """The whole document for `endpoints`."""
    messages = sorted({message for endpoint in endpoints for message in _messages(endpoint)}, key=lambda message: message.__name__)
    schemas, components = msgspec.json.schema_components(messages, ref_template=_REF)
    refs = dict(zip(messages, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, refs)
    return {
        "openapi": "3.1.0",
        "info": {"title": "hub-auth-sidecar admin API", "version": version, "description": _DESCRIPTION, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "security": [{"admin_token": []}],
        "tags": [{"name": name} for name in dict.fromkeys(_tag(endpoint) for endpoint in endpoints)],
        "paths": paths,
        "components": {
            "securitySchemes": {"admin_token": {"type": "http", "scheme": "bearer", "description": "An admin token."}},
            "schemas": components,
        },
    }


def problems(endpoint: Endpoint[Any, Any]) -> list[Problem]:
    """Every refusal that `endpoint` can give, its own and those that any call may meet."""
    found = [errors.INVALID_REQUEST, errors.MISDIRECTED, errors.INTERNAL_ERROR, *endpoint.problems]
    if endpoint.role is not None:
        found += [errors.MISSING_ADMIN_TOKEN, errors.INVALID_ADMIN_TOKEN, errors.FORBIDDEN]
        found += [errors.TOO_MANY_FAILURES, errors.KEY_STORE_UNAVAILABLE]
        if endpoint.method != "GET":
            # Every act is journalled first.
            found.append(errors.AUDIT_JOURNAL_UNAVAILABLE)
    if parameters(endpoint.path):
        found.append(errors.NOT_FOUND)
    if endpoint.method in ("POST", "PATCH"):
        found += [errors.REQUEST_TOO_LARGE, errors.UNSUPPORTED_MEDIA_TYPE]
    return sorted(set(found), key=lambda problem: (problem.status, problem.code))


def _messages(endpoint: Endpoint[Any, Any]) -> Iterable[type[msgspec.Struct]]:
    yield ErrorBody
    if endpoint.body is not Nothing:
        yield endpoint.body
    yield from (message for message in endpoint.answers.values() if message is not None)


def _tag(endpoint: Endpoint[Any, Any]) -> str:
    return endpoint.name.partition(".")[0]


def _operation(endpoint: Endpoint[Any, Any], refs: dict[type[msgspec.Struct], Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "tags": [_tag(endpoint)],
        "summary": endpoint.summary,
        "description": _text(endpoint),
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint), *_header_parameters(endpoint)],
        "responses": {**_successes(endpoint, refs), **_refusals(endpoint, refs)},
    }
    if endpoint.role is None:
        operation["security"] = []
    if endpoint.body_media is not None:
        lines = {"schema": {"type": "string", "minLength": 1}}
        # Some clients have no encoder for JSON Lines; to them it is text.
        operation["requestBody"] = {"required": True, "content": {endpoint.body_media: lines, "text/plain": lines}}
    elif endpoint.body is not Nothing:
        content = {"application/json": {"schema": refs[endpoint.body]}}
        operation["requestBody"] = {"required": _has_required(endpoint.body), "content": content}
    return operation


def _text(endpoint: Endpoint[Any, Any]) -> str:
    role = f"Role: {endpoint.role}." if endpoint.role is not None else "Public."
    return " ".join(part for part in (endpoint.description, role) if part)


def _has_required(message: type[msgspec.Struct]) -> bool:
    return any(info.required for info in msgspec.structs.fields(message))


def _path_parameters(endpoint: Endpoint[Any, Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": f"^{PARAMETERS[name].pattern}$"}}
        for name in parameters(endpoint.path)
    ]


def _query_parameters(endpoint: Endpoint[Any, Any]) -> list[dict[str, Any]]:
    hints = get_type_hints(endpoint.query, include_extras=True)
    found = []
    for info in msgspec.structs.fields(endpoint.query):
        schema = _without_null(msgspec.json.schema(_given(hints[info.name])))
        parameter = {"name": info.encode_name, "in": "query", "required": info.required, "allowEmptyValue": True, "schema": schema}
        if "description" in schema:
            parameter["description"] = schema.pop("description")
        if info.default not in (msgspec.NODEFAULT, msgspec.UNSET, None, ""):
            schema["default"] = info.default
        found.append(parameter)
    return found


def _given(hint: Any) -> Any:
    """The type that a parameter has when it is given."""
    arguments = [argument for argument in get_args(hint) if argument not in (msgspec.UnsetType, type(None))]
    if len(get_args(hint)) in (0, len(arguments)) or not arguments:
        return hint
    return arguments[0]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" not in schema:
        return schema
    options = [option for option in schema["anyOf"] if option != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return {**rest, **options[0]} if len(options) == 1 else {**rest, "anyOf": options}


def _header_parameters(endpoint: Endpoint[Any, Any]) -> list[dict[str, Any]]:
    found = []
    if endpoint.idempotent:
        found.append(
            _header("Idempotency-Key", "Makes the call safe to repeat for 24 hours.", {"type": "string", "pattern": "^[!-~]{1,255}$"})
        )
    if endpoint.conditional:
        found.append(
            _header(
                "If-Match",
                "The revision that the change is based on.",
                {"type": "string", "pattern": _REVISION},
            )
        )
    return found


def _header(name: str, text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": text, "schema": schema}


def _successes(endpoint: Endpoint[Any, Any], refs: dict[type[msgspec.Struct], Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, message in endpoint.answers.items():
        answer: dict[str, Any] = {"description": HTTPStatus(status).phrase, "headers": {"X-Request-Id": {"schema": {"type": "string"}}}}
        schema = refs[message] if message is not None else {"type": "object"}
        answer["content"] = {"application/json": {"schema": schema}} | {media: {"schema": {"type": "string"}} for media in endpoint.media}
        found[str(status)] = answer
    return found


def _refusals(endpoint: Endpoint[Any, Any], refs: dict[type[msgspec.Struct], Any]) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for problem in problems(endpoint):
        by_status.setdefault(problem.status, []).append(f"`{problem.code}`")
    content = {"application/json": {"schema": refs[ErrorBody]}}
    return {str(status): {"description": ", ".join(dict.fromkeys(codes)), "content": content} for status, codes in by_status.items()}
