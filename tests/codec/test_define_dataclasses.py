"""Events need not be dicts."""

from dataclasses import dataclass
from typing import TypeAlias, cast

import pytest

from ably_ai_transport.codec import (
    Data,
    DataclassEvents,
    EventRow,
    EventShape,
    Reducer,
    StreamRow,
    StrField,
    define_codec,
)
from ably_ai_transport.wire import AITransportError
from tests.codec.fake_channel import FakeChannel

ANY = Data(lambda values: values.get("data"), lambda data: {"data": data})


@dataclass(frozen=True)
class Opened:
    id: str


@dataclass(frozen=True)
class More:
    text: str
    id: str | None = None


@dataclass(frozen=True)
class Closed:
    id: str


@dataclass(frozen=True)
class Custom:
    kind: str
    data: object = None


Typed: TypeAlias = Opened | More | Closed | Custom
SHAPE: EventShape[Typed] = DataclassEvents(
    {"open": Opened, "more": More, "close": Closed, "custom-*": Custom}
)


async def test_events_may_be_dataclasses() -> None:
    reducer: Reducer[object, Typed, None, object] = Reducer(lambda: None, lambda p, e, m: None, lambda p: ())
    stream = StreamRow("text", "open", "more", "close", "text", "id", (StrField("id"),), ("id",))
    codec = define_codec(reducer, outputs=[stream, EventRow("custom-*", data=ANY)], inputs=[], shape=SHAPE)
    events: list[Typed] = [Opened("1"), More("a", "1"), Closed("1"), Custom("custom-x", {"n": 1})]
    channel = FakeChannel()
    encoder = codec.create_encoder(channel)

    for event in events:
        await encoder.publish_output(event)

    decoder = codec.create_decoder()
    assert [event for m in channel.seen_from(0) for event in decoder.decode(m).outputs] == events
    with pytest.raises(AITransportError, match="kind is missing"):
        await encoder.publish_output(cast("Typed", 5))
