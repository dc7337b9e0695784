"""The reference page and the example file are written from the declaration; tests/test_docs.py looks whether they are current."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.cli import config_file
from sidecar.cli.admin import address
from sidecar.cli.admin.keys.issue import PROXY_VARIABLE
from sidecar.settings import Settings, load, reference
from sidecar.settings.rows import groups
from tests.support.source import ROOT

ROWS = [row for group in groups() for row in group.rows]


def test_the_example_says_the_defaults() -> None:
    settings = load(ROOT / "config/sidecar.yaml", {"HUB_ACCESS_KEY": ""})
    assert settings == Settings()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.path)
def test_every_setting_has_a_sentence_and_a_variable(row) -> None:  # type: ignore[no-untyped-def]
    assert row.text.endswith("."), "say in the declaration what it is for"
    assert "section" not in row.type
    assert row.variable or "[]" in row.path


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.variable and row.has_default and row.default is not None and not row.optional],
    ids=lambda row: row.path,
)
def test_every_variable_sets_its_setting(row, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    value = (tmp_path / "x").as_posix() if row.path == "data_dir" else reference.written(row.default)
    settings = load(None, {row.variable: value})
    found: object = settings
    for name in row.path.split("."):
        found = getattr(found, name)
    assert found == (value if row.path == "data_dir" else row.default)


def test_every_variable_that_is_no_setting_is_named_where_such_are_said_to_be_ignored() -> None:
    ignored = next(line for line in reference.markdown().split("\n- ") if "are ignored" in line)
    for name in ("SIDECAR_DATA_DIR", config_file.VARIABLE, address.URL_VARIABLE, address.TOKEN_VARIABLE, PROXY_VARIABLE):
        assert f"`{name}`" in ignored
