"""Tests of inputs: user messages as batches, regenerates, answers to tool calls."""

from typing import cast

import pytest
from ably_ai_transport_vercel import (
    ForkSeed,
    ToolApprovalResponsePayload,
    ToolResultErrorPayload,
    ToolResultPayload,
    UIMessage,
    VercelInput,
    text_message,
    text_of,
)

from ably_ai_transport.codec import (
    Regenerate,
    ToolApprovalResponse,
    ToolResult,
    ToolResultError,
    UserMessage,
    WriteOptions,
)
from ably_ai_transport.wire import AITransportError, ErrorCode, InboundMessage
from tests.codec.fake_channel import FakeChannel
from tests.support.ui_messages import CODEC, Follower


async def publish(event: VercelInput, message_id: str = "m") -> FakeChannel:
    channel = FakeChannel()
    encoder = CODEC.create_encoder(channel)
    await encoder.publish_input(event, WriteOptions(message_id=message_id))
    return channel


def message(*parts: object, **more: object) -> UIMessage:
    return cast("UIMessage", {"id": "u1", "role": "user", "parts": list(parts), **more})


SEVERAL = message(
    {"type": "text", "text": "look"},
    {"type": "file", "mediaType": "image/png", "url": "data:,x"},
    {"type": "data-place", "id": "p", "data": {"lat": 51.05}},
    {"type": "text", "text": ""},
)


async def test_a_message_of_several_parts_is_one_atomic_batch() -> None:
    channel = await publish(CODEC.create_user_message(SEVERAL))

    assert [kind for kind, _ in channel.sent] == ["publish"] * 4
    for frame, part in zip(channel.history, SEVERAL["parts"], strict=True):
        assert frame.name == "ai-input"
        assert frame.transport_headers == {
            "role": "user",
            "codec-message-id": "m",
            "stream": "false",
            "discrete": "true",
        }
        assert {
            key: value
            for key, value in frame.codec_headers.items()
            if key in ("kind", "messageId", "partType")
        } == {"kind": "user-message", "messageId": "u1", "partType": part["type"]}


async def test_the_parts_of_a_message_come_together_again() -> None:
    channel = await publish(CODEC.create_user_message(SEVERAL))

    assert Follower().read(channel.history).messages() == {"m": SEVERAL}


@pytest.mark.parametrize("parts", [[], [{"type": "step-start"}], [{"type": "tool-x", "toolCallId": "c"}]])
async def test_a_message_without_anything_to_send_still_arrives(parts: list[object]) -> None:
    channel = await publish(CODEC.create_user_message(message(*parts)))

    assert Follower().read(channel.history).messages() == {"m": message({"type": "text", "text": ""})}


async def test_role_and_missing_id_are_read() -> None:
    (told,) = (await publish(CODEC.create_user_message(text_message("hi", "system", "s1")))).history
    assert Follower().read([told]).messages() == {"m": text_message("hi", "system", "s1")}

    extras = {
        "ai": {"transport": {"codec-message-id": "m"}, "codec": {"kind": "user-message", "partType": "text"}}
    }
    bare = InboundMessage(name="ai-input", data="hi", serial="1", extras=extras)
    assert Follower().read([bare]).messages() == {
        "m": {"id": "", "role": "user", "parts": [{"type": "text", "text": "hi"}]}
    }


async def test_an_unknown_part_of_a_batch_is_ignored() -> None:
    extras = {"ai": {"transport": {}, "codec": {"kind": "user-message", "partType": "hologram"}}}

    assert not Follower().read([InboundMessage(name="ai-input", serial="1", extras=extras)]).inputs


async def test_a_regenerate_is_a_signal() -> None:
    event = CODEC.create_regenerate("target", "parent")
    channel = await publish(event)

    assert event == Regenerate(target="target", parent="parent")
    assert channel.history[0].codec_headers == {"kind": "regenerate"}
    assert not Follower().read(channel.history).inputs


SEED: ForkSeed = {
    "messages": [
        {
            "codecMessageId": "f",
            "message": {"id": "a", "role": "assistant", "parts": [{"type": "text", "text": "t"}]},
        }
    ]
}


@pytest.mark.parametrize(
    "event",
    [
        CODEC.create_tool_result("m", {"toolCallId": "c", "output": {"a": [1, None]}}),
        CODEC.create_tool_result("m", {"toolCallId": "c", "output": None, "forkSeed": SEED}),
        CODEC.create_tool_result_error("m", {"toolCallId": "c", "message": "no", "forkSeed": SEED}),
        CODEC.create_tool_approval_response("m", {"toolCallId": "c", "approved": True}),
        CODEC.create_tool_approval_response("m", {"toolCallId": "c", "approved": False, "reason": "no"}),
    ],
)
async def test_answers_to_tool_calls_are_read_back(event: VercelInput) -> None:
    channel = await publish(event)

    assert Follower().read(channel.history).inputs == [event]


def test_the_classes_of_inputs() -> None:
    assert isinstance(CODEC.create_user_message(text_message("hi")), UserMessage)
    assert isinstance(CODEC.create_tool_result("m", {"toolCallId": "c"}), ToolResult)
    assert isinstance(
        CODEC.create_tool_result_error("m", {"toolCallId": "c", "message": ""}), ToolResultError
    )
    approval = CODEC.create_tool_approval_response("m", {"toolCallId": "c", "approved": True})
    assert isinstance(approval, ToolApprovalResponse)


def test_a_seed_is_read_without_what_could_not_be_folded() -> None:
    messages: list[object] = [
        {"codecMessageId": "f", "message": {"parts": [{}, None, {"type": 5}, {"type": "text", "text": "t"}]}},
        {"codecMessageId": 5, "message": {"parts": []}},
        {"codecMessageId": "g", "message": {"parts": "none"}},
        "nothing",
    ]
    extras = {
        "ai": {"transport": {"codec-message-id": "m"}, "codec": {"kind": "tool-result", "toolCallId": "c"}}
    }
    delivery = InboundMessage(
        name="ai-input", serial="1", data={"output": 1, "forkSeed": {"messages": messages}}, extras=extras
    )

    (event,) = CODEC.create_decoder().decode(delivery).inputs

    assert isinstance(event, ToolResult)
    kept = [{"codecMessageId": "f", "message": {"parts": [{"type": "text", "text": "t"}]}}]
    assert event.payload == {"toolCallId": "c", "output": 1, "forkSeed": {"messages": kept}}


@pytest.mark.parametrize("data", [None, "text", {"forkSeed": None}, {"forkSeed": {"messages": {}}}])
def test_malformed_answers_read_as_empty(data: object) -> None:
    extras = {"ai": {"transport": {}, "codec": {"kind": "tool-result-error"}}}

    decoded = CODEC.create_decoder().decode(
        InboundMessage(name="ai-input", serial="1", data=data, extras=extras)
    )

    assert list(decoded.inputs) == [ToolResultError("", {"toolCallId": "", "message": ""})]


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        ({}, "id: Field required"),
        ("hi", "valid dictionary"),
        ({"id": "", "role": "user", "parts": []}, "id: "),
        ({"id": "a", "role": "robot", "parts": []}, "role: "),
        ({"id": "a", "role": "user"}, "parts: Field required"),
        ({"id": "a", "role": "user", "parts": ["hi"]}, "parts.0: "),
        ({"id": "a", "role": "user", "parts": [{"text": "hi"}]}, "parts.0.type: "),
        ({"id": "a", "role": "user", "parts": [{"type": "text"}]}, "parts.0.text: "),
        ({"id": "a", "role": "user", "parts": [{"type": "text", "text": 5}]}, "parts.0.text: "),
        ({"id": "a", "role": "user", "parts": [{"type": "file", "url": "u"}]}, "parts.0.mediaType: "),
        ({"id": "a", "role": "user", "parts": [{"type": "data-x"}]}, "parts.0.data: "),
    ],
)
def test_a_bad_message_is_refused_by_name_of_the_field(bad: object, where: str) -> None:
    with pytest.raises(AITransportError) as caught:
        CODEC.create_user_message(cast("UIMessage", bad))

    assert caught.value.code == ErrorCode.INVALID_ARGUMENT
    assert caught.value.message.startswith("unable to build user message; ")
    assert where in caught.value.message


def test_bad_answers_are_refused() -> None:
    with pytest.raises(AITransportError, match="toolCallId: Field required"):
        CODEC.create_tool_result("m", cast("ToolResultPayload", {"output": 1}))
    with pytest.raises(AITransportError, match="message: "):
        CODEC.create_tool_result_error("m", cast("ToolResultErrorPayload", {"toolCallId": "c"}))
    with pytest.raises(AITransportError, match="approved: "):
        CODEC.create_tool_approval_response(
            "m", cast("ToolApprovalResponsePayload", {"toolCallId": "c", "approved": "yes"})
        )


def test_unknown_fields_survive_and_the_message_is_copied() -> None:
    given = message({"type": "text", "text": "hi", "custom": 1}, metadata={"a": 1}, other=[1])

    event = CODEC.create_user_message(given)

    assert isinstance(event, UserMessage)
    assert event.message == given
    assert event.message is not given
    given["parts"].clear()
    assert text_of(event.message) == "hi"


def test_messages_in_few_words() -> None:
    named = text_message("hi", message_id="u1", parts=[{"type": "file", "mediaType": "a/b", "url": "u"}])

    assert named == {
        "id": "u1",
        "role": "user",
        "parts": [{"type": "text", "text": "hi"}, {"type": "file", "mediaType": "a/b", "url": "u"}],
    }
    assert text_message("hi")["id"] != text_message("hi")["id"]
    assert text_message("done", "assistant")["role"] == "assistant"


async def test_an_unknown_input_is_refused() -> None:
    with pytest.raises(AITransportError, match="no row for 'None'") as caught:
        await publish(cast("VercelInput", {"kind": "user-message"}))
    assert caught.value.code == ErrorCode.INVALID_ARGUMENT

    with pytest.raises(AITransportError, match="payload is not a mapping"):
        await publish(cast("VercelInput", ToolResult("m", 5)))
