"""Whatever a configuration file holds, the answer is settings or faults, never another exception: a reload must not fell the supervisor."""

from __future__ import annotations

import string
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.settings import Settings, SettingsError, load
from sidecar.settings.rows import groups

PATHS = [row.path.split(".") for group in groups() for row in group.rows if "[]" not in row.path]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.dates(),
    st.sampled_from(["unix://", "unix:///", "http://[", "[", "{", "${", "$${", "1e999", "0:0", "[::1]:0", "redis://[", "-", "auto", "::"]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=5
)


def judge(data: bytes, environment: dict[str, str]) -> None:
    with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
        file.write(data)
        file.flush()
        with suppress(SettingsError):
            assert isinstance(load(Path(file.name), environment), Settings)


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet=string.printable, max_size=200).map(str.encode))
def test_any_bytes(data: bytes) -> None:
    judge(data, {})


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PATHS), VALUES), max_size=4))
def test_any_value_in_any_place(places: list[tuple[list[str], object]]) -> None:
    tree: dict[str, object] = {}
    for path, value in places:
        node = tree
        for name in path[:-1]:
            inner = node.setdefault(name, {})
            if not isinstance(inner, dict):
                break
            node = inner
        node[path[-1]] = value
    judge(yaml.safe_dump(tree).encode(), {})


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PATHS), st.text(max_size=20).filter(lambda text: "\0" not in text) | SCALARS.map(str))
def test_any_text_in_any_variable(path: list[str], text: str) -> None:
    judge(b"", {"SIDECAR_" + "__".join(path).upper(): text, "SIDECAR_X__" + text.upper(): text})


@pytest.mark.parametrize(
    "text",
    [
        "? [a]\n: b",
        "{[1]: 2}",
        "a: !!int x",
        "a: !!bool x",
        "a: !!float x",
        "a: !!timestamp x",
        "a: !!binary =",
        "a: !!python/name:os.system x",
        "a: " + "9" * 5000,
        "a: &a [*a]",
        "<<: 1",
        "<<: [1]",
        "? &a b\n: *a",
        "[" * 2000,
        "!!set {a}",
        "hub: !!omap [a: b]",
        "\ufeffhub: {}",
    ],
)
def test_the_odd_corners_of_yaml(text: str) -> None:
    judge(text.encode(), {})
