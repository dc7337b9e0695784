"""Serves the questions that come over HTTP: reads the question and its body, and words the verdict for the proxy."""

from __future__ import annotations

from sidecar.refusals import Refused
from sidecar.settings.declaration import Bounds
from sidecar.worker.authz.dialect import ENVOY, Told, dialect_of, retell, told_by
from sidecar.worker.authz.line import Line
from sidecar.worker.authz.replies import ANSWER, last, reply, unpack
from sidecar.worker.client.body import ClientGone, RequestBody, complete_body
from sidecar.worker.client.exchange import Connection, Exchange

ANSWER_PATH = b"/nginx/answer"
PARTIAL = b"x-envoy-auth-partial-body"


class Authorizer:
    """Answers the requests of a proxy's connections: its questions."""

    def __init__(self, line: Line, bounds: Bounds) -> None:
        self._line = line
        self._bounds = bounds

    async def serve(self, exchange: Exchange) -> None:
        """Answer one question."""
        head, body = exchange.head, exchange.body
        try:
            if head.target.path == ANSWER_PATH:
                _finish(exchange, unpack(head.first(ANSWER) or b"", head_only=head.method == b"HEAD"))
                return
            told = told_by(head, self._bounds.target)
            if head.has_body and told.dialect.forwards:
                exchange.body = await self._shown(exchange, told)
            retell(head, told)
            _finish(exchange, reply(await self._line.check(exchange, told), told.dialect))
        except Refused as refused:
            self._reject(exchange, refused)
        except ClientGone:
            return
        finally:
            body.forget()

    def reject(self, connection: Connection, refused: Refused) -> None:
        """Answer bytes that are no request."""
        connection.finish(last(self._line.reject(connection.peer, refused).answer), False)

    def _reject(self, exchange: Exchange, refused: Refused) -> None:
        head = exchange.head
        dialect = dialect_of(head.target.path) or ENVOY
        verdict = self._line.reject(exchange.connection.peer, refused, head_only=head.method == b"HEAD")
        _finish(exchange, reply(verdict, dialect))

    async def _shown(self, exchange: Exchange, told: Told) -> RequestBody:
        """The request's body as far as the proxy shows it whole; an empty one otherwise. Raises Refused and ClientGone."""
        shown = await exchange.body.read_all(self._bounds.inspected_body)
        if told.dialect is ENVOY and (exchange.head.first(PARTIAL) or b"false").lower() != b"false":
            shown = b""
        return complete_body(shown)


def _finish(exchange: Exchange, answer: bytes) -> None:
    keep_alive = exchange.keeps_alive_unsaid
    exchange.connection.finish(answer if keep_alive else last(answer), keep_alive)
