"""One small reader for each way in which hubs word their answers: a JSON document in, figures into a Tally.

A document is a whole JSON answer, the data of one server-sent event, or one line of JSON lines.
Members that are not named here are skipped undecoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from sidecar.hubs.usage.documents import Aigne, AigneImages, Anthropic, Ollama, OpenAi, OpenAiImages
from sidecar.hubs.usage.tally import Tally, count

Read = Callable[[bytes, Tally], None]
"""Reads one document; raises msgspec.MsgspecError, UnicodeDecodeError or RecursionError when it is none."""

NOT_AUTHENTICATED = "User not authenticated"
"""How an AIGNE hub says in a 200 stream that it refuses the sidecar's own access key."""
_REJECTION = re.compile(rb'data:\s*\{\s*"error"\s*:\s*"%b"\s*\}' % NOT_AUTHENTICATED.encode())


@dataclass(frozen=True, slots=True)
class Dialect:
    """How to read a family of answers."""

    read: Read
    markers: tuple[bytes, ...]
    """An event or line without any of these has nothing to read; looked for before anything is decoded."""
    text: bool = False
    """Anything that is neither events nor JSON is bare text, which ends in an error message when the call failed."""


def _decoder(type_: Any) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(type_).decode


_decode_aigne = _decoder(Aigne)
_decode_aigne_images = _decoder(AigneImages)
_decode_openai = _decoder(OpenAi)
_decode_openai_images = _decoder(OpenAiImages)
_decode_anthropic = _decoder(Anthropic)
_decode_ollama = _decoder(Ollama)


def _aigne(document: bytes, tally: Tally) -> None:
    answer = _decode_aigne(document)
    if answer.error:
        _fail(answer.error, tally)
    said = answer if answer.delta is None else answer.delta.json
    if said is None:
        return
    if said.usage is not None:
        tally.replace(said.usage)
    tally.name_model(said.modelWithProvider, said.model)


def _aigne_images(document: bytes, tally: Tally) -> None:
    answer = _decode_aigne_images(document)
    if answer.error:
        _fail(answer.error, tally)
    if answer.usage is not None:
        tally.replace(answer.usage)
    # `data` repeats `images` in another shape.
    pictures = answer.data if answer.images is None else answer.images
    if pictures is not None:
        tally.images = len(pictures)
    tally.name_model(answer.modelWithProvider, answer.model)


def _openai(document: bytes, tally: Tally) -> None:
    answer = _decode_openai(document)
    error, usage, model = answer.error, answer.usage, answer.model
    if answer.response is not None:
        error, usage, model = error or answer.response.error, usage or answer.response.usage, model or answer.response.model
    if error:
        _fail(error, tally)
    if usage is not None:
        tally.replace(usage)
    if model is not None:
        tally.name_model(model)


def _openai_images(document: bytes, tally: Tally) -> None:
    answer = _decode_openai_images(document)
    if answer.error:
        _fail(answer.error, tally)
    if answer.usage is not None:
        tally.replace(answer.usage)
    if answer.data is not None:
        tally.images = len(answer.data)
    elif isinstance(answer.type, str) and answer.type.endswith(".completed"):
        # A stream sends each finished picture in an event of its own; only whole ones count, not partial_image.
        tally.images = (tally.images or 0) + 1
    if answer.model is not None:
        tally.name_model(answer.model)


def _anthropic(document: bytes, tally: Tally) -> None:
    answer = _decode_anthropic(document)
    if answer.error:
        _fail(answer.error, tally)
    message = answer.message
    if message is not None:
        tally.name_model(message.model)
        if message.usage is not None:
            tally.merge(message.usage)
    # The beginning of a stream tells the input, its end the output: later figures are added to earlier ones by name.
    if answer.usage is not None:
        tally.merge(answer.usage)
    if answer.model is not None:
        tally.name_model(answer.model)


def _ollama(document: bytes, tally: Tally) -> None:
    answer = _decode_ollama(document)
    if answer.error:
        _fail(answer.error, tally)
    read, written = count(answer.prompt_eval_count), count(answer.eval_count)
    if read is not None:
        tally.input = read
    if written is not None:
        tally.output = written
    if answer.model is not None:
        tally.name_model(answer.model)


def rejects_credential(events: bytes) -> bool:
    """Whether a stream begins with an AIGNE Hub's word that it does not know who asks: the same as its 401."""
    return _REJECTION.match(events) is not None


def _fail(error: Any, tally: Tally) -> None:
    tally.error = "hub_rejected_credential" if error == NOT_AUTHENTICATED else "error_in_answer"


_USUAL = (b'"usage"', b'"error"')

UsageDialect = Literal[
    "none",
    "aigne-chat",
    "aigne-completions",
    "aigne-image",
    "aigne-video",
    "aigne-embeddings",
    "openai",
    "openai-images",
    "anthropic",
    "ollama",
]
"""What a route of a profile may name as its `usage`."""

DIALECTS = {
    "aigne-chat": Dialect(_aigne, _USUAL),
    "aigne-completions": Dialect(_aigne, _USUAL, text=True),
    "aigne-image": Dialect(_aigne_images, _USUAL),
    "aigne-video": Dialect(_aigne, _USUAL),
    "aigne-embeddings": Dialect(_aigne, _USUAL),
    "openai": Dialect(_openai, _USUAL),
    "openai-images": Dialect(_openai_images, (*_USUAL, b".completed")),
    "anthropic": Dialect(_anthropic, _USUAL),
    "ollama": Dialect(_ollama, (b"_eval_count", b'"eval_count"', b'"error"')),
}
"""The reader of each; `none` has none."""
