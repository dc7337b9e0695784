"""What an AIGNE hub has beside inference: catalogues, account pages, and the routes that must never be forwarded.

The last are here with the weaknesses of the real ones, so that a test notices when the sidecar lets
somebody through to them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from sidecar.demo import media
from sidecar.demo.calls import Ledger
from sidecar.demo.exchange import Answer, Call, binary, json_answer
from sidecar.demo.identity import Identity
from sidecar.hubs.blocklet import AI_KIT_DID

MODELS = (
    {"model": "openai/gpt-5-mini", "type": "chatCompletion"},
    {"model": "anthropic/claude-sonnet-4", "type": "chatCompletion"},
    {"model": "openai/gpt-image-1", "type": "imageGeneration"},
    {"model": "openai/text-embedding-3-small", "type": "embedding"},
    {"model": "openai/sora-2", "type": "video"},
)

Account = Callable[[Call], Answer]
Open = Callable[[Call, Identity], Answer]


class Management:
    """Tables of (method, path): `account` needs the access key, `open` looks at no credential but the gateway's headers."""

    def __init__(self, ledger: Ledger, *, mounted: bool) -> None:
        self._ledger = ledger
        self.account: dict[tuple[str, str], Account] = {
            ("GET", "/api/user/info"): lambda _: json_answer({"user": {"did": "z1demoOwner", "fullName": "Demo Owner", "role": "guest"}}),
            ("GET", "/api/user/credit/balance"): lambda _: json_answer(
                {"balance": "100", "total": "120", "grantCount": 1, "pendingCredit": "0"}
            ),
            ("GET", "/api/user/model-calls"): self._model_calls,
            ("GET", "/api/usage/projects"): lambda _: json_answer(ledger.projects()),
            ("GET", "/api/usage/quota"): lambda _: json_answer({"usage": [], "quota": None}),
        }
        self.open: dict[tuple[str, str], Open] = {
            ("GET", "/api/v2/status"): lambda call, _: _status(call),
            ("GET", "/api/ai/models"): lambda call, _: _models(call),
            ("GET", "/api/ai-providers/models"): lambda call, _: _models(call),
            ("GET", "/api/ai-providers/health"): lambda *_: json_answer(
                {"providers": {"openai": {"credentials": {"main": {"running": True}}}}}
            ),
            ("GET", "/api/ai-providers"): lambda *_: json_answer(
                [{"name": "openai", "credentials": [{"value": "enc:0a1b", "masked": "sk-a****z"}]}]
            ),
            ("POST", "/api/ai-providers"): lambda _, identity: _for_admins(identity, {"id": "1", "name": "created"}),
            ("GET", "/api/app/config"): lambda *_: json_answer({"useAIKitService": False}),
            ("PATCH", "/api/app/config"): lambda _, identity: _for_admins(identity, {"useAIKitService": True}),
            ("GET", "/api/app/client/subscription/success"): lambda call, _: _redirect(call),
            ("GET", "/media/uploads/1.png"): lambda *_: binary(media.picture(), "image/png"),
        }
        if mounted:
            self.open["GET", "/__blocklet__.js"] = lambda *_: _blocklet()
            self.open["POST", "/.well-known/service/api/access-key"] = lambda *_: json_answer({"accessKeySecret": "minted-by-the-gateway"})

    def _model_calls(self, call: Call) -> Answer:
        page, size = (max(1, int(call.query.get(name, default))) for name, default in (("page", "1"), ("pageSize", "20")))
        return json_answer(self._ledger.page(call.query.get("appDid"), page, min(size, 100)))


def _status(call: Call) -> Answer:
    if call.query.get("model", "").startswith("demo/no-credit"):
        return json_answer({"available": False, "error": "Out of credits", "code": 402, "type": "NOT_ENOUGH", "link": ""})
    return json_answer({"available": True})


def _models(call: Call) -> Answer:
    kinds = {"chat": "chatCompletion", "image": "imageGeneration"}
    wanted = call.query.get("type", "")
    return json_answer([model for model in MODELS if not wanted or model["type"] == kinds.get(wanted, wanted)])


def _for_admins(identity: Identity, answer: dict[str, Any]) -> Answer:
    if not identity.did:
        return json_answer({"code": "forbidden", "error": "not authorized"}, 401)
    if identity.role not in ("admin", "owner"):
        return json_answer({"code": "forbidden", "error": "no permission"}, 403)
    return json_answer(answer)


def _redirect(call: Call) -> Answer:
    return web.Response(status=301, headers={"Location": call.query.get("redirect", "/")})


def _blocklet() -> Answer:
    mount = {"title": "AIGNE Hub", "name": "ai-kit", "did": AI_KIT_DID, "mountPoint": "/ai-kit", "status": "running"}
    return json_answer({"appName": "Demo", "prefix": "/", "componentId": AI_KIT_DID, "componentMountPoints": [mount]})
