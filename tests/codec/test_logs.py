"""The log records of the codec room: repairs at debug level, with the keys that find them."""

import logging

import pytest

from ably_ai_transport.codec import EncoderCore, EncoderOptions, Payload
from ably_ai_transport.wire import InboundMessage, MessageAction
from ably_ai_transport.wire.messages import ai_extras
from tests.codec.fake_channel import FakeChannel, Reader, timed

ROOM = "ably_ai_transport.codec"


def field(record: logging.LogRecord, key: str) -> object:
    return vars(record)[key]


@timed
async def test_a_repair_is_told_with_its_run_step_and_serial(caplog: pytest.LogCaptureFixture) -> None:
    headers = {"run-id": "r1", "step-id": "s1"}
    channel = FakeChannel(outcomes=["refuse"])
    encoder = EncoderCore(channel, EncoderOptions(headers=headers))
    with caplog.at_level(logging.DEBUG, ROOM):
        await encoder.start_stream("t1", Payload("ai-output"))
        await encoder.append_stream("t1", "secret text")
        await encoder.close_stream("t1", Payload("ai-output"))
        await encoder.close()
        await encoder.close()
    repairs = [record for record in caplog.records if "t1" in record.getMessage()]
    assert [record.getMessage().split(";")[0].split(":")[0] for record in repairs] == [
        "append to stream 't1' was refused",
        "repairing stream 't1' by an update of 11 characters",
        "stream 't1' was repaired",
    ]
    for record in repairs:
        assert (field(record, "run"), field(record, "step"), field(record, "serial")) == (
            "r1",
            "s1",
            channel.history[0].serial,
        )
    assert {record.levelname for record in caplog.records} == {"DEBUG"}
    [closed] = [record for record in caplog.records if record.getMessage().startswith("encoder closed")]
    assert "recovered=1" in closed.getMessage()


def test_a_late_joiner_warns_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    extras = ai_extras({"stream": "true", "status": "streaming", "stream-id": "t1"}, {})
    append = InboundMessage(MessageAction.APPEND, "ai-output", "the rest", "s1", "s2", extras=extras)
    with caplog.at_level(logging.DEBUG, ROOM):
        assert Reader().read([append]).events == {"s1": [("start", "t1"), ("delta", "the rest")]}
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
