"""What agents and clients publish over each codec: valid samples."""

import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from ably_ai_transport_haip import HaipEventType, HaipMessage
from ably_ai_transport_haip.codec import HaipCodec, HaipEntry, HaipText
from ably_ai_transport_openai import ResponsesCodec, user_message
from ably_ai_transport_vercel import UIMessageCodec, text_message

from ably_ai_transport import AITransportError
from ably_ai_transport.codec import Codec, EncoderOptions, WriteOptions
from ably_ai_transport.wire import InboundMessage, MessageAction, names
from tests.codec.fake_channel import FakeChannel
from tests.fuzz.samples import recorded_messages
from tests.fuzz.values import Json

AnyCodec = Codec[Any, Any, Any, Any]

SHARED: Final = Path(os.environ.get("AIT_SHARED") or Path(__file__).parents[3] / "shared")
_UUID: Final = "0b4ef5a5-3cc0-4b38-8b5c-0b8f3a5d2c11"
RUN: Final = {"run-id": "r", "run-client-id": "me", "invocation-id": "i"}
_ACTIONS: Final = tuple(action.value for action in MessageAction)

CODECS: Final[Mapping[str, AnyCodec]] = {
    "vercel": UIMessageCodec(),
    "openai": ResponsesCodec(),
    "haip": HaipCodec(),
}

_CALL: Final[Json] = {"toolCallId": "t", "toolName": "weather"}
_ITEM: Final[Json] = {"type": "message", "id": "m", "role": "assistant", "content": []}
_FUNCTION: Final[Json] = {
    "type": "function_call",
    "id": "f",
    "call_id": "c",
    "name": "weather",
    "arguments": "",
}

OUTPUTS: Final[Mapping[str, tuple[Any, ...]]] = {
    "vercel": (
        {"type": "start", "messageId": "m", "messageMetadata": {"a": 1}},
        {"type": "start-step"},
        {"type": "text-start", "id": "x", "providerMetadata": {"p": {"a": 1}}},
        {"type": "text-delta", "id": "x", "delta": "Hello"},
        {"type": "text-end", "id": "x"},
        {"type": "reasoning-start", "id": "y"},
        {"type": "reasoning-delta", "id": "y", "delta": "hm"},
        {"type": "reasoning-end", "id": "y"},
        {"type": "tool-input-start", **_CALL, "dynamic": True},
        {"type": "tool-input-delta", **_CALL, "inputTextDelta": '{"city":'},
        {"type": "tool-input-available", **_CALL, "input": {"city": "Lisbon"}},
        {"type": "tool-input-error", **_CALL, "input": 1, "errorText": "bad"},
        {"type": "tool-approval-request", **_CALL, "approvalId": "a"},
        {"type": "tool-output-available", **_CALL, "output": {"a": [1]}},
        {"type": "tool-output-error", **_CALL, "errorText": "bad"},
        {"type": "tool-output-denied", **_CALL},
        {"type": "source-url", "sourceId": "s", "url": "u", "title": "t"},
        {"type": "source-document", "sourceId": "s", "mediaType": "a/b", "title": "t"},
        {"type": "file", "url": "data:a/b;base64,AA==", "mediaType": "a/b"},
        {"type": "data-x", "id": "d", "data": {"a": 1}, "transient": True},
        {"type": "message-metadata", "messageMetadata": {"b": 2}},
        {"type": "error", "errorText": "bad"},
        {"type": "abort"},
        {"type": "finish-step"},
        {"type": "finish", "finishReason": "stop"},
    ),
    "openai": (
        {"type": "response.created", "response": {"id": "resp", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": _ITEM},
        {
            "type": "response.content_part.added",
            "item_id": "m",
            "output_index": 0,
            "content_index": 0,
            "part": {"type": "output_text", "text": "", "annotations": []},
        },
        {
            "type": "response.output_text.delta",
            "item_id": "m",
            "output_index": 0,
            "content_index": 0,
            "delta": "Hello",
        },
        {
            "type": "response.output_text.done",
            "item_id": "m",
            "output_index": 0,
            "content_index": 0,
            "text": "Hello",
        },
        {
            "type": "response.output_text.annotation.added",
            "item_id": "m",
            "output_index": 0,
            "content_index": 0,
            "annotation_index": 0,
            "annotation": {"type": "url_citation", "url": "u"},
        },
        {
            "type": "response.refusal.delta",
            "item_id": "m",
            "output_index": 0,
            "content_index": 0,
            "delta": "no",
        },
        {"type": "response.output_item.done", "output_index": 0, "item": _ITEM},
        {"type": "response.output_item.added", "output_index": 1, "item": _FUNCTION},
        {
            "type": "response.function_call_arguments.delta",
            "item_id": "f",
            "output_index": 1,
            "delta": '{"city":',
        },
        {
            "type": "response.function_call_arguments.done",
            "item_id": "f",
            "output_index": 1,
            "arguments": "{}",
        },
        {"type": "response.output_item.done", "output_index": 1, "item": {**_FUNCTION, "arguments": "{}"}},
        {
            "type": "response.reasoning_summary_text.delta",
            "item_id": "q",
            "output_index": 2,
            "summary_index": 0,
            "delta": "hm",
        },
        {"type": "function_call_output", "call_id": "c", "output": "sunny"},
        {"type": "tool-approval-request", "call_id": "c"},
        {
            "type": "response.completed",
            "response": {"id": "resp", "output": [_ITEM], "usage": {"total_tokens": 1}},
        },
        {"type": "response.failed", "response": {"id": "resp", "error": {"code": "x", "message": "bad"}}},
        {"type": "error", "code": "x", "message": "bad"},
    ),
    "haip": (
        {"type": "MESSAGE_START", "payload": {"message_id": _UUID, "author": "a", "text": "Hello"}},
        {"type": "MESSAGE_PART", "payload": {"message_id": _UUID, "text": "more"}},
        {"type": "MESSAGE_END", "payload": {"message_id": _UUID, "tokens": "3"}},
        {
            "type": "AUDIO_CHUNK",
            "payload": {"message_id": _UUID, "mime": "a/b", "data": "AA==", "duration_ms": "5"},
        },
        {"type": "TOOL_CALL", "payload": {"call_id": _UUID, "tool": "weather", "params": {"city": "Lisbon"}}},
        {
            "type": "TOOL_UPDATE",
            "payload": {"call_id": _UUID, "status": "RUNNING", "progress": 50, "partial": {}},
        },
        {"type": "TOOL_DONE", "payload": {"call_id": _UUID, "status": "OK", "result": {"a": 1}}},
        {"type": "TOOL_LIST", "payload": {"tools": [{"name": "weather"}]}},
        {"type": "ERROR", "payload": {"code": "X", "message": "bad"}},
    ),
}
"""Outputs of agents, by codec."""

INPUTS: Final[Mapping[str, tuple[tuple[str, tuple[Any, ...]], ...]]] = {
    "vercel": (
        (
            "user_message",
            (
                text_message("hi"),
                {
                    "id": "m",
                    "role": "user",
                    "parts": [{"type": "text", "text": "hi"}, {"type": "data-x", "data": 1}],
                },
                {
                    "id": "m",
                    "role": "user",
                    "parts": [{"type": "file", "mediaType": "a/b", "url": "data:,x"}],
                },
            ),
        ),
        ("tool_result", ({"toolCallId": "t", "output": {"a": 1}},)),
        ("tool_result_error", ({"toolCallId": "t", "message": "bad"},)),
        ("tool_approval_response", ({"toolCallId": "t", "approved": True, "reason": "why"},)),
    ),
    "openai": (
        ("user_message", (user_message("hi"),)),
        (
            "tool_result",
            ({"call_id": "c", "output": "x"}, {"call_id": "c", "output": [{"type": "input_text"}]}),
        ),
        ("tool_result_error", ({"call_id": "c", "message": "bad"},)),
        ("tool_approval_response", ({"call_id": "c", "approved": False, "reason": "why"},)),
    ),
    "haip": (
        ("user_message", ({"role": "user", "texts": [{"message_id": _UUID, "text": "hi", "author": "a"}]},)),
        ("tool_result", ({"call_id": _UUID, "result": {"a": 1}},)),
        ("tool_result_error", ({"call_id": _UUID, "message": "bad"},)),
    ),
}
"""What applications build inputs from, by codec and kind."""


def _lifecycle(name: str, headers: Mapping[str, str], number: int) -> Json:
    return _message(name, number, transport={**RUN, **headers})


def _message(name: str, number: int, *, transport: object, codec: object = None, data: object = None) -> Json:
    serial = f"{number:014d}-000@series:000"
    return {
        "action": "message.create",
        "name": name,
        "data": data,
        "serial": serial,
        "version": serial,
        "timestamp": number,
        "client_id": "me",
        "connection_id": "connection",
        "id": f"connection:{number}:0",
        "extras": {"ai": {"transport": transport, "codec": codec or {}}},
    }


@cache
def conversation(codec: str) -> tuple[Json, ...]:
    """Return the messages of a conversation over a codec, with all that agents and clients publish."""
    import asyncio

    published = asyncio.run(_published(codec))
    step = {"step-id": "s", "step-client-id": "me", "input-client-id": "me"}
    events = [
        _lifecycle(
            names.RUN_START, {"parent": "u", "input-codec-message-id": "u", "agent-announced": "true"}, 1
        ),
        _lifecycle(names.STEP_START, step, 2),
        *(_as_json(message) for message in published),
        _lifecycle(
            names.STEP_END, {**step, "step-start-serial": f"{2:014d}-000@series:000", "step-reason": "x"}, 90
        ),
        _lifecycle(names.RUN_SUSPEND, {}, 91),
        _lifecycle(names.RUN_RESUME, {"input-codec-message-id": "u"}, 92),
        _lifecycle(
            names.RUN_END, {"run-reason": "error", "error-code": "104008", "error-message": "bad"}, 93
        ),
        _message(names.CANCEL, 94, transport={"event-id": "e", "run-id": "r"}),
        _message(
            names.AI_INPUT,
            95,
            transport={"role": "user", "codec-message-id": "u2", "fork-of": "u", "run-id": "r"},
        ),
        _message(
            names.AI_OUTPUT,
            96,
            transport={"steer-codec-message-ids": '["u2"]', **RUN, names.DISCRETE: "true"},
        ),
        _message("application", 97, transport=None),
    ]
    recorded = [_as_json(one) for messages in recorded_messages(_TAGS[codec])[:3] for one in messages[:40]]
    return (*events, *recorded)


_TAGS: Final = {"vercel": "vercel-ai-sdk-ui-message", "openai": "openai-responses", "haip": "haip"}


async def _published(name: str) -> list[InboundMessage]:
    codec, channel = CODECS[name], FakeChannel()
    headers = {**RUN, "role": "assistant", "codec-message-id": "a", "step-id": "s"}
    encoder = codec.create_encoder(channel, EncoderOptions(headers=headers))
    of_user = WriteOptions(headers={"role": "user", "parent": "", "event-id": "e"}, message_id="u")
    for kind, samples in INPUTS[name]:
        for sample in samples:
            await encoder.publish_input(input_of(codec, kind, sample), of_user)
    for output in OUTPUTS[name]:
        try:
            await encoder.publish_output(output_of(name, output))
        except AITransportError:
            continue
    await encoder.close()
    return [*(frame.change for frame in channel.frames), *(frame.whole for frame in channel.frames)]


def input_of(codec: AnyCodec, kind: str, sample: Any) -> Any:  # noqa: ANN401 - any codec's
    create = cast("Callable[..., Any]", getattr(codec, f"create_{kind}"))
    match sample:
        case {"role": role, "texts": texts} if codec is CODECS["haip"]:
            listed = cast("list[object]", texts if isinstance(texts, list) else [texts])
            sample = HaipEntry(role, tuple(map(_haip_text, listed)))
        case _:
            pass
    return create(sample) if kind == "user_message" else create("a", sample)


def _haip_text(value: Any) -> Any:  # noqa: ANN401 - what an application takes for a text
    match value:
        case {"message_id": message_id, "text": text, "author": author}:
            return HaipText(cast("str", message_id), cast("str", text), cast("str", author))
        case _:
            return value


_HAIP_TYPES: Final = [event.value for event in HaipEventType]


def output_of(codec: str, output: Any) -> Any:  # noqa: ANN401 - any codec's
    match output:
        case {"type": kind, "payload": payload} if codec == "haip" and kind in _HAIP_TYPES:
            return HaipMessage(HaipEventType(kind), payload)
        case _:
            return cast("object", output)


def _as_json(message: InboundMessage) -> Json:
    kept = (
        "action",
        "name",
        "data",
        "serial",
        "version",
        "timestamp",
        "client_id",
        "connection_id",
        "id",
        "extras",
    )
    return {name: getattr(message, name) for name in kept} | {"action": message.action.value}


def inbound_of(fields: Any) -> InboundMessage | None:  # noqa: ANN401 - any sample
    """Build what a channel can deliver: any data and extras, and the other fields of their types."""
    if not isinstance(fields, dict):
        return None
    said = cast("Json", fields)

    def text(name: str) -> str | None:
        value = said.get(name)
        return value if isinstance(value, str) else None

    action, timestamp = said.get("action"), said.get("timestamp")
    return InboundMessage(
        MessageAction(action) if isinstance(action, str) and action in _ACTIONS else MessageAction.CREATE,
        name=text("name"),
        data=said.get("data"),
        serial=text("serial"),
        version=text("version"),
        timestamp=timestamp if type(timestamp) is int else None,
        client_id=text("client_id"),
        connection_id=text("connection_id"),
        id=text("id"),
        extras=said.get("extras"),
    )
