"""The OpenAPI document: valid, complete, and true: schemathesis finds no 5xx and no status that is not declared."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from sidecar.control.admin.endpoints import ENDPOINTS
from sidecar.control.admin.openapi import document
from sidecar.control.parts import compose
from sidecar.settings.declaration import Keys, Settings
from tests.control.admin.conftest import Api, serve_app
from tests.support.store import Server
from tests.support.tools import require

DOCUMENT = document(ENDPOINTS, "1.2.3")
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,unsupported_method"
)
WITHIN = 300.0


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, one) for path, methods in DOCUMENT["paths"].items() for method, one in methods.items()]


async def test_it_is_served_without_a_token(api: Api) -> None:
    status, body, _ = await api.call("GET", "/admin/v1/openapi.json", token="")
    assert (status, body["openapi"]) == (200, "3.1.0")
    assert set(body["paths"]) == {endpoint.path for endpoint in ENDPOINTS}


def test_every_schema_is_valid_and_every_reference_leads_somewhere() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for name, schema in schemas.items():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
        assert schema.get("description"), name
    for reference in set(re.findall(r"#/components/schemas/(\w+)", repr(DOCUMENT))):
        assert reference in schemas


def test_operations_are_described() -> None:
    names = [one["operationId"] for _, _, one in operations()]
    assert len(set(names)) == len(names) == len(ENDPOINTS)
    for path, _, one in operations():
        assert one["summary"]
        assert set(re.findall(r"\{(\w+)\}", path)) == {each["name"] for each in one["parameters"] if each["in"] == "path"}
        assert (one.get("security") == []) is (one["operationId"] == "status.openapi")


def test_refusals_are_those_that_a_call_can_give() -> None:
    for _, method, one in operations():
        codes = {code for answer in one["responses"].values() for code in re.findall(r"`(\w+)`", answer["description"])}
        public = one.get("security") == []
        assert ({"missing_admin_token", "invalid_admin_token", "forbidden"} <= codes) is not public
        assert ("audit_journal_unavailable" in codes) is (method != "get"), one["operationId"]


def test_requests_refuse_unknown_members() -> None:
    for _, _, one in operations():
        content = one.get("requestBody", {}).get("content", {}).get("application/json")
        if content is not None:
            name = content["schema"]["$ref"].rpartition("/")[2]
            assert DOCUMENT["components"]["schemas"][name]["additionalProperties"] is False


@pytest.mark.parametrize("message", ["KeyObject", "KeyWithSecret", "KeyList"])
async def test_answers_are_as_described(api: Api, message: str) -> None:
    _, created, _ = await api.call("POST", "/admin/v1/keys", {"name": "a", "quota": {"tokens": 5}, "limits": {"rpm": 1}})
    _, listed, _ = await api.call("GET", "/admin/v1/keys")
    answer = {"KeyObject": created["key"], "KeyWithSecret": created, "KeyList": listed}[message]
    jsonschema_rs.validator_for({"$ref": f"#/components/schemas/{message}", "components": DOCUMENT["components"]}).validate(answer)


async def test_schemathesis_finds_nothing(valkey: Server, tmp_path: Path) -> None:
    """Against the whole control process's application, with its real queries, on a real store."""
    program = require("schemathesis", install="pip install schemathesis")
    data_dir = tmp_path / "data"
    settings = Settings(
        data_dir=str(data_dir),
        keys=Keys(pepper_file=str(data_dir / "pepper"), accept_imported=True),
        store=valkey.settings(),
    )
    async with AsyncExitStack() as stack:
        parts = await compose(settings, workers=1)
        for store in parts.stores:
            stack.push_async_callback(store.close)
        pulse = asyncio.create_task(parts.pulse.run())
        stack.callback(pulse.cancel)
        await parts.pulse.began.wait()
        base = await serve_app(stack, parts.admin)
        token = (data_dir / "admin-token").read_text().strip()
        process = await asyncio.create_subprocess_exec(
            program, "run", f"{base}/admin/v1/openapi.json", "-H", f"Authorization: Bearer {token}", "--checks", CHECKS,
            "--max-examples", "4", "--no-color", "--suppress-health-check", "all", "--generation-database", "none", "--seed", "1",
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            output, _ = await asyncio.wait_for(process.communicate(), WITHIN)
        except TimeoutError:
            process.kill()
            raise
        assert process.returncode == 0, output.decode()[-20_000:]
