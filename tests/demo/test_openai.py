"""The OpenAI face of the demo hub, through the official client and through the usage readers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import openai
import pytest

from sidecar.demo.provider import plan
from sidecar.hubs.usage import open_reader
from tests.support.hub import ACCESS_KEY, DemoHub, Options, running_hub

KEY = {"Authorization": f"Bearer {ACCESS_KEY}"}
MESSAGES = [{"role": "user", "content": "one two three"}]
WORDS = plan("m", MESSAGES).output_tokens


@pytest.fixture
async def hub() -> AsyncIterator[DemoHub]:
    async with running_hub(Options(protocol="openai")) as hub:
        yield hub


async def test_the_official_client_is_content(hub):
    async with openai.AsyncOpenAI(api_key=ACCESS_KEY, base_url=f"{hub.url}v1", max_retries=0) as client:
        answer = await client.chat.completions.create(model="m", messages=MESSAGES)
        assert answer.choices[0].message.content.startswith('You said "one two three".')
        assert answer.usage.prompt_tokens == 3
        stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]
        assert chunks[-1].usage.completion_tokens == WORDS
        response = await client.responses.create(model="m", input="one two")
        assert response.output_text.startswith('You said "one two".')
        assert len((await client.embeddings.create(model="m", input=["a", "b"])).data) == 2
        assert (await client.images.generate(model="m", prompt="a")).data[0].b64_json
        assert [model.id async for model in client.models.list()]
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(model="demo/error", messages=MESSAGES)
    async with openai.AsyncOpenAI(api_key="wrong", base_url=f"{hub.url}v1", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()


@pytest.mark.parametrize(
    ("path", "body", "dialect", "read", "written"),
    [
        ("v1/chat/completions", {"messages": MESSAGES}, "openai", 3, WORDS),
        ("chat/completions", {"messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}}, "openai", 3, WORDS),
        ("v1/responses", {"input": "one two three", "stream": True}, "openai", 3, WORDS),
        ("v1/embeddings", {"input": "one two"}, "openai", 2, 0),
        ("v1/images/generations", {"prompt": "one two"}, "openai-images", 2, 1056),
        ("v1/messages", {"messages": MESSAGES}, "anthropic", 3, WORDS),
        ("v1/messages", {"messages": MESSAGES, "stream": True}, "anthropic", 3, WORDS),
        ("api/chat", {"messages": MESSAGES}, "ollama", 3, WORDS),
        ("api/chat", {"messages": MESSAGES, "stream": False}, "ollama", 3, WORDS),
        ("api/generate", {"prompt": "one two three"}, "ollama", 3, WORDS),
    ],
)
async def test_usage_is_read(hub, path, body, dialect, read, written):
    async with aiohttp.ClientSession(hub.url) as client, client.post(path, json={"model": "m", **body}, headers=KEY) as answer:
        assert answer.status == 200
        reader = open_reader(dialect, answer.headers["Content-Type"], "")
        async for chunk in answer.content.iter_any():
            reader.feed(chunk)
    usage = reader.finish(True)
    assert (usage.tokens.input, usage.tokens.output, usage.source) == (read, written, "hub")
    assert usage.model == ("" if dialect == "openai-images" else "m")
