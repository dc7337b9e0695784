"""Admin tokens: who may use this API."""

from __future__ import annotations

from sidecar.control.admin import endpoints
from sidecar.control.admin.endpoint import Answer, Call, Nothing, Route
from sidecar.control.admin.errors import CONFLICT, NOT_FOUND, AdminError
from sidecar.control.admin.key_fields import check_name
from sidecar.control.admin.messages import operations as messages
from sidecar.control.admin.recorder import Recorder
from sidecar.control.admin.times import to_time, to_time_or_none
from sidecar.control.audit import Change, Party
from sidecar.keys.admin_tokens import AdminToken, AdminTokens, LastAdminToken, UnknownAdminToken


class AdminTokenCalls:
    """Serves `admin_tokens.*`."""

    def __init__(self, tokens: AdminTokens, recorder: Recorder) -> None:
        self._tokens = tokens
        self._recorder = recorder

    def routes(self) -> list[Route]:
        """The endpoints with their handlers."""
        return [
            endpoints.LIST_ADMIN_TOKENS.bind(self.list),
            endpoints.CREATE_ADMIN_TOKEN.bind(self.create),
            endpoints.REVOKE_ADMIN_TOKEN.bind(self.revoke),
        ]

    async def list(self, call: Call[Nothing, Nothing]) -> Answer:
        """All of them."""
        del call
        return Answer(200, messages.AdminTokenList(data=[_object(token) for token in await self._tokens.list()]))

    async def create(self, call: Call[Nothing, messages.NewAdminToken]) -> Answer:
        """A new one; its secret is in the answer and nowhere else."""
        async with self._recorder.act(call, "admin_token.created", None) as act:
            issued = await self._tokens.create(check_name(call.body.name), call.body.role)
            act.on(_party(issued.record), {"role": Change(None, issued.record.role)})
        return Answer(201, messages.AdminTokenWithSecret(admin_token=_object(issued.record), token=issued.token))

    async def revoke(self, call: Call[Nothing, Nothing]) -> Answer:
        """End one; not the last that can make others."""
        token_id = call.path["token_id"]
        known = {token.id: token for token in await self._tokens.list()}
        token = known.get(token_id)
        # One whose record cannot be read is in no list, and is revoked all the same.
        party, changes = (_party(token), {"role": Change(token.role, None)}) if token is not None else (Party("admin_token", token_id), {})
        async with self._recorder.act(call, "admin_token.revoked", party, changes):
            try:
                revoked = await self._tokens.revoke(token_id, keep_an_admin=True)
            except UnknownAdminToken:
                raise _unknown() from None
            except LastAdminToken:
                raise AdminError(
                    CONFLICT, "This is the last admin token of role admin; create another one first.", param="token_id"
                ) from None
        return Answer(200, messages.AdminTokenAnswer(admin_token=_object(token or revoked)))


def _unknown() -> AdminError:
    return AdminError(NOT_FOUND, "There is no admin token with this id.", param="token_id")


def _party(token: AdminToken) -> Party:
    return Party("admin_token", token.id, token.name)


def _object(token: AdminToken) -> messages.AdminTokenObject:
    return messages.AdminTokenObject(
        id=token.id,
        name=token.name,
        role=token.role,
        hint=token.hint,
        created_at=to_time(token.created_at),
        last_used_at=to_time_or_none(token.last_used_at),
    )
