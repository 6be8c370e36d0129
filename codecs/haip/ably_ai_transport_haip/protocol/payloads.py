"""Payloads: one model per event type.

Reading is lenient where peers differ: unknown fields pass, a request for tools or a schema may be empty, and
a grant may be zero. Writing is as strict as the schema.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ably_ai_transport_haip.protocol.errors import HaipErrorCode, HaipProtocolError
from ably_ai_transport_haip.protocol.names import HaipEventType

_UUID: Final = r"^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[1-5][0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}$"
_ID: Final = re.compile(_UUID.removesuffix("$") + r"\Z")
Uuid = Annotated[str, StringConstraints(pattern=_UUID)]
Number = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,20}$")]
Amount = Annotated[int, Field(ge=0, le=2**63 - 1)]
Json = dict[str, object]


class _Payload(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class Hai(_Payload):
    """Handshake: versions, event types and capabilities of one side."""

    haip_version: str
    accept_major: list[int]
    accept_events: list[str]
    capabilities: Json | None = None
    binary_frames: bool | None = None
    max_concurrent_runs: Annotated[int, Field(ge=1)] | None = None
    last_rx_seq: str | None = None


class RunStarted(_Payload):
    """Start of a run. Further fields are allowed."""

    run_id: str | None = None
    thread_id: str | None = None
    metadata: Json | None = None


class RunFinished(_Payload):
    """End of a run."""

    status: Literal["OK", "CANCELLED", "ERROR"] | None = None
    summary: str | None = None


class RunCancel(_Payload):
    """Request to cancel a run."""

    run_id: Uuid


class Error(_Payload):
    """Error of a run (``RUN_ERROR``) or of the session (``ERROR``)."""

    code: str
    message: str
    related_id: str | None = None
    detail: Json | None = None


class Ping(_Payload):
    """Heartbeat and its reply."""

    nonce: str | None = None


class ReplayRequest(_Payload):
    """Request to send messages again, both ends included."""

    from_seq: Number
    to_seq: Number | None = None


class MessageStart(_Payload):
    """Start of a text; may hold the first part or all of it."""

    message_id: Uuid
    author: str | None = None
    text: str | None = None


class MessagePart(_Payload):
    """Part of a text."""

    message_id: Uuid
    text: str


class MessageEnd(_Payload):
    """End of a text."""

    message_id: Uuid
    tokens: Number | None = None


class AudioChunk(_Payload):
    """Chunk of audio, as base64 or in a binary frame that follows."""

    message_id: Uuid
    mime: str
    data: str | None = None
    duration_ms: Number | None = None


class ToolCall(_Payload):
    """Request to call a tool."""

    call_id: Uuid
    tool: str
    params: Json | None = None


class ToolUpdate(_Payload):
    """Progress of a tool call."""

    call_id: Uuid
    status: Literal["QUEUED", "RUNNING", "CANCELLING"]
    progress: Annotated[float, Field(ge=0, le=100, strict=False)] | None = None
    partial: object = None


class ToolDone(_Payload):
    """Result of a tool call."""

    call_id: Uuid
    status: Literal["OK", "CANCELLED", "ERROR"] = "OK"
    result: object = None


class ToolCancel(_Payload):
    """Request to cancel a tool call."""

    call_id: Uuid
    reason: str | None = None


class ToolInfo(_Payload):
    """One tool of a list."""

    name: str
    description: str | None = None


class ToolList(_Payload):
    """List of tools; a request for the list if there is none."""

    tools: list[ToolInfo] | None = None


class ToolSchema(_Payload):
    """Schema of a tool; a request for the schema if there is none."""

    tool: str
    parameters: Json | None = Field(None, alias="schema")


class FlowUpdate(_Payload):
    """Grant of credits for a channel."""

    channel: str
    add_messages: Amount | None = None
    add_bytes: Amount | None = None


class ChannelControl(_Payload):
    """Pause or resumption of a channel."""

    channel: str


Payload = (
    Hai | RunStarted | RunFinished | RunCancel | Error | Ping | ReplayRequest | MessageStart | MessagePart
    | MessageEnd | AudioChunk | ToolCall | ToolUpdate | ToolDone | ToolCancel | ToolList | ToolSchema
    | FlowUpdate | ChannelControl
)  # fmt: skip

_MODELS: Final[Mapping[HaipEventType, type[Payload]]] = {
    HaipEventType.HAI: Hai,
    HaipEventType.PING: Ping,
    HaipEventType.PONG: Ping,
    HaipEventType.RUN_STARTED: RunStarted,
    HaipEventType.RUN_FINISHED: RunFinished,
    HaipEventType.RUN_CANCEL: RunCancel,
    HaipEventType.RUN_ERROR: Error,
    HaipEventType.MESSAGE_START: MessageStart,
    HaipEventType.MESSAGE_PART: MessagePart,
    HaipEventType.MESSAGE_END: MessageEnd,
    HaipEventType.AUDIO_CHUNK: AudioChunk,
    HaipEventType.TOOL_CALL: ToolCall,
    HaipEventType.TOOL_UPDATE: ToolUpdate,
    HaipEventType.TOOL_DONE: ToolDone,
    HaipEventType.TOOL_CANCEL: ToolCancel,
    HaipEventType.TOOL_LIST: ToolList,
    HaipEventType.TOOL_SCHEMA: ToolSchema,
    HaipEventType.FLOW_UPDATE: FlowUpdate,
    HaipEventType.PAUSE_CHANNEL: ChannelControl,
    HaipEventType.RESUME_CHANNEL: ChannelControl,
    HaipEventType.REPLAY_REQUEST: ReplayRequest,
    HaipEventType.ERROR: Error,
}

# Required by the schema, optional when reading.
_ALSO_REQUIRED: Final = {HaipEventType.TOOL_LIST: "tools", HaipEventType.TOOL_SCHEMA: "schema"}
_OPEN: Final = frozenset({HaipEventType.RUN_STARTED})
_UUIDS: Final = ("related_id",)


def read_payload(event: HaipEventType, payload: object) -> Payload:
    """Read the payload of an event, leniently.

    Args:
        event: The type of the event.
        payload: The payload, any JSON value.

    Returns:
        The payload as a model.

    Raises:
        HaipProtocolError: A field is missing or invalid (INVALID_MESSAGE); the error names it.
    """
    try:
        return _MODELS[event].model_validate(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "payload"
        raise HaipProtocolError(
            f"unable to read {event}; {where}: {first['msg']}",
            HaipErrorCode.INVALID_MESSAGE,
            {"field": where},
        ) from None


def is_plain_part(event: HaipEventType, payload: Mapping[str, object]) -> bool:
    """Tell whether a payload is that of a text part, and nothing else is in it.

    Most messages are plain parts. They need no model.

    Args:
        event: The type of the event.
        payload: The payload.
    """
    if event is not HaipEventType.MESSAGE_PART or len(payload) != 2:
        return False
    message_id, text = payload.get("message_id"), payload.get("text")
    return isinstance(text, str) and isinstance(message_id, str) and _ID.match(message_id) is not None


def check_payload(event: HaipEventType, payload: Mapping[str, object]) -> None:
    """Check a payload against the schema before it is sent.

    Args:
        event: The type of the event.
        payload: The payload.

    Raises:
        HaipProtocolError: A field is missing, unknown or invalid (INVALID_MESSAGE); the error names it.
    """
    read = read_payload(event, payload)
    required = _ALSO_REQUIRED.get(event)
    if required is not None and payload.get(required) is None:
        raise _unwritable(event, required, "is required")
    if event not in _OPEN:
        for unknown in read.model_extra or ():
            raise _unwritable(event, unknown, "is not a field of this event")
    for field, value in payload.items():
        if value is None and field not in ("partial", "result") and event not in _OPEN:
            raise _unwritable(event, field, "is null; leave it out")
        if field in _UUIDS and not (isinstance(value, str) and re.fullmatch(_UUID, value)):
            raise _unwritable(event, field, "is not a UUID")
    if isinstance(read, ToolList):
        for tool in read.tools or ():
            for unknown in tool.model_extra or ():
                raise _unwritable(event, f"tools.{unknown}", "is not a field of a tool")
    if isinstance(read, FlowUpdate) and 0 in (read.add_messages, read.add_bytes):
        raise _unwritable(event, "add_messages, add_bytes", "are at least 1; leave zero out")


def _unwritable(event: HaipEventType, field: str, why: str) -> HaipProtocolError:
    return HaipProtocolError(
        f"unable to write {event}; {field} {why}", HaipErrorCode.INVALID_MESSAGE, {"field": field}
    )
