from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.cli.main import main
from sidecar.control.audit import Journal
from sidecar.keys import digest
from sidecar.store import names
from sidecar.store.client import Store
from tests.support.store import Server

Configure = Callable[[str], None]


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Sets the store's address for commands in this directory, where a sidecar has been before."""

    def set_store(url: str) -> None:
        monkeypatch.setenv("SIDECAR_STORE__URL", url)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIDECAR_DATA_DIR", str(tmp_path / "data"))
    digest.load_or_create(tmp_path / "data" / "pepper")
    return set_store


async def adopt() -> int:
    return await asyncio.to_thread(main, ["store", "adopt"])


async def test_adopt_takes_over_a_store_that_was_emptied(
    valkey: Server, store: Store, tmp_path: Path, configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(valkey.url)
    assert await adopt() == 0
    first = await store.call("HGET", names.META, "epoch")
    await store.call("FLUSHALL")
    assert await adopt() == 0
    second = await store.call("HGET", names.META, "epoch")
    assert first
    assert second
    assert (tmp_path / "data" / "store-epoch").read_bytes().strip() == second
    assert "adopted" in capsys.readouterr().out


async def test_adopt_expects_the_audit_log_of_the_last_store_only_in_that_one(
    valkey: Server, store: Store, tmp_path: Path, configure: Configure
) -> None:
    configure(valkey.url)
    assert await adopt() == 0
    journal = Journal(tmp_path / "data" / "audit-journal")
    journal.remember(7, "hash")
    assert await adopt() == 0
    assert journal.remembered() == (7, "hash")
    await store.call("FLUSHALL")
    assert await adopt() == 0
    assert journal.remembered() == (0, "")


async def test_what_cannot_be_remembered_is_one_sentence(
    valkey: Server, tmp_path: Path, configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a full disk: to the sidecar the store is a strange one still."""
    configure(valkey.url)

    def full(path: Path, content: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sidecar.keys.adoption.replace_private", full)
        assert await adopt() == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"sidecar: the store cannot be remembered in {tmp_path / 'data'} (No space left on device); make room")
    assert await adopt() == 0


def test_a_store_that_is_away_is_one_sentence(tmp_path: Path, configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    configure(f"unix://{tmp_path}/nobody")
    assert main(["store", "adopt"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("sidecar: the store cannot be asked (")
    assert said.endswith("; check store.url\n")


async def test_adopt_in_the_wrong_place_vouches_for_nothing(
    valkey: Server, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pepper made on the spot would be one that the store trusts and nobody uses."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIDECAR_STORE__URL", valkey.url)
    assert await asyncio.to_thread(main, ["store", "adopt"]) == 1
    assert "set keys.pepper_file to its place" in capsys.readouterr().err
    assert not (tmp_path / "data" / "pepper").exists()
    assert await store.call("EXISTS", names.META) == 0


def test_adopt_leaves_no_file_that_the_sidecar_cannot_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIDECAR_DATA_DIR", str(tmp_path / "data"))
    digest.load_or_create(tmp_path / "data" / "pepper")
    monkeypatch.setattr("os.getuid", lambda: 4711)
    assert main(["store", "adopt"]) == 1
    assert "run this as that user" in capsys.readouterr().err
