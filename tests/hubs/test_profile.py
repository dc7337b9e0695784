"""The page that explains profiles is complete, and its examples work."""

from __future__ import annotations

import re

import msgspec
import pytest

from sidecar.hubs.load import parse_profile
from sidecar.hubs.profile import ClientGone, Headers, Ledger, Profile, Route
from sidecar.hubs.usage.dialects import DIALECTS
from tests.support.source import ROOT

PAGE = (ROOT / "docs" / "hub-profiles.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.partition("\n")[0] for example in EXAMPLES])
def test_the_examples_are_good_profiles(example):
    assert parse_profile(example, "example").routes


@pytest.mark.parametrize(("part", "prefix"), [(Route, ""), (Headers, "headers."), (Profile, ""), (ClientGone, ""), (Ledger, "ledger.")])
def test_every_member_is_explained(part, prefix):
    for field in msgspec.structs.fields(part):
        if field.name not in ("headers", "client_gone", "ledger", "routes"):
            assert f"`{prefix}{field.name}`" in PAGE or f".{field.name}`" in PAGE


@pytest.mark.parametrize("dialect", [*DIALECTS, "none"])
def test_every_dialect_is_explained(dialect):
    assert f"`{dialect}`" in PAGE


def test_a_route_knows_all_its_paths():
    assert Route(name="a", methods=("GET",), path="/a", aliases=("/b",)).paths == ("/a", "/b")
