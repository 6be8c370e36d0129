"""The chunks of a reply on the wire."""

import logging
from collections.abc import Iterable, Mapping
from typing import cast

from ably_ai_transport.codec import (
    WHOLE_PAYLOAD,
    Data,
    EncodeContext,
    EventRow,
    Field,
    LeadIn,
    LifecyclePhase,
    OutputRow,
    Payload,
    Rebuilt,
    StreamRow,
    StreamState,
    StrField,
    Values,
    as_mapping,
    as_text,
    dump_json,
    parse_json,
    pick,
    read_fields,
    text_at,
)
from ably_ai_transport.wire import Headers, InvalidArgumentError
from ably_ai_transport_vercel.events import MadeUpChunk, UIMessageChunk
from ably_ai_transport_vercel.fields import (
    APPROVAL_ID,
    DYNAMIC,
    FILENAME,
    FINISH_REASON,
    ID,
    MEDIA_TYPE,
    MESSAGE_ID,
    MESSAGE_METADATA,
    META,
    PRELIMINARY,
    PROVIDER_EXECUTED,
    SOURCE_ID,
    TITLE,
    TOOL_CALL_ID,
    TOOL_NAME,
    TRANSIENT,
)

logger = logging.getLogger("ably_ai_transport.codec")

_TOOL: tuple[Field, ...] = (TOOL_CALL_ID, TOOL_NAME, DYNAMIC, TITLE, PROVIDER_EXECUTED, META)


async def _publish_start(chunk: Values, context: EncodeContext) -> None:
    message_id = chunk.get("messageId")
    if message_id is None:
        message_id = context.message_id
    headers = context.headers({**chunk, "messageId": message_id})
    payload = Payload(context.name, "", headers)
    await context.core.publish_discrete(payload, context.options)


async def _end_tool_input(chunk: Values, context: EncodeContext) -> None:
    call_id = as_text(chunk.get("toolCallId"))
    has_text = context.core.has_text(call_id)
    if has_text is None:
        if context.core.has_ended(call_id):
            logger.warning("a second input of tool call %r is left out; its first input stays", call_id)
            return
        # No stream is open: the input came in one piece.
        payload = Payload(context.name, chunk.get("input"), context.headers(chunk), storable=(WHOLE_PAYLOAD,))
        await context.core.publish_discrete(payload)
        return
    # Followers read a streamed input from the text alone. Without deltas, the closing append brings it.
    text = _json_text(chunk["input"]) if not has_text and "input" in chunk else ""
    headers = context.headers(chunk, ("toolCallId", "toolName", "providerMetadata"))
    await context.core.close_stream(call_id, Payload(context.name, text, headers))


def _json_text(value: object) -> str:
    try:
        return dump_json(value)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(
            "unable to publish 'tool-input-available'; its input has no JSON form", cause=error
        ) from error


def _whole_tool_input(payload: Payload) -> Iterable[Rebuilt]:
    headers = payload.codec_headers
    ends = read_fields((TOOL_CALL_ID, TOOL_NAME, META), headers)
    ends["input"] = payload.data
    return (("tool-input-start", read_fields(_TOOL, headers)), ("tool-input-available", ends))


def _streamed_tool_input(stream: StreamState, closing: Headers) -> Iterable[Rebuilt]:
    values = read_fields((META,), closing)
    values["toolCallId"] = stream.stream_id
    values["toolName"] = TOOL_NAME.read(closing) or TOOL_NAME.read(stream.codec_headers)
    text = stream.text
    if text:
        try:
            values["input"] = parse_json(text)
        except ValueError:
            values["input"] = text
    return (("tool-input-available", values),)


def _read_input_error(data: object) -> Values:
    text = text_at(data, "errorText")
    if text is None:
        return {"errorText": ""}
    return {"errorText": text, **pick(as_mapping(data), "input")}


def _key(key: str, storable: tuple[str, ...] = ()) -> Data:
    """Return the conversion of a payload that is one text of the chunk."""
    return Data(lambda chunk: chunk.get(key), lambda data: {key: as_text(data)}, storable)


OUTPUTS: tuple[OutputRow, ...] = (
    StreamRow(
        "text",
        start="text-start",
        delta="text-delta",
        end="text-end",
        text="delta",
        stream_id="id",
        fields=(ID, META),
        delta_keys=("id",),
    ),
    StreamRow(
        "reasoning",
        start="reasoning-start",
        delta="reasoning-delta",
        end="reasoning-end",
        text="delta",
        stream_id="id",
        fields=(ID, META),
        delta_keys=("id",),
    ),
    StreamRow(
        "tool-input",
        start="tool-input-start",
        delta="tool-input-delta",
        end="tool-input-available",
        text="inputTextDelta",
        stream_id="toolCallId",
        fields=_TOOL,
        delta_keys=("toolCallId",),
        encode_end=_end_tool_input,
        decode_end=_streamed_tool_input,
        decode_discrete=_whole_tool_input,
    ),
    EventRow("start", fields=(MESSAGE_ID, MESSAGE_METADATA), encode=_publish_start),
    EventRow("start-step"),
    EventRow("finish-step"),
    EventRow("finish", fields=(FINISH_REASON, MESSAGE_METADATA)),
    EventRow("message-metadata", fields=(MESSAGE_METADATA,)),
    EventRow("error", data=_key("errorText")),
    EventRow(
        "abort",
        data=Data(
            encode=lambda chunk: chunk.get("reason", ""),
            decode=lambda data: {"reason": data} if isinstance(data, str) and data else {},
        ),
    ),
    EventRow("file", fields=(MEDIA_TYPE, META), data=_key("url", (WHOLE_PAYLOAD,))),
    EventRow("source-url", fields=(SOURCE_ID, TITLE, META), data=_key("url")),
    EventRow("source-document", fields=(SOURCE_ID, MEDIA_TYPE, StrField("title", ""), FILENAME, META)),
    EventRow(
        "tool-input-error",
        fields=_TOOL,
        data=Data(
            encode=lambda chunk: pick(chunk, "errorText", "input"),
            decode=_read_input_error,
            storable=("input",),
        ),
    ),
    EventRow(
        "tool-output-available",
        fields=(TOOL_CALL_ID, DYNAMIC, PROVIDER_EXECUTED, PRELIMINARY),
        data=Data(
            encode=lambda chunk: pick(chunk, "output"),
            decode=lambda data: pick(as_mapping(data), "output"),
            storable=("output",),
        ),
    ),
    EventRow(
        "tool-output-error",
        fields=(TOOL_CALL_ID, DYNAMIC, PROVIDER_EXECUTED),
        data=Data(
            encode=lambda chunk: pick(chunk, "errorText"),
            decode=lambda data: {"errorText": text_at(data, "errorText") or ""},
            storable=("errorText",),
        ),
    ),
    EventRow("tool-approval-request", fields=(TOOL_CALL_ID, APPROVAL_ID)),
    EventRow("tool-output-denied", fields=(TOOL_CALL_ID,)),
    EventRow(
        "data-*",
        fields=(ID, TRANSIENT),
        data=Data(
            encode=lambda chunk: chunk.get("data"),
            decode=lambda data: {"data": data},
            storable=(WHOLE_PAYLOAD,),
        ),
        ephemeral=lambda chunk: chunk.get("transient") is True,
    ),
)


def _start(context: Mapping[str, str | None]) -> list[UIMessageChunk]:
    message_id = context.get("messageId")
    named = {} if message_id is None else {"messageId": message_id}
    return [cast("UIMessageChunk", MadeUpChunk(type="start", **named))]


def _start_step(_: Mapping[str, str | None]) -> list[UIMessageChunk]:
    return [cast("UIMessageChunk", MadeUpChunk(type="start-step"))]


LEAD_IN: LeadIn[UIMessageChunk] = LeadIn(
    phases=(LifecyclePhase("start", _start), LifecyclePhase("start-step", _start_step)),
    marks={"start": "start", "start-step": "start-step"},
    resets={"finish-step": "start-step"},
    clears=frozenset({"finish", "error", "abort"}),
    needed_by=frozenset({"tool-input"}),
)
