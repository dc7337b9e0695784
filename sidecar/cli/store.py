"""`sidecar store adopt`: an operator accepts the store as it is, where the sidecar must not decide."""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path
from typing import Any

from sidecar.cli import config_file, configuration
from sidecar.cli.errors import CommandError
from sidecar.control.audit.journal import JOURNAL_DIRECTORY, Journal
from sidecar.keys import digest
from sidecar.keys.adoption import Adoption
from sidecar.keys.setup import EPOCH_FILE
from sidecar.settings import Settings
from sidecar.store.client import StoreUnavailable, connect
from sidecar.supervisor import data_dir

_PATIENCE = 5.0


def add(subparsers: Any) -> None:
    """Add `store` and its command."""
    parser = subparsers.add_parser("store", help="accept another key store, or another pepper")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    adopting = commands.add_parser(
        "adopt",
        help="accept the key store as it is now",
        description="Accept the key store as it is now, with the pepper as it is now. Keys that it does not hold are gone for good: "
        "if they are in a backup, restore that instead.",
    )
    config_file.add_option(adopting)


def run(args: argparse.Namespace) -> int:
    """Adopt the store of the configuration; the running sidecar goes on by itself."""
    settings = configuration.read(args.config, os.environ)
    asyncio.run(_adopt(settings))
    print("The store is adopted; the sidecar accepts its keys from now on.")
    return 0


async def _adopt(settings: Settings) -> None:
    directory = Path(settings.data_dir)
    try:
        # What another user wrote there, the sidecar could not read.
        data_dir.prepare(directory)
        # Never made here: a command that looks in the wrong place must not vouch for a pepper that nobody uses.
        pepper = digest.load(Path(settings.keys.pepper_file))
        previous = digest.load(Path(settings.keys.previous_pepper_file)) if settings.keys.previous_pepper_file else None
    except data_dir.DataDirError as error:
        raise CommandError(str(error)) from None
    except (OSError, ValueError) as error:
        advice = "set keys.pepper_file to its place, or start the sidecar first, which makes one"
        raise CommandError(f"the pepper cannot be read ({error}); {advice}") from None
    store = await connect(settings.store, directory, timeout=_PATIENCE)
    epoch = directory / EPOCH_FILE
    try:
        before = _content(epoch)
        await Adoption(epoch, pepper, previous).adopt(store)
        if _content(epoch) != before:
            # Another store has another audit log, which need not hold what was in the last one.
            Journal(directory / JOURNAL_DIRECTORY).forget_head()
    except StoreUnavailable as error:
        advice = "start the sidecar first" if settings.store.url == "embedded" else "check store.url"
        raise CommandError(f"the store cannot be asked ({error}); {advice}") from None
    except OSError as error:
        # The store has agreed already, but the sidecar goes by the file.
        advice = "make room, or give the directory back to the user of the sidecar (chown), and repeat the command"
        raise CommandError(f"the store cannot be remembered in {directory} ({error.strerror}); {advice}") from None
    finally:
        await store.close()


def _content(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""
