from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

import pytest

from sidecar.cli.admin.keys.fields import add_options, members
from sidecar.cli.errors import WRONG_USE, CommandError

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


def parse(*words: str, before: dict[str, Any] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--name")
    add_options(parser)
    return members(parser.parse_args(words), NOW, before or {})


def test_what_is_not_named_is_not_sent() -> None:
    assert parse() == {}


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (("--name", "shop", "--owner", "a"), {"name": "shop", "owner": "a"}),
        (("--owner", ""), {"owner": ""}),
        (("--expires", "1d"), {"expires_at": "2026-11-25T12:00:00+00:00"}),
        (("--expires", "none"), {"expires_at": None}),
        (("--allow-route", "chat", "--allow-route", "POST /x/**"), {"allowed_routes": ["chat", "POST /x/**"]}),
        (("--allow-model", "any"), {"allowed_models": None}),
        (("--allow-ip", "none"), {"allowed_ips": []}),
        (("--rpm", "600", "--tpm", "none"), {"limits": {"rpm": 600, "tpm": None}}),
        (("--quota-tokens", "5", "--quota-period", "day"), {"quota": {"tokens": 5, "period": "day"}}),
        (("--enforcement", "shadow"), {"enforcement": "shadow"}),
        (("--on-anomaly", "default"), {"on_anomaly": None}),
        (("--metadata", "a=b=c", "--metadata", "d=e"), {"metadata": {"a": "b=c", "d": "e"}}),
        (("--tag", "x"), {"tags": ["x"]}),
        (("--tag", "none"), {"tags": []}),
    ],
)
def test_members(words: tuple[str, ...], body: dict[str, Any]) -> None:
    assert parse(*words) == body


QUOTA = {"requests": 10, "tokens": 20, "period": "day", "timezone": "Europe/Berlin"}


def test_a_quota_keeps_what_is_not_named() -> None:
    assert parse("--quota-tokens", "7", before={"quota": QUOTA}) == {"quota": {**QUOTA, "tokens": 7}}


def test_a_quota_without_an_amount_left_goes() -> None:
    assert parse("--quota-tokens", "none", "--quota-requests", "none", before={"quota": QUOTA}) == {"quota": None}


def test_metadata_is_merged() -> None:
    assert parse("--metadata", "a=", "--metadata", "c=3", before={"metadata": {"a": "1", "b": "2"}}) == {"metadata": {"b": "2", "c": "3"}}


@pytest.mark.parametrize(
    "words",
    [
        ("--expires", "soon"),
        ("--allow-route", "any", "--allow-route", "chat"),
        ("--quota-period", "day"),
        ("--metadata", "novalue"),
        ("--metadata", "=x"),
    ],
)
def test_wrong_use(words: tuple[str, ...]) -> None:
    with pytest.raises(CommandError) as error:
        parse(*words)
    assert error.value.code == WRONG_USE


@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5", "²"])
def test_numbers_are_positive(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        parse("--rpm", value)
    assert error.value.code == WRONG_USE
    assert "neither a whole number of at least 1 nor none" in capsys.readouterr().err
