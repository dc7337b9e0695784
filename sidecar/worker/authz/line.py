"""The line of a question: accept → identify → authorize → limit → answer.

The stages are the data plane's own. What follows there, the hub's answer, is not seen here: the event says
that a request was let through, not what came of it (`ending` is `checked`, no hub status, no tokens).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from sidecar.hubs.blocklet import blocklet_answer
from sidecar.hubs.profile import Route
from sidecar.hubs.routing import Matched
from sidecar.keys.reader import Found
from sidecar.limits.decision import Admission
from sidecar.refusals import INTERNAL_ERROR, INVALID_REQUEST, KEY_STORE_UNAVAILABLE, MODEL_NOT_ALLOWED, OVERLOADED, UNKNOWN_ROUTE, Refused
from sidecar.store.errors import StoreUnavailable
from sidecar.worker.accept import Accept
from sidecar.worker.answer import deprecation
from sidecar.worker.authz.countable import Countable
from sidecar.worker.authz.dialect import Dialect, Told
from sidecar.worker.authz.verdict import Denied, Granted, Verdict
from sidecar.worker.client.exchange import Exchange
from sidecar.worker.client.request_head import RequestHead
from sidecar.worker.identify import has_parameter_of
from sidecar.worker.limit import header_lines
from sidecar.worker.meter import Record
from sidecar.worker.plane import Parts
from sidecar.worker.rewrite import TELLING, Caller, RequestRewriter

_log = logging.getLogger(__name__)

_SEEN_WITHOUT_BODY = ("query:", "path:")


class Line:
    """Judges questions of one worker."""

    def __init__(self, parts: Parts, accept: Accept, bare: RequestRewriter, clock: Callable[[], float]) -> None:
        """`bare` says what the hub gets where each field of an answer costs the proxy."""
        self._parts = parts
        self._accept = accept
        self._enforcer = parts.enforcer
        self._requests = parts.requests
        self._bare = bare
        self._clock = clock
        self._countable = Countable()
        self._capacity = parts.settings.proxy.bounds.requests
        self._told = frozenset(
            route.model for route in parts.profile.routes if route.model and route.model[0].startswith(_SEEN_WITHOUT_BODY)
        )
        """Places of routes whose model no body can overrule."""
        self._credentials = frozenset(name.lower().encode() for name in parts.profile.credential_parameters)
        self._open = 0

    async def check(self, asked: Exchange, told: Told) -> Verdict:
        """Judge the request `asked`, whose body is complete. Whatever happens there is a verdict, and one event."""
        record = self._accept.request(asked)
        # What the proxy shows of the body was waited for, which is no work of ours.
        record.queue = self._clock() - asked.started
        self._open += 1
        try:
            verdict = await self._line(asked, record, told)
        except Refused as refused:
            verdict = self._denied(record, refused, _is_head(asked, told))
        except StoreUnavailable:
            verdict = self._denied(record, Refused(KEY_STORE_UNAVAILABLE), _is_head(asked, told))
        except asyncio.CancelledError:
            record.outcome, record.ending = "sidecar_error", "shutdown"
            raise
        except Exception:
            _log.exception("question %s failed", record.request_id)
            verdict = self._denied(record, Refused(INTERNAL_ERROR), _is_head(asked, told))
        finally:
            self._open -= 1
            self._parts.meter.finish(record)
        return verdict

    def reject(self, peer: str, refused: Refused, *, head_only: bool = False) -> Denied:
        """The verdict on a question that cannot be read."""
        record = self._accept.nonsense(peer)
        verdict = self._denied(record, refused, head_only)
        self._parts.meter.finish(record)
        return verdict

    async def _line(self, asked: Exchange, record: Record, told: Told) -> Verdict:
        # Nothing is awaited that has not to be: most questions are answered from memory, at once.
        head, dialect, enforcer = asked.head, told.dialect, self._enforcer
        if head.method == b"OPTIONS":
            return self._preflight(head, record, dialect)
        matched, no_route = self._parts.router.look_up(record.method, record.path)
        # identify
        found: Found | None = None
        if matched is None or not matched.route.public:
            if self._open > self._capacity:
                raise Refused(OVERLOADED)
            known = enforcer.recognize(head, record)
            found = await enforcer.ask(known, record) if isinstance(known, bytes) else known
        if matched is None:
            assert no_route is not None
            raise no_route
        route = matched.route
        record.route = route.name
        # authorize
        if found is not None:
            enforcer.check_use(found, record, route)
        if route.answer == "blocklet" or not dialect.forwards:
            return self._page(head, record, route, dialect, _is_head(asked, told))
        if not dialect.takes_target:
            self._refuse_uncut(head)
            self._refuse_unwritten(record.path, route)
        if asked.body.received or route.model in self._told or (found is not None and found.key.allowed_models is not None):
            self._check_model(asked, record, route, found)
        # limit
        admission = None
        if found is not None and found.key.is_limited:
            admission = await self._admit(asked, record, route, found)
        # answer
        record.status, record.ending = 200, "checked"
        return self._granted(asked, record, matched, found, admission, told)

    # authorize

    @staticmethod
    def _refuse_unwritten(path: str, route: Route) -> None:
        """Where the proxy rewrites, it knows paths letter by letter: another spelling would reach the hub as it is."""
        if route.rewrite and "%" in path:
            raise Refused(UNKNOWN_ROUTE)

    def _refuse_uncut(self, head: RequestHead) -> None:
        """Where the client's own query goes on, what the data plane would cut out of it is refused: the key too, whatever it is called."""
        query = head.target.query
        if query and (has_parameter_of(self._credentials, query) or _has_key(query, head)):
            raise Refused(INVALID_REQUEST, "Send no credential in the query, only Authorization: Bearer <key>.")

    def _check_model(self, asked: Exchange, record: Record, route: Route, found: Found | None) -> None:
        has_list = found is not None and found.key.allowed_models is not None
        if not asked.body.received and has_list and any(not place.startswith(_SEEN_WITHOUT_BODY) for place in route.model):
            # What stands in the query may be overruled by a body that was not shown.
            refused = Refused(
                MODEL_NOT_ALLOWED, "The proxy does not show the request's body, so its model cannot be checked.", param="model"
            )
            self._enforcer.tolerate(record, refused, self._enforcer.mode(found))
        else:
            self._enforcer.inspect(asked, record, route, found, asked.body.whole())

    # limit

    async def _admit(self, asked: Exchange, record: Record, route: Route, found: Found) -> Admission | None:
        key = self._countable.of(found.key)
        if not key.is_limited:
            return None
        tokens = self._parts.inspector.estimate(asked, route, asked.body.received, None)
        admission = await self._parts.limit.admit(key, record, tokens)
        # When the request ends is not seen here.
        self._parts.limit.release(admission, record)
        return admission

    # answer

    def _granted(
        self, asked: Exchange, record: Record, matched: Matched, found: Found | None, admission: Admission | None, told: Told
    ) -> Granted:
        head, dialect = asked.head, told.dialect
        requests = self._bare if dialect.takes_removals else self._requests
        client = header_lines(admission) if admission is not None else b""
        if found is not None and found.secret.state == "retiring":
            client += deprecation(found.secret)
        caller = Caller(record.key_id, record.request_id, record.client, told.scheme, told.host_name, record.traceparent, record.in_trace)
        return Granted(
            requests.injected(matched.route, caller),
            requests.passed(head, in_trace=caller.in_trace) if dialect.takes_fields else [],
            self._dropped(head, matched.route, caller, told) if dialect.takes_removals else b"",
            requests.target(head, matched.hub_path.encode()) if dialect.takes_target else b"",
            client,
            b"" if requests.names_request(matched.route, caller) else b"x-request-id: %b\r\n" % record.request_id.encode(),
        )

    def _dropped(self, head: RequestHead, route: Route, caller: Caller, told: Told) -> bytes:
        place = (0 if not caller.key_id else 1 if caller.client else 2) + (3 if caller.in_trace else 0)
        dropped = told.dropped[place]
        if dropped is None:
            # A form has one method and one path, so one route.
            dropped = told.dropped[place] = b",".join(self._bare.dropped(head, route, caller))
        return dropped

    def _preflight(self, head: RequestHead, record: Record, dialect: Dialect) -> Denied:
        requested = head.first(b"access-control-request-headers")
        return self._own(record, 204, self._parts.answers.preflight(requested, record.request_id, keep_alive=True), dialect)

    def _page(self, head: RequestHead, record: Record, route: Route, dialect: Dialect, head_only: bool) -> Denied:
        if route.answer != "blocklet":
            raise Refused(UNKNOWN_ROUTE)
        content_type, page = blocklet_answer((head.target.query or b"").decode())
        page = self._parts.answers.page(content_type, page, record.request_id, keep_alive=True, head_only=head_only)
        return self._own(record, 200, page, dialect)

    def _own(self, record: Record, status: int, answer: bytes, dialect: Dialect) -> Denied:
        """An answer of the sidecar's own; only some proxies can be told to give a success instead of forwarding."""
        if not dialect.gives_pages:
            raise Refused(UNKNOWN_ROUTE, "The proxy must send this request to /own of the authorizer; its configuration lacks that.")
        record.status = status
        return Denied(status, answer)

    def _denied(self, record: Record, refused: Refused, head_only: bool) -> Denied:
        record.refused(refused.refusal)
        answer = self._parts.answers.refusal(refused, record.request_id, keep_alive=True, head_only=head_only)
        return Denied(refused.refusal.status, answer)


def _has_key(query: bytes, head: RequestHead) -> bool:
    """Whether the client's credential stands in `query`."""
    tokens = (value.partition(b" ")[2].strip() for value in head.all(b"authorization"))
    return any(len(token) >= TELLING and token in query for token in tokens)


def _is_head(asked: Exchange, told: Told) -> bool:
    """Whether the question itself is a HEAD, as where the proxy asks by the request's own method: then its answer has no body."""
    return not told.dialect.target_field and asked.head.method == b"HEAD"
