"""Messages of another codec, or of a newer peer: they decode to nothing, and the decoder names their kind."""

import pytest
from ably_ai_transport_openai import ResponsesCodec
from ably_ai_transport_vercel import UIMessageCodec, text_message

from ably_ai_transport.wire import InboundMessage, MessageAction
from ably_ai_transport.wire.messages import ai_extras
from tests.codec.fake_channel import FakeChannel


def message(
    name: str,
    codec: dict[str, str],
    transport: dict[str, str] | None = None,
    action: MessageAction = MessageAction.CREATE,
) -> InboundMessage:
    extras = ai_extras(transport or {}, codec)
    return InboundMessage(action, name, "", "s1", "s1", extras=extras)


STREAMED = {"stream": "true", "status": "streaming", "stream-id": "x"}


@pytest.mark.parametrize(
    ("told", "unknown"),
    [
        (message("ai-output", {"kind": "new-event"}), "new-event"),
        (message("ai-output", {"kind": "new-stream"}, STREAMED), "new-stream"),
        (message("ai-output", {"kind": "new-stream"}, STREAMED, MessageAction.UPDATE), "new-stream"),
        (message("ai-output", {}), ""),
        (message("ai-input", {"kind": "new-input"}), "new-input"),
        (message("ai-input", {"kind": "user-message", "partType": "input_text"}), "user-message/input_text"),
        (message("ai-output", {"kind": "start-step"}), None),
        (message("ai-output", {"kind": "data-anything"}), None),
        (message("ai-output", {"kind": "text", "id": "t"}, STREAMED), None),
        (message("ai-output", {"kind": "text", "id": "t"}), None),
        (message("ai-input", {"kind": "regenerate"}), None),
        (message("ai-input", {"kind": "user-message"}), None),
        (message("ai-run-start", {}), None),
        (InboundMessage(MessageAction.CREATE, "ai-output", "an application's own", "s1", "s1"), None),
    ],
)
def test_a_decoder_names_the_kinds_that_it_does_not_know(told: InboundMessage, unknown: str | None) -> None:
    decoded = UIMessageCodec().create_decoder().decode(told)
    assert decoded.unknown == unknown
    if unknown is not None:
        assert not decoded.inputs
        assert not decoded.outputs


def test_appends_to_an_unknown_stream_are_not_named_again() -> None:
    decoder = UIMessageCodec().create_decoder()
    assert decoder.decode(message("ai-output", {"kind": "new"}, STREAMED)).unknown == "new"
    more = message("ai-output", {"kind": "new"}, STREAMED, MessageAction.APPEND)
    more.version = "s2"
    more.data = "text"
    decoded = decoder.decode(more)
    assert decoded.unknown is None
    assert not decoded.outputs


async def test_a_conversation_of_another_codec() -> None:
    channel = FakeChannel()
    codec = UIMessageCodec()
    encoder = codec.create_encoder(channel)
    await encoder.publish_input(codec.create_user_message(text_message("hi")))
    await encoder.publish_output({"type": "text-start", "id": "t"})
    await encoder.publish_output({"type": "finish"})
    other = ResponsesCodec().create_decoder()
    assert [other.decode(told).unknown for told in channel.seen_from(0)] == [
        "user-message/text",
        "text",
        "finish",
    ]
