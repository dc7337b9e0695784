"""A copy of a profile speaks like the original; what cannot be read speaks nothing that is known."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from sidecar.hubs.load import load_profile
from sidecar.hubs.profile import Profile, Route
from sidecar.hubs.protocol import protocol_named, protocol_of


@pytest.mark.parametrize(("name", "protocol"), [("aigne", "aigne"), ("openai", "openai"), ("generic", "")])
def test_of_the_built_in_profiles_and_of_copies_under_other_names(tmp_path: Path, name: str, protocol: str) -> None:
    assert protocol_of(load_profile(name)) == protocol
    copy = tmp_path / "mine.yaml"
    text = resources.files("sidecar.hubs").joinpath("profiles", f"{name}.yaml").read_text()
    copy.write_text(text.replace(f"name: {name}\n", "name: mine\n", 1))
    assert protocol_named(str(copy)) == protocol


def test_a_path_that_a_key_must_name_is_no_sign(tmp_path: Path) -> None:
    chat = Route(name="chat", methods=("POST",), path="/chat", aliases=("/v1/chat/completions",))
    hidden = Route(name="chat", methods=("POST",), path="/v1/chat/completions", opt_in=True)
    assert protocol_of(Profile(name="p", routes=(chat,))) == "openai"
    assert protocol_of(Profile(name="p", routes=(hidden,))) == ""
    assert protocol_named(str(tmp_path / "none.yaml")) == ""
