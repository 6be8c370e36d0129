"""Chunks, inputs and messages with any content: only errors of ours, and none where something is read."""

import logging
from contextlib import suppress
from typing import Any

import pytest
from ably_ai_transport_vercel import (
    VercelProjection,
    approved_pending_tool_calls,
    pending_tool_calls,
    text_of,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ably_ai_transport import AITransportError, InboundMessage, MessageAction
from ably_ai_transport.codec import (
    FoldMeta,
    InputEvent,
    OutputEvent,
    ToolResult,
    UserMessage,
)
from ably_ai_transport.wire import InvalidArgumentError
from tests.codec.fake_channel import FakeChannel
from tests.support.any_json import ANY, objects
from tests.support.ui_messages import CODEC

CHUNKS = (
    *("start", "start-step", "finish-step", "finish", "abort", "error", "message-metadata", "data-x"),
    *("text-start", "text-delta", "text-end", "reasoning-start", "reasoning-delta", "reasoning-end"),
    *("tool-input-start", "tool-input-delta", "tool-input-available", "tool-input-error", "file"),
    *("tool-output-available", "tool-output-error", "tool-output-denied", "tool-approval-request"),
    *("source-url", "source-document", "custom"),
)
FIELDS = (
    *("id", "delta", "toolCallId", "toolName", "inputTextDelta", "input", "output", "errorText", "url"),
    *("messageId", "messageMetadata", "dynamic", "title", "providerMetadata", "approvalId", "data"),
    *("mediaType", "sourceId", "filename", "preliminary", "transient", "reason", "finishReason"),
)
CHUNK = objects(CHUNKS, FIELDS)
PART = objects(["text", "file", "data-x", "tool-x", "dynamic-tool", "step-start"], [*FIELDS, "text", "state"])
MESSAGE = objects(["user", "assistant"], ["id", "parts"], key="role", values=ANY | st.lists(PART, max_size=3))
SEED = st.fixed_dictionaries(
    {
        "messages": st.lists(
            objects(["m1", "m2"], ["message"], key="codecMessageId", values=ANY | MESSAGE), max_size=2
        )
    }
)
PAYLOAD = objects(
    ["c1", ""], ["output", "message", "approved", "reason", "forkSeed"], key="toolCallId", values=ANY | SEED
)
KINDS = (
    *("text", "reasoning", "tool-input", "start", "finish", "data-x", "tool-output-available", "file"),
    *("user-message", "tool-result", "tool-result-error", "tool-approval-response", "tool-input-error"),
)
HEADERS = st.dictionaries(
    st.sampled_from(["id", "partType", "dynamic", "messageId", "toolCallId", "toolName", "approved", "type"])
    | st.sampled_from(["providerMetadata", "messageMetadata", "finishReason"]),
    st.sampled_from(["c1", "true", "text", "file", "data-x", "{"])
    | st.sampled_from(['{"a":[1]}', "NaN", "[" * 2000, "\ud83d"])
    | ANY,
    max_size=5,
)
TRANSPORT = st.dictionaries(
    st.sampled_from(["stream", "status", "stream-id", "codec-message-id", "run-id", "role", "discrete"]),
    st.sampled_from(["true", "streaming", "complete", "cancelled", "c1", "m1", "user"]) | ANY,
    max_size=6,
)


def show(projection: VercelProjection) -> None:
    messages = [entry.message for entry in CODEC.get_messages(projection)]
    pending_tool_calls(messages)
    approved_pending_tool_calls(messages)
    for message in messages:
        text_of(message)


@settings(max_examples=150, deadline=None)
@given(st.lists(CHUNK | ANY, max_size=6))
async def test_publishing_outputs(chunks: list[Any]) -> None:
    encoder = CODEC.create_encoder(FakeChannel())
    for chunk in chunks:
        with suppress(AITransportError):
            await encoder.publish_output(chunk)
    await encoder.cancel_streams()
    await encoder.close()


@settings(max_examples=200, deadline=None)
@given(MESSAGE | ANY, PAYLOAD | ANY, ANY)
async def test_building_and_publishing_inputs(message: Any, payload: Any, target: Any) -> None:  # noqa: ANN401
    encoder = CODEC.create_encoder(FakeChannel())
    for build in (
        lambda: CODEC.create_user_message(message),
        lambda: CODEC.create_tool_result("m1", payload),
        lambda: CODEC.create_tool_result_error("m1", payload),
        lambda: CODEC.create_tool_approval_response("m1", payload),
        lambda: CODEC.create_regenerate(target, target),
        lambda: UserMessage(message),
        lambda: ToolResult("m1", payload),
        lambda: target,
    ):
        with suppress(AITransportError):
            await encoder.publish_input(build())


@settings(max_examples=150, deadline=None)
@given(st.lists(CHUNK | MESSAGE | PAYLOAD, max_size=6))
def test_folding(events: list[dict[str, Any]]) -> None:
    projection = CODEC.init()
    for event in events:
        if "role" not in event and "type" in event:
            CODEC.fold(projection, OutputEvent(event), FoldMeta("1", "m1"))  # pyright: ignore[reportArgumentType]
            continue
        given_value: Any = event
        for create in (
            CODEC.create_tool_result,
            CODEC.create_tool_result_error,
            CODEC.create_tool_approval_response,
        ):
            with suppress(InvalidArgumentError):
                CODEC.fold(projection, InputEvent(create("m1", given_value)), FoldMeta("1", "m1"))
        with suppress(InvalidArgumentError):
            CODEC.fold(projection, InputEvent(CODEC.create_user_message(given_value)), FoldMeta("1", "m1"))
    show(projection)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(MessageAction),
            st.sampled_from(["ai-input", "ai-output", "other", None]),
            ANY | PAYLOAD | MESSAGE,
            st.sampled_from(KINDS),
            HEADERS,
            TRANSPORT,
            st.sampled_from(["1", "2", "3", None]),
            st.sampled_from(["1", "2", "3", "4", None]),
        ),
        max_size=6,
    )
)
def test_reading(caplog: pytest.LogCaptureFixture, deliveries: list[tuple[Any, ...]]) -> None:
    caplog.clear()
    decoder = CODEC.create_decoder()
    projection = CODEC.init()
    for action, name, data, kind, codec, transport, serial, version in deliveries:
        extras = {"ai": {"transport": transport, "codec": {"kind": kind, **codec}}}
        decoded = decoder.decode(InboundMessage(action, name, data, serial, version, extras=extras))
        for given_input in decoded.inputs:
            CODEC.fold(projection, InputEvent(given_input), FoldMeta("1", "m1"))
        for output in decoded.outputs:
            CODEC.fold(projection, OutputEvent(output), FoldMeta("1", "m1"))
    show(projection)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
