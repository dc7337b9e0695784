"""The routes of a hub that speaks OpenAI's, Anthropic's and Ollama's protocol, for trying the `openai` profile."""

from __future__ import annotations

import array
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from sidecar.demo import media
from sidecar.demo.exchange import Answer, Call, Stream, binary, json_answer
from sidecar.demo.provider import ProviderError, Work, begin, plan, speak

_CREATED = 1_700_000_000


class OpenAiHub:
    """Takes one access key as a bearer token."""

    def __init__(self, access_key: str, delay: float) -> None:
        self._access_key = access_key
        self._delay = delay
        self._routes: dict[tuple[str, str], Callable[[Call], Awaitable[Answer]]] = {
            ("POST", "/chat/completions"): self._chat,
            ("POST", "/responses"): self._responses,
            ("POST", "/embeddings"): self._embeddings,
            ("POST", "/images/generations"): self._images,
            ("POST", "/audio/speech"): self._speech,
            ("POST", "/audio/transcriptions"): self._transcriptions,
            ("POST", "/messages"): self._messages,
            ("POST", "/api/chat"): self._ollama,
            ("POST", "/api/generate"): self._ollama,
            ("GET", "/models"): self._models,
        }

    async def answer(self, call: Call) -> Answer:
        """Answer one request."""
        if call.headers.get("Authorization") != f"Bearer {self._access_key}":
            return _error(401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key")
        endpoint = self._routes.get((call.request.method, call.path.removeprefix("/v1")))
        if endpoint is None:
            return _error(404, f"Unknown request URL: {call.request.method} {call.path}", "invalid_request_error", "unknown_url")
        try:
            return await endpoint(call)
        except ProviderError as error:
            return _error(error.status, error.message, "server_error" if error.status == 500 else "rate_limit_error", "provider")

    async def _chat(self, call: Call) -> Answer:
        work = _work(call, "messages")
        await begin(work)
        base = {"id": "chatcmpl-demo", "created": _CREATED, "model": work.model}
        usage = {
            "prompt_tokens": work.input_tokens,
            "completion_tokens": work.output_tokens,
            "total_tokens": work.input_tokens + work.output_tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
        }
        if call.member("stream") is not True:
            choice = {"index": 0, "message": {"role": "assistant", "content": work.text}, "finish_reason": "stop"}
            return json_answer({**base, "object": "chat.completion", "choices": [choice], "usage": usage})
        base["object"] = "chat.completion.chunk"
        tells = call.member("stream_options", "include_usage") is True
        stream = Stream(call)
        await stream.begin()
        async for word in speak(work, self._delay):
            chunk = {**base, "choices": [{"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}]}
            await stream.event({**chunk, "usage": None} if tells else chunk)
        if work.breaks:
            return stream.break_off()
        await stream.event({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if tells:
            await stream.event({**base, "choices": [], "usage": usage})
        await stream.event("[DONE]")
        return await stream.end()

    async def _responses(self, call: Call) -> Answer:
        work = _work(call, "input")
        await begin(work)
        usage = {
            "input_tokens": work.input_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": work.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": work.input_tokens + work.output_tokens,
        }
        content = {"type": "output_text", "text": work.text, "annotations": []}
        message = {"id": "msg_demo", "type": "message", "role": "assistant", "status": "completed", "content": [content]}
        base = {"id": "resp_demo", "object": "response", "created_at": _CREATED, "model": work.model, "error": None, "tools": []}
        done = {**base, "status": "completed", "output": [message], "usage": usage}
        if call.member("stream") is not True:
            return json_answer(done)
        stream = Stream(call)
        await stream.begin()
        begun = {**base, "status": "in_progress", "output": [], "usage": None}
        await stream.event({"type": "response.created", "sequence_number": 0, "response": begun}, "response.created")
        async for word in speak(work, self._delay):
            delta = {"type": "response.output_text.delta", "item_id": "msg_demo", "output_index": 0, "content_index": 0, "delta": word}
            await stream.event(delta, "response.output_text.delta")
        if work.breaks:
            return stream.break_off()
        await stream.event({"type": "response.completed", "sequence_number": 1, "response": done}, "response.completed")
        return await stream.end()

    async def _embeddings(self, call: Call) -> Answer:
        work = _work(call, "input")
        await begin(work)
        texts = call.member("input")
        vector: Any = media.vector()
        if call.member("encoding_format") == "base64":
            vector = base64.b64encode(array.array("f", vector).tobytes()).decode()
        count = len(texts) if isinstance(texts, list) else 1
        data = [{"object": "embedding", "index": index, "embedding": vector} for index in range(count)]
        usage = {"prompt_tokens": work.input_tokens, "total_tokens": work.input_tokens}
        return json_answer({"object": "list", "data": data, "model": work.model, "usage": usage})

    async def _images(self, call: Call) -> Answer:
        work = _work(call, "prompt")
        await begin(work)
        data = [{"b64_json": base64.b64encode(media.picture()).decode()}] * int(call.member("n") or 1)
        usage = {"input_tokens": work.input_tokens, "output_tokens": 1056, "total_tokens": work.input_tokens + 1056}
        return json_answer({"created": _CREATED, "data": data, "usage": usage})

    async def _speech(self, call: Call) -> Answer:
        await begin(_work(call, "input"))
        return binary(media.silence(), "audio/wav")

    async def _transcriptions(self, call: Call) -> Answer:
        usage = {"type": "tokens", "input_tokens": 14, "output_tokens": 4, "total_tokens": 18}
        return json_answer({"text": f"{len(call.body)} bytes of silence.", "usage": usage})

    async def _messages(self, call: Call) -> Answer:
        work = _work(call, "messages")
        await begin(work)
        begun = {"input_tokens": work.input_tokens, "output_tokens": 1, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
        base = {"id": "msg_demo", "type": "message", "role": "assistant", "model": work.model}
        if call.member("stream") is not True:
            content = [{"type": "text", "text": work.text}]
            usage = {**begun, "output_tokens": work.output_tokens}
            return json_answer({**base, "content": content, "stop_reason": "end_turn", "usage": usage})
        stream = Stream(call)
        await stream.begin()
        await stream.event({"type": "message_start", "message": {**base, "content": [], "usage": begun}}, "message_start")
        async for word in speak(work, self._delay):
            delta = {"type": "text_delta", "text": word}
            await stream.event({"type": "content_block_delta", "index": 0, "delta": delta}, "content_block_delta")
        if work.breaks:
            return stream.break_off()
        usage = {"output_tokens": work.output_tokens}
        await stream.event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}, "message_delta")
        await stream.event({"type": "message_stop"}, "message_stop")
        return await stream.end()

    async def _ollama(self, call: Call) -> Answer:
        is_chat = call.path.endswith("/chat")
        work = _work(call, "messages" if is_chat else "prompt")
        await begin(work)
        counts = {"prompt_eval_count": work.input_tokens, "eval_count": work.output_tokens}

        def line(text: str, **more: Any) -> dict[str, Any]:
            said = {"message": {"role": "assistant", "content": text}} if is_chat else {"response": text}
            return {"model": work.model, "created_at": "2023-11-14T22:13:20Z", **said, **more}

        if call.member("stream") is False:
            return json_answer(line(work.text, done=True, **counts))
        stream = Stream(call, {"Content-Type": "application/x-ndjson"})
        await stream.begin()
        async for word in speak(work, self._delay):
            await stream.send(msgspec.json.encode(line(word, done=False)) + b"\n")
        if work.breaks:
            return stream.break_off()
        await stream.send(msgspec.json.encode(line("", done=True, **counts)) + b"\n")
        return await stream.end()

    async def _models(self, _: Call) -> Answer:
        data = [
            {"id": name, "object": "model", "created": _CREATED, "owned_by": "demo"} for name in ("gpt-4o-mini", "demo/slow", "demo/error")
        ]
        return json_answer({"object": "list", "data": data})


def _work(call: Call, prompt: str) -> Work:
    return plan(str(call.member("model") or ""), call.member(prompt))


def _error(status: int, message: str, kind: str, code: str) -> Answer:
    return json_answer({"error": {"message": message, "type": kind, "param": None, "code": code}}, status)
