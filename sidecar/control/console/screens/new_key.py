"""Generate New Key, and the one time that its secret is shown."""

from __future__ import annotations

import secrets

from aiohttp import web

from sidecar.control.admin import endpoints
from sidecar.control.admin.errors import IDEMPOTENCY_CONFLICT, AdminError
from sidecar.control.admin.messages.keys import KeyWithSecret
from sidecar.control.console.forms import LABELS, KeyForm, faults_by_field
from sidecar.control.console.guard import HOME
from sidecar.control.console.snippets import FirstCalls
from sidecar.control.console.visit import Screen, Visit


class NewKey:
    """The form, and its answer."""

    def __init__(self, first_calls: FirstCalls) -> None:
        self._first_calls = first_calls

    def screens(self) -> list[Screen]:
        """The form can be opened by whoever may create keys."""
        return [Screen("GET", f"{HOME}/new", self.form, "operator"), Screen("POST", f"{HOME}/new", self.create, "operator")]

    async def form(self, visit: Visit) -> web.StreamResponse:
        """An empty form."""
        return _form(visit, KeyForm(), secrets.token_urlsafe(16))

    async def create(self, visit: Visit) -> web.StreamResponse:
        """Create the key and show its secret; sent twice, the same form makes one key."""
        form = KeyForm(visit.form)
        intent = visit.form.get("intent", "")[:64]
        if faults := form.contradictions(None, visit.now):
            return _form(visit, form, intent, faults)
        try:
            answer = await visit.ask(endpoints.CREATE_KEY, body=form.body(visit.now), idempotency_key=intent, sent=vars(form))
        except AdminError as error:
            if error.problem == IDEMPOTENCY_CONFLICT:
                # Somebody went back to the form, as browsers keep it, and has filled it in anew.
                return _form(visit, form, secrets.token_urlsafe(16), repeated=True)
            if error.problem.status != 400:
                raise
            return _form(visit, form, intent, faults_by_field(error.faults))
        return reveal(visit, self._first_calls, answer.document, "Your new API key")


def reveal(visit: Visit, first_calls: FirstCalls, document: object, heading: str, *, retiring: str = "") -> web.StreamResponse:
    """The page that shows a new secret; it is in this answer and nowhere else. `retiring`: how long the old one stays valid."""
    assert isinstance(document, KeyWithSecret)
    return visit.page(
        "reveal.html",
        heading=heading if document.secret else "Nothing to show",
        key=document.key,
        secret=document.secret,
        retiring=retiring,
        curl=first_calls.curl(visit.request.host, document.secret or ""),
        node=first_calls.node(visit.request.host),
    )


def _form(visit: Visit, form: KeyForm, intent: str, faults: dict[str, str] | None = None, *, repeated: bool = False) -> web.StreamResponse:
    return visit.page(
        "key_form.html",
        status=409 if repeated else 400 if faults else 200,
        outdated=False,
        repeated=repeated,
        heading="Generate New Key",
        creating=True,
        action=f"{HOME}/new",
        back=HOME,
        back_name="API Keys",
        token=intent,
        form=form,
        faults=faults or {},
        labels=LABELS,
    )
