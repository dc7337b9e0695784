"""Is this the store whose keys this sidecar knows? An empty or foreign store must not look like "no such key".

The store carries a random epoch, made once, and a fingerprint of each pepper; the data directory
remembers the epoch. A difference is an operator's decision (`sidecar store adopt`), never a guess.
"""

from __future__ import annotations

import logging
import operator
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from sidecar.keys.digest import Pepper
from sidecar.keys.secret_file import replace_private
from sidecar.store import names
from sidecar.store.client import Store, StoreNotAdopted
from sidecar.store.link import Command
from sidecar.store.script import load

_log = logging.getLogger(__name__)

SCHEMA = 1
"""Version of the form in which keys lie in the store; noted there with the epoch."""
_ADOPT = load("adopt")

_EMPTY = "the key store is empty or another one than before; bring back its data, or accept it with `sidecar store adopt`"
_PEPPER = "the keys in the store were made with another pepper; bring back the pepper file, or accept this one with `sidecar store adopt`"


class Adoption:
    """The memory of one data directory. `question` is asked with every look-up, `check` judges its answer."""

    def __init__(
        self, epoch_file: Path, pepper: Pepper, previous: Pepper | None = None, *, level: int = logging.ERROR, only_reads: bool = False
    ) -> None:
        """`level` is that of the log line about a store that is not the known one: of many processes, one should say it.

        `only_reads` is for whoever writes nothing with the pepper in use while the store goes by the previous one.
        """
        self._level = level
        self._only_reads = only_reads
        self._file = epoch_file
        self._peppers = (pepper,) if previous is None else (pepper, previous)
        self._fingerprints = tuple(known.fingerprint.encode() for known in self._peppers)
        self._epoch = b""
        self._was_ours = False
        """Whether the store has vouched for the pepper in use. Before that, nothing may be written with it."""
        self.is_ours = False
        """Whether it did when it was last asked, and not for the one before: then others go back to that."""
        self._read_at: tuple[int, int] | None = None
        self._complaint = ""
        self.question: Command = ("HMGET", names.META, "epoch", *(f"pepper:{known.id}" for known in self._peppers))

    async def establish(self, store: Store) -> None:
        """Make the epoch of an empty store at the very first start, or remember that of a full one.

        Raises StoreNotAdopted when that would forget a store known before, StoreUnavailable when it cannot be asked.
        """
        self._refresh()
        await self._run(store, force=False)

    async def adopt(self, store: Store) -> None:
        """Accept the store as it is from now on; the operator has decided. Raises StoreUnavailable."""
        self._refresh()
        await self._run(store, force=True)

    def check(self, answer: Sequence[bytes | None]) -> None:
        """Judge the answer to `question`; raises StoreNotAdopted. Costs nothing while all is well."""
        epoch, *fingerprints = answer
        ours, *before = map(operator.eq, fingerprints, self._fingerprints)
        # Whoever knows both peppers goes on finding every key while the next replica has them the other way round.
        if epoch is not None and epoch == self._epoch and (ours or (any(before) and (self._was_ours or self._only_reads))):
            self._was_ours, self.is_ours = self._was_ours or ours, ours
            if self._complaint:
                _log.info("the key store is the known one again")
                self._complaint = ""
            return
        # Another process may have adopted a new store meanwhile.
        if epoch is not None and self._refresh() and epoch == self._epoch:
            self.check(answer)
            return
        self._complain(_PEPPER if epoch is not None and epoch == self._epoch else _EMPTY)

    def _complain(self, complaint: str) -> NoReturn:
        if complaint != self._complaint:
            _log.log(self._level, "%s; until then no key is accepted", complaint)
            self._complaint = complaint
        raise StoreNotAdopted(complaint)

    async def _run(self, store: Store, *, force: bool) -> None:
        pairs = [part for pepper in self._peppers for part in (pepper.id, pepper.fingerprint)]
        verdict, *rest = await store.run(_ADOPT, [names.META], [self._epoch, secrets.token_hex(16), SCHEMA, "1" if force else "", *pairs])
        if verdict != b"ok":
            self._complain(_PEPPER if verdict == b"pepper" else _EMPTY)
        self._complaint = ""
        if rest[0] != self._epoch:
            self._remember(rest[0])

    def _refresh(self) -> bool:
        """Read the file again if it has changed; whether it had."""
        try:
            found = self._file.stat()
            stamp = (found.st_mtime_ns, found.st_ino)
            if stamp == self._read_at:
                return False
            self._epoch = self._file.read_bytes().strip()
        except FileNotFoundError:
            return False
        except OSError as error:
            # Nothing is known then, which must not look like the very first start.
            self._complain(f"{self._file} cannot be read ({error.strerror}); give it back to the user of the sidecar (chown)")
        self._read_at = stamp
        return True

    def _remember(self, epoch: bytes) -> None:
        replace_private(self._file, epoch.decode())
        self._epoch = epoch
        self._refresh()
