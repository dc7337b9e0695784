"""Hub answers of every dialect with what they used: the truth that the readers are held against."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from sidecar.events.record import Tokens


@dataclass(frozen=True)
class Answer:
    """A body as a hub sends it; `pieces` are the parts between which a stream may break with `seen` known so far."""

    dialect: str
    content_type: str
    pieces: tuple[bytes, ...]
    tokens: Tokens
    source: str = "hub"
    model: str = ""
    error: str = ""
    seen: tuple[Tokens | None, ...] = field(default=())
    """For each number of pieces received: what was said by then (None: nothing)."""

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


JSON = "application/json; charset=utf-8"
SSE = "text/event-stream"
counts = st.integers(0, 10_000_000)
texts = st.text(max_size=60)


def dump(value: Any, compact: bool = True) -> bytes:
    return json.dumps(value, ensure_ascii=compact, separators=(",", ":") if compact else None).encode()


def event(data: Any, name: str = "", end: bytes = b"\n") -> bytes:
    lines = [f"event: {name}".encode()] if name else []
    lines.append(b"data: " + (data if isinstance(data, bytes) else dump(data)))
    return end.join(lines) + end + end


ends = st.sampled_from([b"\n", b"\r\n", b"\r"])


@st.composite
def aigne_usage(draw: st.DrawFn) -> tuple[dict[str, Any], Tokens]:
    usage: dict[str, Any] = {"inputTokens": draw(counts), "outputTokens": draw(counts)}
    if draw(st.booleans()):
        usage |= {"cacheReadInputTokens": draw(counts), "cacheCreationInputTokens": draw(counts)}
    if draw(st.booleans()):
        usage |= {"aigneHubCredits": draw(st.sampled_from([0, 0.02, 1.5, 7])), "creditPrefix": "$", "modelCallId": "780251991929622528"}
    tokens = Tokens(
        usage["inputTokens"],
        usage["outputTokens"],
        usage.get("cacheReadInputTokens", 0),
        usage.get("cacheCreationInputTokens", 0),
        float(usage.get("aigneHubCredits", 0)),
    )
    return usage, tokens


@st.composite
def aigne_chat_json(draw: st.DrawFn) -> Answer:
    usage, tokens = draw(aigne_usage())
    body = {"modelOptions": {}, "text": draw(texts), "usage": usage, "modelWithProvider": "openai/gpt-5-mini", "model": "gpt-5-mini"}
    return Answer("aigne-chat", JSON, (dump(body, draw(st.booleans())),), tokens, model="openai/gpt-5-mini")


@st.composite
def aigne_chat_events(draw: st.DrawFn) -> Answer:
    end = draw(ends)
    pieces = [event({"delta": {"json": {"modelOptions": {}}}}, end=end)]
    seen: list[Tokens | None] = [None, None]
    for text in draw(st.lists(texts, max_size=4)):
        pieces.append(event({"delta": {"text": {"text": text}}}, end=end))
        seen.append(None)
    last = Tokens()
    for _ in range(draw(st.integers(1, 3))):
        usage, last = draw(aigne_usage())
        pieces.append(event({"delta": {"json": {"text": draw(texts), "usage": usage}}}, end=end))
        seen.append(last)
    return Answer("aigne-chat", SSE, tuple(pieces), last, seen=tuple(seen))


@st.composite
def aigne_completions_events(draw: st.DrawFn) -> Answer:
    end = draw(ends)
    read, written = draw(counts), draw(counts)
    usage = event({"usage": {"promptTokens": read, "completionTokens": written, "totalTokens": read + written}}, end=end)
    deltas = [
        event({"delta": {"role": "assistant", "content": text, "toolCalls": []}}, end=end) for text in draw(st.lists(texts, min_size=1))
    ]
    timing = event(b"ttfb;dur=15.4, session;dur=0.07, total;dur=16.86", "server-timing", end)
    tokens = Tokens(read, written)
    seen = (*[None] * (len(deltas) + 1), tokens, tokens, tokens)
    return Answer("aigne-completions", SSE, (*deltas, usage, usage, timing), tokens, seen=seen)


@st.composite
def aigne_completions_json(draw: st.DrawFn) -> Answer:
    text = draw(texts)
    return Answer("aigne-completions", JSON, (dump({"role": "assistant", "text": text, "content": text}),), Tokens(), "none")


@st.composite
def aigne_images(draw: st.DrawFn) -> Answer:
    picture = {"type": "file", "data": draw(st.sampled_from(["", "aGVsbG8=", "a" * 300_000])), "mimeType": "image/png"}
    pictures = [picture] * draw(st.integers(1, 3))
    usage, tokens = draw(aigne_usage())
    if draw(st.booleans()):
        body = {"images": pictures, "usage": usage, "model": "gpt-image-1", "modelWithProvider": "openai/gpt-image-1"}
    else:
        usage = {"aigneHubCredits": draw(st.sampled_from([None, 0.04])), "creditPrefix": "$"}
        tokens = Tokens(credits=usage["aigneHubCredits"] or 0.0)
        body = {"images": pictures, "data": [{"b64_json": "x"} for _ in pictures], "model": "openai/gpt-image-1", "usage": usage}
    tokens = Tokens(tokens.input, tokens.output, tokens.cached_input, tokens.cache_creation_input, tokens.credits, len(pictures))
    return Answer("aigne-image", JSON, (dump(body),), tokens, model="openai/gpt-image-1")


@st.composite
def aigne_others(draw: st.DrawFn) -> Answer:
    usage, tokens = draw(aigne_usage())
    dialect, payload = draw(
        st.sampled_from(
            [("aigne-embeddings", {"embeddings": [[0.1, -2e-3] * 50]}), ("aigne-video", {"videos": [{"url": "x"}], "seconds": 8})]
        )
    )
    body = {**payload, "usage": usage, "model": "m", "modelWithProvider": "openai/m"}
    return Answer(dialect, JSON, (dump(body),), tokens, model="openai/m")


@st.composite
def openai_usage(draw: st.DrawFn) -> tuple[dict[str, Any], Tokens]:
    read, written, cached = draw(counts), draw(counts), draw(counts)
    if draw(st.booleans()):
        usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        details = "prompt_tokens_details"
    else:
        usage = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
        details = "input_tokens_details"
    if draw(st.booleans()):
        return {**usage, details: {"cached_tokens": cached, "audio_tokens": 0}}, Tokens(read, written, cached)
    return {**usage, details: None}, Tokens(read, written)


@st.composite
def openai_json(draw: st.DrawFn) -> Answer:
    usage, tokens = draw(openai_usage())
    body = draw(
        st.sampled_from(
            [
                {"object": "chat.completion", "choices": [{"message": {"content": 'say "usage": {"prompt_tokens": 7}'}}], "error": None},
                {"object": "list", "data": [{"object": "embedding", "embedding": [0.25] * 30}]},
                {"object": "response", "error": None, "output": [], "status": "completed"},
            ]
        )
    )
    return Answer("openai", "application/json", (dump({**body, "model": "gpt-5", "usage": usage}),), tokens, model="gpt-5")


@st.composite
def openai_events(draw: st.DrawFn) -> Answer:
    end = draw(ends)
    included = draw(st.booleans())
    usage, tokens = draw(openai_usage())
    chunk: dict[str, Any] = {"object": "chat.completion.chunk", "model": "gpt-5"} | ({"usage": None} if included else {})
    pieces = [
        event({**chunk, "choices": [{"delta": {"content": text}}]}, end=end) for text in draw(st.lists(texts, min_size=1, max_size=5))
    ]
    seen: list[Tokens | None] = [None] * (len(pieces) + 1)
    if included:
        pieces.append(event({**chunk, "choices": [], "usage": usage}, end=end))
        seen.append(tokens)
    pieces.append(event(b"[DONE]", end=end))
    seen.append(seen[-1])
    return Answer("openai", SSE, tuple(pieces), tokens if included else Tokens(), "hub" if included else "none", "gpt-5", seen=tuple(seen))


@st.composite
def openai_response_events(draw: st.DrawFn) -> Answer:
    end = draw(ends)
    usage, tokens = draw(openai_usage())
    pieces = [event({"type": "response.created", "response": {"model": "gpt-5", "usage": None, "error": None}}, "response.created", end)]
    pieces += [event({"type": "d", "delta": text}, "response.output_text.delta", end) for text in draw(st.lists(texts, max_size=5))]
    pieces.append(event({"type": "c", "response": {"model": "gpt-5", "error": None, "usage": usage}}, "response.completed", end))
    return Answer("openai", SSE, tuple(pieces), tokens, model="gpt-5", seen=(*[None] * len(pieces), tokens))


@st.composite
def openai_speech_events(draw: st.DrawFn) -> Answer:
    end = draw(ends)
    read, written = draw(counts), draw(counts)
    sound = draw(st.sampled_from(["UklGRg==", "A" * 200_000]))
    pieces = [event({"type": "speech.audio.delta", "audio": sound}, end=end) for _ in range(draw(st.integers(1, 3)))]
    usage = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
    tokens = Tokens(read, written)
    done = event({"type": "speech.audio.done", "usage": usage}, end=end)
    return Answer("openai", SSE, (*pieces, done), tokens, seen=(*[None] * (len(pieces) + 1), tokens))


@st.composite
def openai_image_events(draw: st.DrawFn) -> Answer:
    usage, tokens = draw(openai_usage())
    picture = draw(st.sampled_from(["aaaa", "b" * 200_000]))
    pieces = (
        event({"type": "image_generation.partial_image", "b64_json": picture, "partial_image_index": 0}, "image_generation.partial_image"),
        event({"type": "image_generation.completed", "b64_json": picture, "usage": usage}, "image_generation.completed"),
    )
    whole = Tokens(tokens.input, tokens.output, tokens.cached_input, 0, 0.0, 1)
    return Answer("openai-images", SSE, pieces, whole, seen=(None, None, whole))


@st.composite
def anthropic_events(draw: st.DrawFn) -> Answer:
    end = draw(ends)
    read, written, cached, created = draw(counts), draw(counts), draw(counts), draw(counts)
    begun = {"input_tokens": read, "cache_read_input_tokens": cached, "cache_creation_input_tokens": created, "output_tokens": 1}
    pieces = [event({"type": "message_start", "message": {"model": "claude", "usage": begun}}, "message_start", end)]
    pieces += [
        event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}}, "content_block_delta", end)
        for text in draw(st.lists(texts, max_size=5))
    ]
    first, last = Tokens(read, 1, cached, created), Tokens(read, written, cached, created)
    seen = [None, *[first] * len(pieces), last, last]
    pieces.append(
        event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": written}}, "message_delta", end)
    )
    pieces.append(event({"type": "message_stop"}, "message_stop", end))
    return Answer("anthropic", SSE, tuple(pieces), last, model="claude", seen=tuple(seen))


@st.composite
def anthropic_json(draw: st.DrawFn) -> Answer:
    read, written, cached = draw(counts), draw(counts), draw(counts)
    usage = {"input_tokens": read, "output_tokens": written, "cache_read_input_tokens": cached, "cache_creation_input_tokens": None}
    return Answer(
        "anthropic", JSON, (dump({"type": "message", "model": "claude", "usage": usage}),), Tokens(read, written, cached), model="claude"
    )


@st.composite
def ollama_lines(draw: st.DrawFn) -> Answer:
    read, written = draw(counts), draw(counts)
    lines = [
        dump({"model": "llama", "message": {"role": "assistant", "content": text}, "done": False}) + b"\n" for text in draw(st.lists(texts))
    ]
    lines.append(dump({"model": "llama", "response": "", "done": True, "prompt_eval_count": read, "eval_count": written}) + b"\n")
    tokens = Tokens(read, written)
    return Answer("ollama", "application/x-ndjson", tuple(lines), tokens, model="llama", seen=(*[None] * len(lines), tokens))


@st.composite
def hidden_failures(draw: st.DrawFn) -> Answer:
    end = draw(ends)
    refused = {"error": "User not authenticated"}
    slow = {"error": {"message": "429 slow down"}}
    return draw(
        st.sampled_from(
            [
                Answer("aigne-chat", SSE, (event({"message": "x"}, "error", end),), Tokens(), "none", error="error_event"),
                Answer("aigne-completions", SSE, (event(slow, end=end),), Tokens(), "none", error="error_in_answer"),
                Answer("aigne-completions", SSE, (event(refused, end=end),), Tokens(), "none", error="hub_rejected_credential"),
                Answer("aigne-completions", JSON, (b"",), Tokens(), "none", error="empty_answer"),
                Answer("aigne-completions", "", (b"",), Tokens(), "none", error="empty_answer"),
                Answer("aigne-completions", "", (b"Hello ", b"there\nERROR: 429 slow down"), Tokens(), "none", error="error_text"),
                Answer("aigne-completions", "", (b"Hello ERROR: was\nin the middle",), Tokens(), "none"),
                Answer("openai", SSE, (b"",), Tokens(), "none", error="empty_answer"),
                Answer("openai", JSON, (dump(slow),), Tokens(), "none", error="error_in_answer"),
                Answer("ollama", "application/x-ndjson", (dump({"error": "gone"}) + b"\n",), Tokens(), "none", error="error_in_answer"),
                Answer(
                    "anthropic",
                    SSE,
                    (event({"type": "error", "error": {"type": "x"}}, "error", end),),
                    Tokens(),
                    "none",
                    error="error_event",
                ),
            ]
        )
    )


answers = st.one_of(
    aigne_chat_json(),
    aigne_chat_events(),
    aigne_completions_events(),
    aigne_completions_json(),
    aigne_images(),
    aigne_others(),
    openai_json(),
    openai_events(),
    openai_response_events(),
    openai_speech_events(),
    openai_image_events(),
    anthropic_events(),
    anthropic_json(),
    ollama_lines(),
    hidden_failures(),
)
streams = st.one_of(
    aigne_chat_events(),
    aigne_completions_events(),
    openai_events(),
    openai_response_events(),
    openai_speech_events(),
    openai_image_events(),
    anthropic_events(),
    ollama_lines(),
)
