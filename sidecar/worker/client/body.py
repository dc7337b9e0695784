"""Receives a request body: counts it, and holds the client back when nobody reads."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from sidecar.refusals import REQUEST_TOO_LARGE, Refusal, Refused
from sidecar.worker.client.chunked import ChunkedDecoder
from sidecar.worker.client.room import Room

HIGH_WATER = 256 << 10
"""Bytes that wait to be read, beyond which the client is held back."""


class ClientGone(Exception):
    """The client left before its request was complete."""


class Flow(Protocol):
    """The side that bytes come from."""

    def hold(self) -> None:
        """Stop reading from the client."""

    def release(self) -> None:
        """Read again."""

    def send_continue(self) -> None:
        """Tell the client that its body is wanted."""


class RequestBody:
    """The body of one request, as it arrives."""

    def __init__(
        self, flow: Flow, length: int | None, chunked: bool, longest: int, expects_continue: bool, room: Room | None = None
    ) -> None:
        """`room` is what `read_all` may fill, beside the other requests."""
        self.length = length if not chunked else None
        self.received = 0
        self.complete = not chunked and not length
        self._flow = flow
        self._decoder = ChunkedDecoder() if chunked else None
        self._longest = longest
        self._expects_continue = expects_continue
        self._pieces: deque[bytes] = deque()
        self._buffered = 0
        self._held = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._room = room
        self._kept = 0
        """Bytes of `room` that are taken."""
        self._key_id: str | None = None
        """Whose they are; None: it is not known."""
        self._goes_on = False
        """Whether what `read_all` took was put back, to be read piece by piece: each piece then leaves its share of `room`."""

    def feed(self, data: bytes) -> bytes | None:
        """Take bytes from the connection; returns what follows the body once it is complete, else None.

        A fault in the framing is raised by the next `read`, as Refused.
        """
        rest: bytes | None = None
        if self._error is not None:
            # What follows a fault in the framing could be read as anything, also as the end of the body.
            return None
        try:
            rest = self._feed_chunked(data) if self._decoder is not None else self._feed_counted(data)
        except Refused as error:
            self.fail(error)
            return None
        if self._buffered > HIGH_WATER and not self._held and not self.complete:
            self._held = True
            self._flow.hold()
        self._wake()
        return rest

    def fail(self, error: Exception) -> None:
        """End the body with `error`: a framing fault, a deadline, or ClientGone."""
        if not self.complete and self._error is None:
            self._error = error
            self._wake()

    @property
    def error(self) -> Exception | None:
        """Why the body can never become complete: Refused or ClientGone."""
        return self._error

    def whole(self) -> bytes | None:
        """The whole body, if all of it is here and none of it was read; else None."""
        if not self.complete or self._buffered != self.received:
            return None
        if not self.received:
            return b""
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._buffered = 0
        return data

    async def read(self) -> bytes:
        """The next piece; empty at the end. Raises Refused or ClientGone."""
        while self._error is not None or not self._pieces:
            # A broken body is refused at once, even if good pieces came before the fault.
            if self._error is not None:
                raise self._error
            if self.complete:
                return b""
            self.ask()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        piece = self._pieces.popleft()
        self._buffered -= len(piece)
        if self._goes_on:
            self._give_back(len(piece))
        if self._held and self._buffered <= HIGH_WATER // 2:
            self._held = False
            self._flow.release()
        return piece

    async def read_all(self, longest: int, too_large: Refusal = REQUEST_TOO_LARGE, *, key_id: str | None = None) -> bytes:
        """The whole body of a request of `key_id`, at most `longest` bytes. Raises Refused or ClientGone; call `forget` when
        it is needed no more.

        A longer one is refused with `too_large`, and can still be read.
        """
        if self.length is not None and self.length > longest:
            raise Refused(too_large)
        self._key_id = key_id
        # Not a list of pieces, of which a client could make as many as there are bytes.
        whole = bytearray()
        while piece := await self.read():
            if len(whole) + len(piece) > longest:
                whole += piece
                self._put_back(whole)
                raise Refused(too_large)
            if self._room is not None:
                self._room.take(key_id, len(piece), self._kept)
                self._kept += len(piece)
            whole += piece
        return bytes(whole)

    def forget(self) -> None:
        """The request is over: what `read_all` returned is needed no more."""
        if self._kept:
            self._give_back(self._kept)

    def ask(self) -> None:
        """Send `100 Continue` if the client waits for it and nothing has arrived yet (RFC 9110 10.1.1)."""
        if self._expects_continue:
            self._expects_continue = False
            if not self.received:
                self._flow.send_continue()

    @property
    def is_awaited(self) -> bool:
        """Whether the client still waits for `100 Continue`, so that its body will never come unasked."""
        return self._expects_continue and not self.received

    def _feed_counted(self, data: bytes) -> bytes | None:
        missing = (self.length or 0) - self.received
        if len(data) < missing:
            self._store(data)
            return None
        self._store(data[:missing] if len(data) > missing else data)
        self.complete = True
        return data[missing:]

    def _feed_chunked(self, data: bytes) -> bytes | None:
        decoder = self._decoder
        assert decoder is not None
        # One piece, however small the chunks are: each costs some forty bytes beside its own.
        self._store(b"".join(decoder.feed(data)))
        if self.received > self._longest:
            raise Refused(REQUEST_TOO_LARGE)
        if not decoder.done:
            return None
        self.complete = True
        return decoder.rest

    def _store(self, piece: bytes) -> None:
        if piece:
            self._pieces.append(piece)
            self._buffered += len(piece)
            self.received += len(piece)

    def _put_back(self, data: bytearray) -> None:
        """Let `data` be read again, in pieces of a size that others have too."""
        self._pieces.extendleft(bytes(data[at : at + HIGH_WATER]) for at in reversed(range(0, len(data), HIGH_WATER)))
        self._buffered += len(data)
        self._goes_on = True

    def _give_back(self, size: int) -> None:
        freed = min(size, self._kept)
        if self._room is not None and freed:
            self._room.give_back(self._key_id, freed)
            self._kept -= freed

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class _Silent:
    """Nothing flows."""

    def hold(self) -> None:
        """Nobody sends."""

    def release(self) -> None:
        """Nobody sends."""

    def send_continue(self) -> None:
        """Nobody waits."""


def complete_body(data: bytes) -> RequestBody:
    """A body of which everything is here."""
    body = RequestBody(_Silent(), len(data), False, len(data), False)
    if data:
        body.feed(data)
    return body


NO_BODY = complete_body(b"")
"""The body of all requests that have none: nothing of it ever changes."""
