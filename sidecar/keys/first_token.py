"""The file with the first admin token of a data directory, and beside it which of its tokens were revoked.

The file stays when its token is revoked, and a store that is restored, or new, knows nothing of that.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from sidecar.keys.secret_file import make_once, replace_private
from sidecar.keys.token import generate, is_well_formed

_log = logging.getLogger(__name__)


class FirstToken:
    """What `file` (mode 0600) holds, bare and without a newline: people paste it and programs read it as it is."""

    def __init__(self, file: Path, prefix: str) -> None:
        self._file = file
        self._prefix = prefix
        self._revoked = file.with_name(f"{file.name}.revoked")

    def read(self) -> bytes:
        """The token, empty when there is none; raises OSError."""
        try:
            return self._file.read_bytes().strip()
        except FileNotFoundError:
            return b""

    def read_or_make(self) -> bytes:
        """The token, made when there is no file, or one without a token in it; raises OSError."""
        make_once(self._file, lambda: generate(self._prefix))
        token = self.read()
        if is_well_formed(token, self._prefix):
            return token
        # Emptied by hand, or by a restore onto a full disk. Taken for a token, it would be an admin whom nobody can be: one that
        # opens nothing, and yet counts when the last real one is to be revoked.
        _log.warning("%s held no admin token; a new one is in it now", self._file)
        return self.renew()

    def renew(self) -> bytes:
        """A new token, in the place of what the file held; raises OSError."""
        replace_private(self._file, generate(self._prefix))
        return self.read()

    def is_revoked(self, token: bytes) -> bool:
        """Whether `note_revoked` has noted `token`; raises OSError."""
        return _mark(token) in self._marks()

    def note_revoked(self, token: bytes) -> None:
        """Note a revocation for every store to come. It stands without the note too, so a disk that takes none is logged, not raised."""
        try:
            if not self.is_revoked(token):
                replace_private(self._revoked, "".join(f"{mark}\n" for mark in (*self._marks(), _mark(token))))
        except OSError as error:
            _log.error("the admin token in %s is revoked, but that cannot be noted beside it: %s", self._file, error)

    def _marks(self) -> list[str]:
        try:
            return self._revoked.read_text(encoding="ascii", errors="replace").split()
        except FileNotFoundError:
            return []


def _mark(token: bytes) -> str:
    # Not by the pepper, which may change. Nobody finds 256 random bits by their digest.
    return hashlib.sha256(token).hexdigest()
