"""Events, inputs and messages with any content: only errors of ours, and none where something is read."""

import logging
from contextlib import suppress
from typing import Any

import pytest
from ably_ai_transport_openai import OpenAIProjection, ResponsesCodec, to_responses_input, unanswered_calls
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ably_ai_transport import AITransportError, InboundMessage, MessageAction
from ably_ai_transport.codec import FoldMeta, InputEvent, OutputEvent, UserMessage
from ably_ai_transport.wire import InvalidArgumentError
from tests.codec.fake_channel import FakeChannel
from tests.support.any_json import ANY, objects

CODEC = ResponsesCodec()
META = FoldMeta("1", "m1")
STREAMS = ("output_text", "refusal", "reasoning_text", "reasoning_summary_text", "function_call_arguments")
PART = objects(
    ["output_text", "refusal", "reasoning_text", "summary_text", "input_text"],
    ["text", "refusal", "logprobs"],
)
ITEM = objects(
    ["message", "reasoning", "function_call", "function_call_output", "other"],
    [
        "id",
        "call_id",
        "name",
        "arguments",
        "output",
        "content",
        "summary",
        "status",
        "role",
        "encrypted_content",
    ],
    values=ANY | st.lists(PART, max_size=2),
)
EVENT = objects(
    [
        *("response.output_item.added", "response.output_item.done", "response.content_part.added"),
        *("response.reasoning_summary_part.added", "function_call_output", "tool-approval-request"),
        *(f"response.{kind}.{step}" for kind in STREAMS for step in ("delta", "done")),
        *("response.completed", "error", "response.created"),
    ],
    [
        *("item", "item_id", "part", "content_index", "summary_index", "output_index", "delta", "text"),
        *("refusal", "arguments", "call_id", "name"),
    ],
    values=ANY | ITEM | PART | st.just("m1"),
)
MESSAGE = objects(["user", "assistant"], ["items"], key="role", values=ANY | st.lists(ITEM, max_size=2))
PAYLOAD = objects(["c1", ""], ["output", "message", "approved", "reason"], key="call_id")
KINDS = (
    *STREAMS,
    *("response.output_item.added", "response.output_item.done", "function_call_output", "user-message"),
    *("tool-approval-request", "tool-result", "tool-result-error", "tool-approval-response", "other"),
)
HEADERS = st.dictionaries(
    st.sampled_from(["item_id", "output_index", "content_index", "summary_index", "part", "item", "call_id"])
    | st.sampled_from(["name", "approved", "reason", "partType"]),
    st.sampled_from(
        ["m1", "0", "1.5", "[]", "{", '{"type":"output_text"}', '{"id":"m1","type":"function_call"}']
    )
    | st.sampled_from(["input_text", "true", "9" * 5000, "[" * 2000])
    | ANY,
    max_size=5,
)
TRANSPORT = st.dictionaries(
    st.sampled_from(["stream", "status", "stream-id", "codec-message-id", "run-id", "role", "discrete"]),
    st.sampled_from(["true", "streaming", "complete", "cancelled", "c1", "m1", "user"]) | ANY,
    max_size=6,
)


def show(projection: OpenAIProjection) -> None:
    messages = [entry.message for entry in CODEC.get_messages(projection)]
    unanswered_calls(messages)
    to_responses_input(messages)


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENT | ANY, max_size=6))
async def test_publishing_outputs(events: list[Any]) -> None:
    encoder = CODEC.create_encoder(FakeChannel())
    for event in events:
        with suppress(AITransportError):
            await encoder.publish_output(event)
    await encoder.cancel_streams()
    await encoder.close()


@settings(max_examples=150, deadline=None)
@given(MESSAGE | ANY, PAYLOAD | ANY, ANY)
async def test_building_and_publishing_inputs(message: Any, payload: Any, target: Any) -> None:  # noqa: ANN401
    encoder = CODEC.create_encoder(FakeChannel())
    for build in (
        lambda: CODEC.create_user_message(message),
        lambda: CODEC.create_tool_result("m1", payload),
        lambda: CODEC.create_tool_result_error("m1", payload),
        lambda: CODEC.create_tool_approval_response("m1", payload),
        lambda: UserMessage(message),
        lambda: target,
    ):
        with suppress(AITransportError):
            await encoder.publish_input(build())


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENT | MESSAGE | PAYLOAD, max_size=6))
def test_folding(events: list[Any]) -> None:
    projection = CODEC.init()
    for event in events:
        if "role" not in event and "type" in event:
            CODEC.fold(projection, OutputEvent(event), META)
            continue
        for create in (
            CODEC.create_tool_result,
            CODEC.create_tool_result_error,
            CODEC.create_tool_approval_response,
        ):
            with suppress(InvalidArgumentError):
                CODEC.fold(projection, InputEvent(create("m1", event)), META)
        with suppress(InvalidArgumentError):
            CODEC.fold(projection, InputEvent(CODEC.create_user_message(event)), META)
    show(projection)


DELIVERIES = st.lists(
    st.tuples(
        st.sampled_from(MessageAction),
        st.sampled_from(["ai-input", "ai-output", "other", None]),
        ANY | PAYLOAD | MESSAGE | objects(["x"], ["item", "output", "message"], values=ITEM | ANY),
        st.sampled_from(KINDS),
        HEADERS,
        TRANSPORT,
        st.sampled_from(["1", "2", "3", None]),
        st.sampled_from(["1", "2", "3", "4", None]),
    ),
    max_size=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(DELIVERIES)
def test_reading(caplog: pytest.LogCaptureFixture, deliveries: list[tuple[Any, ...]]) -> None:
    caplog.clear()
    decoder = CODEC.create_decoder()
    projection = CODEC.init()
    for action, name, data, kind, codec, transport, serial, version in deliveries:
        extras = {"ai": {"transport": transport, "codec": {"kind": kind, **codec}}}
        decoded = decoder.decode(InboundMessage(action, name, data, serial, version, extras=extras))
        for given_input in decoded.inputs:
            CODEC.fold(projection, InputEvent(given_input), META)
        for output in decoded.outputs:
            CODEC.fold(projection, OutputEvent(output), META)
    show(projection)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
