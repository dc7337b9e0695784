"""The routes of an AIGNE hub, with the answers that a real one was seen to give."""

from __future__ import annotations

import base64
import time
from collections.abc import Awaitable, Callable
from typing import Any

from sidecar.demo import media
from sidecar.demo.aigne_management import Management
from sidecar.demo.calls import Ledger
from sidecar.demo.exchange import Answer, Call, Stream, binary, compressed, html, json_answer, nothing
from sidecar.demo.identity import Identity, TokenInManyPlaces, by_access_key, by_headers, find_token
from sidecar.demo.provider import ProviderError, Work, begin, plan, speak

Endpoint = Callable[[Call, Identity], Awaitable[Answer]]

_SERVER_TIMING = "ttfb;dur=15.4, session;dur=0.07, validation;dur=0.21, total;dur=16.86"


class AigneHub:
    """A hub on its own port, or with `mounted` as its gateway shows it."""

    def __init__(self, access_key: str, delay: float, *, mounted: bool) -> None:
        self._access_key = access_key
        self._delay = delay
        self.ledger = Ledger()
        management = Management(self.ledger, mounted=mounted)
        inference: dict[str, Endpoint] = {
            "chat/completions": self._completions,
            "completions": self._completions,
            "image/generations": self._image_generations,
        }
        self._v1 = {f"/api/v1/{name}": endpoint for name, endpoint in inference.items()}
        self._v2: dict[str, Endpoint] = {f"/api/v2/{name}": endpoint for name, endpoint in inference.items()} | {
            "/api/v2/chat": self._chat,
            "/api/v2/image": self._image,
            "/api/v2/video": self._video,
            "/api/v2/embeddings": self._embeddings,
        }
        # The real hub checks no credential here, and lets anybody speak on its own provider account.
        self._audio: dict[str, Endpoint] = {"/api/v2/audio/transcriptions": self._transcriptions, "/api/v2/audio/speech": self._speech}
        self._account = management.account
        self._management = management.open

    async def answer(self, call: Call) -> Answer:
        """Answer one request."""
        try:
            identity = by_access_key(find_token(call.headers, call.query, call.json), self._access_key)
        except TokenInManyPlaces:
            return html("Access token found in multiple locations", 400)
        method, path = call.request.method, call.path.replace("/api/v1/sdk/", "/api/v1/", 1)
        if method == "POST" and path in self._v1:
            return await self._ask_v1(call, self._v1[path])
        if method == "POST" and path in self._audio:
            return await self._guarded(call, self._audio[path], identity)
        if method == "POST" and path in self._v2:
            return await self._guarded(call, self._v2[path], identity) if identity.did else _not_authenticated(call)
        if (account := self._account.get((method, path))) is not None:
            return account(call) if identity.did else _not_authenticated(call)
        if (open_ := self._management.get((method, path))) is not None:
            return open_(call, by_headers(call.headers))
        return html("Not Found", 404) if path.startswith("/api/") or method != "GET" else html("AIGNE Hub")

    async def _ask_v1(self, call: Call, endpoint: Endpoint) -> Answer:
        """v1 takes signatures and the gateway's headers, never a bearer key."""
        identity = by_headers(call.headers)
        if not identity.did:
            return json_answer({"code": "forbidden", "error": "not authorized"}, 401)
        if identity.role not in ("admin", "owner"):
            return json_answer({"code": "forbidden", "error": "no permission"}, 403)
        return await self._guarded(call, endpoint, identity)

    async def _guarded(self, call: Call, endpoint: Endpoint, identity: Identity) -> Answer:
        try:
            return await endpoint(call, identity)
        except ProviderError as error:
            return json_answer({"error": _error(error)}, error.status)
        except _Invalid as invalid:
            return json_answer({"error": str(invalid)}, invalid.status)

    async def _chat(self, call: Call, identity: Identity) -> Answer:
        messages = call.member("input", "messages")
        if not isinstance(messages, list):
            raise _Invalid('"input.messages" is required')
        work = _work(_model(call, "input", "modelOptions", "model"), messages)
        if call.member("options", "streaming") is not True:
            await begin(work)
            usage = self._bill(call, identity, "chatCompletion", work)
            answer = {"modelOptions": {}, "text": work.text, "modelWithProvider": work.model}
            return json_answer(answer if work.silent else {**answer, "usage": usage})
        if work.error is not None and work.error[0] == 402:
            await begin(work)
        stream = Stream(call)
        await stream.begin()
        try:
            await begin(work)
        except ProviderError as error:
            await stream.event({"message": error.message}, "error")
            return await stream.end()
        await stream.event({"delta": {"json": {"modelOptions": {}}}})
        await stream.event({"delta": {"json": {}}})
        async for word in speak(work, self._delay):
            await stream.event({"delta": {"text": {"text": word}}})
        if work.breaks:
            return stream.break_off()
        usage = self._bill(call, identity, "chatCompletion", work)
        if not work.silent:
            # Credits are missing in streams, and what was used is told twice.
            usage = {"inputTokens": usage["inputTokens"], "outputTokens": usage["outputTokens"]}
            await stream.event({"delta": {"json": {"usage": usage}}})
            await stream.event({"delta": {"json": {"text": work.text, "usage": usage, "modelOptions": {}}}})
        return await stream.end()

    async def _completions(self, call: Call, identity: Identity) -> Answer:
        prompt = call.member("messages") or call.member("prompt")
        if prompt is None:
            raise _Invalid('"value" must contain at least one of [messages, prompt]')
        work = _work(_model(call, "model"), prompt)
        if call.wants_events:
            return await self._completion_events(call, identity, work)
        if call.member("stream") is True:
            return await self._completion_text(call, identity, work)
        try:
            await begin(work)
        except ProviderError:
            # The real hub ends the answer before it learns of the error.
            return nothing()
        self._bill(call, identity, "chatCompletion", work)
        return compressed(call, {"role": "assistant", "text": work.text, "content": work.text})

    async def _completion_events(self, call: Call, identity: Identity, work: Work) -> Answer:
        stream = Stream(call)
        await stream.begin()
        try:
            await begin(work)
        except ProviderError as error:
            await stream.event({"error": _error(error)})
            return await stream.end()
        async for word in speak(work, self._delay):
            await stream.event({"delta": {"role": "assistant", "content": word, "toolCalls": []}})
        if work.breaks:
            return stream.break_off()
        self._bill(call, identity, "chatCompletion", work)
        if not work.silent:
            total = work.input_tokens + work.output_tokens
            usage = {"usage": {"promptTokens": work.input_tokens, "completionTokens": work.output_tokens, "totalTokens": total}}
            await stream.event(usage)
            await stream.event(usage)
        if call.path.startswith("/api/v2/"):
            await stream.event(_SERVER_TIMING, "server-timing")
        return await stream.end()

    async def _completion_text(self, call: Call, identity: Identity, work: Work) -> Answer:
        stream = Stream(call, {})
        await stream.begin()
        try:
            await begin(work)
        except ProviderError as error:
            await stream.send(f"ERROR: {error.message}".encode())
            return await stream.end()
        async for word in speak(work, self._delay):
            await stream.send(word.encode())
        if work.breaks:
            return stream.break_off()
        self._bill(call, identity, "chatCompletion", work)
        return await stream.end()

    async def _image(self, call: Call, identity: Identity) -> Answer:
        work = _work(_model(call, "input", "modelOptions", "model"), call.member("input", "prompt"))
        await begin(work)
        count = _count(call.member("input", "n"))
        usage = self._bill(call, identity, "imageGeneration", work, pictures=count)
        image: dict[str, Any] = {"type": "file", "data": base64.b64encode(media.picture()).decode(), "mimeType": "image/png"}
        if call.member("input", "outputFileType") == "url":
            image = {"type": "url", "url": f"http://{call.request.host}/media/uploads/1.png", "mimeType": "image/png"}
        del usage["modelCallId"]
        return json_answer({"images": [image] * count, "usage": usage, "model": _short(work), "modelWithProvider": work.model})

    async def _image_generations(self, call: Call, identity: Identity) -> Answer:
        work = _work(_model(call, "model"), call.member("prompt"))
        await begin(work)
        count = _count(call.member("n"))
        credits_ = self._bill(call, identity, "imageGeneration", work, pictures=count)["aigneHubCredits"]
        data = base64.b64encode(media.picture()).decode()
        return json_answer(
            {
                "images": [{"type": "file", "data": data, "mimeType": "image/png"}] * count,
                "data": [{"base64": data, "b64_json": data, "b64Json": data}] * count,
                "model": _short(work),
                "usage": {"aigneHubCredits": None if call.path.startswith("/api/v1/") else credits_, "creditPrefix": "$"},
            }
        )

    async def _video(self, call: Call, identity: Identity) -> Answer:
        work = _work(_model(call, "input", "modelOptions", "model"), call.member("input", "prompt"))
        await begin(work)
        usage = self._bill(call, identity, "video", work)
        video = {"type": "url", "url": f"http://{call.request.host}/media/uploads/1.mp4", "mimeType": "video/mp4"}
        seconds = call.member("input", "seconds") or "8"
        return json_answer(
            {"videos": [video], "usage": usage, "seconds": int(seconds), "model": _short(work), "modelWithProvider": work.model}
        )

    async def _embeddings(self, call: Call, identity: Identity) -> Answer:
        texts = call.member("input", "input")
        if texts is None:
            raise _Invalid('"input.input" is required', 500)
        work = _work(_model(call, "input", "modelOptions", "model"), texts)
        await begin(work)
        count = len(texts) if isinstance(texts, list) else 1
        usage = self._bill(call, identity, "embedding", work, written=0)
        del usage["modelCallId"]
        answer = {"embeddings": [media.vector()] * count, "usage": usage, "model": _short(work), "modelWithProvider": work.model}
        return json_answer(answer)

    async def _transcriptions(self, call: Call, _: Identity) -> Answer:
        return json_answer({"text": f"{len(call.body)} bytes of silence."})

    async def _speech(self, call: Call, _: Identity) -> Answer:
        work = plan(str(call.member("model") or ""), call.member("input"))
        await begin(work)
        if not work.mebibytes:
            return binary(media.silence(), "audio/wav")
        stream = Stream(call, {"Content-Type": "audio/wav"})
        await stream.begin()
        piece = bytes(1 << 20)
        for _index in range(work.mebibytes):
            await stream.send(piece)
        return await stream.end()

    def _bill(
        self, call: Call, identity: Identity, kind: str, work: Work, *, written: int | None = None, pictures: int = 0
    ) -> dict[str, Any]:
        """Enter the call into the ledger; returns the `usage` of the answer."""
        app = call.headers.get("x-aigne-hub-client-did") or identity.did or "z1demoHub"
        output = work.output_tokens if written is None else written
        endpoint = "/" + call.path.split("/", 3)[3]
        request_id = call.headers.get("x-request-id", "")
        entry = self.ledger.add(app, request_id, endpoint, kind, work.model, work.input_tokens, output, pictures=pictures)
        return {
            "inputTokens": work.input_tokens,
            "outputTokens": output,
            "modelCallId": entry["id"],
            "aigneHubCredits": entry["credits"],
            "creditPrefix": "$",
        }


class _Invalid(Exception):
    """The hub refuses the body: `{"error": "<text>"}`."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


def _model(call: Call, *names: str) -> str:
    model = call.member(*names) or call.member("input", "model") or call.member("model")
    if not isinstance(model, str):
        raise _Invalid('"model" is required')
    if model.startswith("aignehub/"):
        raise _Invalid(f"No available provider found for model {model}")
    return model


def _work(model: str, prompt: Any) -> Work:
    return plan(model, prompt)


def _short(work: Work) -> str:
    return work.model.rpartition("/")[2]


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 < value <= 10 else 1


def _error(error: ProviderError) -> dict[str, Any]:
    if error.status == 402:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        return {"message": "Out of credits, please buy more", "timestamp": moment, "type": "NOT_ENOUGH", "link": ""}
    return {"message": error.message}


def _not_authenticated(call: Call) -> Answer:
    if call.wants_events:
        # A 200: the real hub has begun its events before it looks at the credential.
        return binary(b'data: {"error":"User not authenticated"}\n\n', "text/event-stream")
    return json_answer({"error": "User not authenticated"}, 401)
