from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from sidecar.hubs.load import BUILT_IN, ProfileError, load_profile, parse_profile
from sidecar.hubs.profile import ClientGone
from sidecar.hubs.usage.dialects import DIALECTS, UsageDialect
from tests.support.source import ROOT


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_profiles_are_good(name):
    profile = load_profile(name)
    assert profile.name == name


def test_what_is_promised_of_answers_whose_client_has_gone():
    assert load_profile("aigne").client_gone == ClientGone("drain", 30, 1 << 20)
    assert {load_profile(name).client_gone.action for name in BUILT_IN if name != "aigne"} == {"close"}


def test_every_name_of_a_dialect_has_its_reader():
    assert set(get_args(UsageDialect)) == {"none", *DIALECTS}


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_manual_tells_of_each_built_in_profile(name):
    rows = (ROOT / "docs" / "hub-profiles.md").read_text(encoding="utf-8")
    assert f"| `{name}` | " in rows, f"add a row for {name} to docs/hub-profiles.md"


def test_an_operator_may_write_a_profile(tmp_path: Path):
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nroutes:\n- {name: chat, methods: [POST], path: /chat, model: [json:model], usage: openai}\n")
    profile = load_profile(str(file))
    assert profile.routes[0].path == "/chat"
    assert profile.headers.allow is None


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(ProfileError, match=f"name a file or one of {', '.join(BUILT_IN)}"):
        load_profile(str(tmp_path / "none.yaml"))


def test_a_file_that_is_no_text(tmp_path: Path):
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ProfileError, match="not UTF-8"):
        load_profile(str(tmp_path / "bad.yaml"))


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_what_no_file_can_be_called(name):
    with pytest.raises(ProfileError, match=r"hub.profile: .* cannot be the name of a file; name a file or one of") as caught:
        load_profile(name)
    assert caught.value.faults[0].isprintable()


@pytest.mark.parametrize("member", ["name", "group"])
def test_a_line_feed_is_no_part_of_a_routes_name(member):
    route = {"name": "chat", "group": "", "methods": ["POST"], "path": "/chat"}
    for value, good in (("talk", True), ("talk\n", False)):
        text = json.dumps({"name": "mine", "routes": [route | {member: value}]})
        if good:
            assert getattr(parse_profile(text, "mine").routes[0], member) == value
        else:
            with pytest.raises(ProfileError, match=member):
                parse_profile(text, "mine")


def test_all_faults_are_told_together_with_their_paths():
    text = """
name: 1
routes:
- {name: Upper, methods: GET, path: x, usage: foo}
- {name: b, methods: [get], path: /a/../b, hue: 1}
headers: {inject: 3, allow: [a]}
client_gone: {seconds: -1}
more: 1
"""
    with pytest.raises(ProfileError) as caught:
        parse_profile(text, "mine.yaml")
    paths = [fault.split(": ")[1] for fault in caught.value.faults]
    assert paths == [
        "name",
        "routes[0].name",
        "routes[0].methods",
        "routes[0].usage",
        "routes[1].hue",
        "headers.inject",
        "client_gone.seconds",
        "more",
    ]
    assert all(fault.startswith("mine.yaml: ") for fault in caught.value.faults)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[", "is not YAML"),
        ("name: 2026-02-30", "routes: is missing"),
        ("name: !!timestamp 2026-02-30", "is not YAML .a value cannot be read"),
        ("name: a\nname: b", "is not YAML .line 2, column 1: name is given twice"),
        ("- a", "must be a mapping"),
        ("name: a", "routes: is missing"),
        ("name: a\nroutes: []", "at least one"),
        ("name: a\nroutes: [x]", r"routes\[0\]: must be a mapping"),
        ("name: a\nroutes: {a: b}", "Expected `array`"),
    ],
)
def test_faults_of_form(text, fault):
    with pytest.raises(ProfileError, match=fault):
        parse_profile(text, "mine.yaml")
