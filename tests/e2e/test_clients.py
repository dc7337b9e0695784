"""The real client libraries, unchanged, through the sidecar."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import openai
import pytest

from tests.support.hub import ACCESS_KEY, HubProcess, hub_process
from tests.support.node import HUB_CLIENT, node_with
from tests.support.sidecar import Sidecar, wait_until
from tests.support.tools import require

PROGRAM = Path(__file__).with_name("hub_client.mjs")


def test_the_documented_curl_line(hub: HubProcess, tmp_path: Path) -> None:
    curl = require("curl", install="apt-get install curl")
    with Sidecar(tmp_path, hub.url, ACCESS_KEY) as sidecar:
        _, secret = sidecar.create_key()
        command = [
            curl, "-sS", "-w", "\n%{http_code}", "-X", "POST", f"{sidecar.url}/api/v1/chat/completions",
            "-H", f"Authorization: Bearer {secret}", "-H", "Content-Type: application/json",
            "-d", '{"model": "aignehub/gpt-3.5-turbo", "messages": [{"role": "user", "content": "Hello, who are you?"}]}',
        ]  # fmt: skip
        body, _, status = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.rpartition("\n")
        assert status == "200" and json.loads(body)["content"]


def test_the_documented_node_program(hub: HubProcess, tmp_path: Path) -> None:
    node, folder = node_with(HUB_CLIENT)
    # node looks for packages beside the program, so the program goes to the packages.
    shutil.copy(PROGRAM, folder / PROGRAM.name)
    with Sidecar(tmp_path, hub.url, ACCESS_KEY) as sidecar:
        key_id, secret = sidecar.create_key()
        finished = subprocess.run([node, PROGRAM.name, sidecar.url, secret], cwd=folder, capture_output=True, text=True, timeout=120)
        assert finished.returncode == 0, finished.stderr
        told = json.loads(finished.stdout.splitlines()[-1])
        assert told["text"] and told["streamed"] == told["text"] and told["images"] == 1
        assert told["refused"] == "authentication_error"
        wait_until(lambda: sidecar.metric("sidecar_key_requests_total", key_id=key_id, outcome="ok") == 3)
        assert sidecar.metric("sidecar_key_tokens_total", key_id=key_id, token_type="output") > 0


def test_the_openai_client_through_the_openai_profile(tmp_path: Path) -> None:
    with hub_process("--protocol", "openai") as hub, Sidecar(tmp_path, hub.url, ACCESS_KEY, hub__profile="openai") as sidecar:
        key_id, secret = sidecar.create_key()
        with openai.OpenAI(base_url=f"{sidecar.url}/v1", api_key=secret) as client:
            messages = [{"role": "user", "content": "Hello"}]
            answer = client.chat.completions.create(model="gpt-5-mini", messages=messages)
            assert answer.choices[0].message.content
            stream = client.chat.completions.create(
                model="gpt-5-mini", messages=messages, stream=True, stream_options={"include_usage": True}
            )
            assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
            assert client.embeddings.create(model="text-embedding-3-small", input="hi").data[0].embedding
            assert client.models.list().data
        with (
            openai.OpenAI(base_url=f"{sidecar.url}/v1", api_key=secret + "x") as stranger,
            pytest.raises(openai.AuthenticationError) as refused,
        ):
            stranger.models.list()
        assert refused.value.code == "invalid_api_key" and refused.value.type == "authentication_error"
        wait_until(lambda: sidecar.metric("sidecar_key_requests_total", key_id=key_id, outcome="ok") == 4)
        assert sidecar.metric("sidecar_key_tokens_total", key_id=key_id, token_type="input") > 0
