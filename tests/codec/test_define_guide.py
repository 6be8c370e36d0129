"""A codec for a new vocabulary, from scratch."""

from dataclasses import dataclass, field
from typing import TypeAlias

from ably_ai_transport.codec import (
    BatchRow,
    Codec,
    CodecMessage,
    Data,
    EventRow,
    FoldMeta,
    InputEvent,
    OutputEvent,
    PartRow,
    Reducer,
    SignalRow,
    StreamRow,
    StrField,
    UserMessage,
    WriteOptions,
    define_codec,
)
from tests.codec.fake_channel import FakeChannel

Note: TypeAlias = dict[str, str]


@dataclass
class Lines:
    """Text by message id."""

    texts: dict[str, str] = field(default_factory=dict[str, str])


def fold(lines: Lines, event: InputEvent[UserMessage[str]] | OutputEvent[Note], meta: FoldMeta) -> Lines:
    message_id = meta.message_id or ""
    text = event.event.message if isinstance(event, InputEvent) else event.event.get("text", "")
    lines.texts[message_id] = lines.texts.get(message_id, "") + text
    return lines


def messages(lines: Lines) -> list[CodecMessage[str]]:
    return [CodecMessage(message_id, text) for message_id, text in lines.texts.items()]


def explode(event: UserMessage[str]) -> list[Note]:
    return [{"type": "line", "text": event.message}]


codec = define_codec(
    Reducer(Lines, fold, messages),
    outputs=[
        StreamRow("line", "line-start", "line-more", "line-end", "text", "id", (StrField("id"),)),
        EventRow("mood", data=Data(lambda note: note["mood"], lambda data: {"mood": str(data)})),
    ],
    inputs=[
        BatchRow(
            "user-message",
            explode=explode,
            parts=(PartRow("line", data=Data(lambda part: part["text"], lambda data: {"text": data})),),
            assemble=lambda part, _: UserMessage(str(part["text"])),
        ),
        SignalRow("regenerate"),
    ],
)


async def test_it_speaks() -> None:
    typed: Codec[UserMessage[str], Note, Lines, str] = codec
    channel = FakeChannel()
    encoder = typed.create_encoder(channel)
    await encoder.publish_input(typed.create_user_message("hi"), WriteOptions(message_id="1"))
    to_second = WriteOptions(message_id="2")
    await encoder.publish_output({"type": "line-start", "id": "a"}, to_second)
    await encoder.publish_output({"type": "line-more", "id": "a", "text": "hello "}, to_second)
    await encoder.publish_output({"type": "line-more", "id": "a", "text": "you"}, to_second)
    await encoder.publish_output({"type": "line-end", "id": "a"}, to_second)
    await encoder.publish_output({"type": "mood", "mood": "good"}, to_second)

    decoder, lines = typed.create_decoder(), typed.init()
    for message in channel.seen_from(0):
        meta = FoldMeta(message.serial or "", message.transport_headers.get("codec-message-id"))
        decoded = decoder.decode(message)
        for given in decoded.inputs:
            typed.fold(lines, InputEvent(given), meta)
        for output in decoded.outputs:
            typed.fold(lines, OutputEvent(output), meta)

    assert [(m.codec_message_id, m.message) for m in typed.get_messages(lines)] == [
        ("1", "hi"),
        ("2", "hello you"),
    ]
