"""Codecs from tables alone: their projection is the list of what was folded."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from ably_ai_transport.codec import (
    CodecMessage,
    EncoderOptions,
    InputTableRow,
    LeadIn,
    OutputRow,
    Reducer,
    TableCodec,
    WriteOptions,
    define_codec,
)
from ably_ai_transport.wire import InboundMessage
from tests.codec.fake_channel import FakeChannel

Event: TypeAlias = dict[str, object]
ListCodec: TypeAlias = TableCodec[object, Event, list[object], object]


def codec_of(
    outputs: Sequence[OutputRow] = (),
    inputs: Sequence[InputTableRow] = (),
    lead_in: LeadIn[Event] | None = None,
) -> ListCodec:
    reducer: Reducer[object, Event, list[object], object] = Reducer(
        list[object],
        lambda projection, event, meta: [*projection, event.event],
        lambda projection: [CodecMessage("m", item) for item in projection],
    )
    return define_codec(reducer, outputs=outputs, inputs=inputs, lead_in=lead_in)


async def publish(codec: ListCodec, *events: Event, message_id: str | None = None) -> FakeChannel:
    channel = FakeChannel()
    encoder = codec.create_encoder(channel, EncoderOptions(headers={"run-id": "run"}, message_id=message_id))
    for event in events:
        await encoder.publish_output(event, WriteOptions({"x": "y"}, "m"))
    await encoder.close()
    return channel


def outputs_of(codec: ListCodec, messages: Iterable[InboundMessage]) -> list[Event]:
    decoder = codec.create_decoder()
    return [event for message in messages for event in decoder.decode(message).outputs]
