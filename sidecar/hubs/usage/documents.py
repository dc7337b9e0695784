"""The members of hubs' answers that are read, as msgspec decodes them; all others are skipped undecoded.

Apart from the code that reads them, which may be compiled: a class that msgspec knows must be a plain one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import inspect

from sidecar.events.record import Tokens, UsageSource

Failure = Literal["", "empty_answer", "error_in_answer", "error_event", "error_text", "hub_rejected_credential"]
"""How a failure was hidden in a 200; a label of metrics, so a small fixed set."""


class Usage(msgspec.Struct, frozen=True):
    """What one answer used, in the hub's own words.

    `tokens.input` is what the hub calls its input: OpenAI counts cached tokens in it, Anthropic beside it.
    `source` is `partial` when the answer broke off after figures were seen, `none` when it had none.
    """

    tokens: Tokens
    model: str
    source: UsageSource
    error: str
    """A failure hidden in a 200, as a short label; empty when there was none."""


class Counts(msgspec.Struct):
    """A usage object, in every spelling that hubs use; `Tally.merge` takes them in this order.

    Values are judged one by one, so one that is garbage spoils no other.
    """

    inputTokens: Any = None  # noqa: N815
    outputTokens: Any = None  # noqa: N815
    cacheReadInputTokens: Any = None  # noqa: N815
    cacheCreationInputTokens: Any = None  # noqa: N815
    aigneHubCredits: Any = None  # noqa: N815
    promptTokens: Any = None  # noqa: N815
    completionTokens: Any = None  # noqa: N815
    input_tokens: Any = None
    output_tokens: Any = None
    prompt_tokens: Any = None
    completion_tokens: Any = None
    total_tokens: Any = None
    cache_read_input_tokens: Any = None
    cache_creation_input_tokens: Any = None
    prompt_tokens_details: Any = None
    input_tokens_details: Any = None


class Document(msgspec.Struct):
    """A whole answer, or one event of a stream. What its kinds declare is what `WANTED` keeps of a large one."""


class AigneJson(msgspec.Struct):
    """What an AIGNE hub nests into its events."""

    usage: Counts | None = None
    model: Any = None
    modelWithProvider: Any = None  # noqa: N815


class AigneDelta(msgspec.Struct):
    """The change that an AIGNE hub's event tells."""

    json: AigneJson | None = None


class Aigne(Document):
    """An answer, or one event, of an AIGNE hub."""

    usage: Counts | None = None
    model: Any = None
    modelWithProvider: Any = None  # noqa: N815
    delta: AigneDelta | None = None
    error: Any = None


class AigneImages(Document):
    """Pictures of an AIGNE hub."""

    usage: Counts | None = None
    model: Any = None
    modelWithProvider: Any = None  # noqa: N815
    images: list[msgspec.Raw] | None = None
    data: list[msgspec.Raw] | None = None
    error: Any = None


class Nested(msgspec.Struct):
    """An object in which figures may stand one level down."""

    usage: Counts | None = None
    model: Any = None
    error: Any = None


class OpenAi(Document):
    """An answer, or one event, in OpenAI's words."""

    usage: Counts | None = None
    model: Any = None
    response: Nested | None = None
    error: Any = None


class OpenAiImages(Document):
    """Pictures in OpenAI's words."""

    usage: Counts | None = None
    model: Any = None
    data: list[msgspec.Raw] | None = None
    type: Any = None
    error: Any = None


class Anthropic(Document):
    """An answer, or one event, in Anthropic's words."""

    usage: Counts | None = None
    model: Any = None
    message: Nested | None = None
    error: Any = None


class Ollama(Document):
    """An answer, or one line, in Ollama's words."""

    model: Any = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    error: Any = None


Tree: TypeAlias = dict[str, "Tree | Literal['keep', 'object', 'count']"]


def _members(kinds: Sequence[type[msgspec.Struct]]) -> Tree:
    """What these declare: lists are counted, objects of ours gone into, usage kept where it is an object, all else kept whole."""
    found: Tree = {}
    for kind in inspect.multi_type_info(kinds):
        assert isinstance(kind, inspect.StructType)
        for member in kind.fields:
            types = member.type.types if isinstance(member.type, inspect.UnionType) else (member.type,)
            inner = next((each.cls for each in types if isinstance(each, inspect.StructType)), None)
            if inner is Counts:
                found[member.encode_name] = "object"
            elif inner is not None:
                known = found.setdefault(member.encode_name, {})
                assert isinstance(known, dict)
                known |= _members([inner])
            else:
                found[member.encode_name] = "count" if any(isinstance(each, inspect.ListType) for each in types) else "keep"
    return found


WANTED: Final = _members(Document.__subclasses__())
"""Every member that some dialect reads."""
FIGURES: Final[Tree] = dict.fromkeys(Counts.__struct_fields__, "keep")
"""What of a usage object is read."""
