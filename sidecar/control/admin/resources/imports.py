"""Import of tokens that exist already, one by one or many in a file. A token itself never comes here, only its SHA-256."""

from __future__ import annotations

import asyncio
from typing import Any

from sidecar.control.admin import endpoints
from sidecar.control.admin.decoding import decode_body
from sidecar.control.admin.endpoint import BODY_BOUND, Answer, Call, Nothing, Route
from sidecar.control.admin.errors import CONFLICT, INVALID_REQUEST, AdminError
from sidecar.control.admin.key_errors import key_errors
from sidecar.control.admin.key_fields import new_members
from sidecar.control.admin.messages import keys as messages
from sidecar.control.admin.presenting import created, key_object
from sidecar.control.admin.recorder import Recorder
from sidecar.control.admin.resources.keys import target
from sidecar.keys.record import Key
from sidecar.keys.repository import KeyRepository

_AT_A_TIME = 32
MOST_LINES = 400_000
"""More than a body has room for, if they are good. Of each the report says something, so lines of a digit or two would fill the memory."""
_LONGEST_ERROR = 400


class Imports:
    """Serves `keys.import*`; `accepted` is the setting `keys.accept_imported`."""

    def __init__(self, keys: KeyRepository, recorder: Recorder, *, accepted: bool) -> None:
        self._keys = keys
        self._recorder = recorder
        self._accepted = accepted

    def routes(self) -> list[Route]:
        """The endpoints with their handlers."""
        return [endpoints.IMPORT_KEY.bind(self.one), endpoints.IMPORT_LINES.bind(self.many)]

    async def one(self, call: Call[Nothing, messages.ImportedKey]) -> Answer:
        """One token."""
        self._check_accepted()
        key = await self._import(call, call.body)
        return Answer(201, messages.KeyAnswer(key=key_object(key, None, self._recorder.now())))

    async def many(self, call: Call[Nothing, Nothing]) -> Answer:
        """A file of tokens; a line that is refused does not stop the others."""
        self._check_accepted()
        if call.raw.count(b"\n") > MOST_LINES:
            raise AdminError(INVALID_REQUEST, f"The body has more than {MOST_LINES:,} lines; send them in several calls.")
        lines = [(number, line) for number, line in enumerate(call.raw.split(b"\n"), start=1) if line.strip()]
        if not lines:
            raise AdminError(INVALID_REQUEST, "The body has no lines; send JSON Lines, each as the body of keys.import.")
        results: list[messages.ImportedLine] = []
        for first in range(0, len(lines), _AT_A_TIME):
            part = lines[first : first + _AT_A_TIME]
            results += await asyncio.gather(*(self._line(call, number, line) for number, line in part))
        refused = sum(result.error is not None for result in results)
        return Answer(200, messages.ImportReport(imported=len(results) - refused, refused=refused, lines=results))

    async def _line(self, call: Call[Any, Any], number: int, line: bytes) -> messages.ImportedLine:
        try:
            # What may not be the body of a call of its own would keep all others waiting while it is read.
            if len(line) > BODY_BOUND:
                raise AdminError(INVALID_REQUEST, f"is longer than {BODY_BOUND >> 20} MiB.")
            key = await self._import(call, decode_body(line, messages.ImportedKey))
        except AdminError as error:
            detail = error.detail
            return messages.ImportedLine(
                line=number, id=None, error=detail if len(detail) <= _LONGEST_ERROR else f"{detail[:_LONGEST_ERROR]}…"
            )
        return messages.ImportedLine(line=number, id=key.id, error=None)

    async def _import(self, call: Call[Any, Any], message: messages.ImportedKey) -> Key:
        shape = Key(id="", created_at=0.0, **new_members(message))
        async with self._recorder.act(call, "api_key.imported", None) as act:
            with key_errors():
                key = await self._keys.import_key(shape, message.sha256.lower(), message.hint or "imported")
            act.on(target(key), created(key))
        return key

    def _check_accepted(self) -> None:
        if not self._accepted:
            raise AdminError(CONFLICT, "Imported tokens would not be accepted; set keys.accept_imported to true first.")
