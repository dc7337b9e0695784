"""LiteLLM's proxy with a master key, the gateway that Python programmers know."""

from __future__ import annotations

import json
from typing import ClassVar

from benchmarks.load.request import OPENAI_CHAT, Request
from benchmarks.peers.peer import HUB_KEY, Peer, Site

MODEL = "openai/gpt-5-mini"


class LiteLlm(Peer):
    """One model, no database, no callbacks: the fastest that it can be."""

    name: ClassVar[str] = "litellm"
    title: ClassVar[str] = "LiteLLM proxy"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.key = f"sk-{self.key}"
        self._program = site.programs.parent.parent / "litellm" / "bin" / "litellm"

    def missing(self) -> str:
        return "" if self._program.exists() else "litellm is not installed; --with litellm installs it"

    def launch(self) -> None:
        configuration = self.directory / "config.json"
        parameters = {"model": MODEL, "api_base": f"http://{self.hub}/v1", "api_key": HUB_KEY}
        models = [{"model_name": MODEL, "litellm_params": parameters}]
        settings = {"model_list": models, "general_settings": {"master_key": self.key}, "litellm_settings": {"telemetry": False}}
        configuration.write_text(json.dumps(settings))
        command = [
            str(self._program),
            "--config",
            str(configuration),
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--num_workers",
            "1",
        ]
        self.processes.start("litellm", command, {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"})

    def probe(self) -> Request:
        return Request("POST", OPENAI_CHAT, json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}]}).encode())
