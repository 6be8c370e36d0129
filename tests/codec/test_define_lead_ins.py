"""Lead-ins: late joiners get generated events that must precede content."""

import pytest

from ably_ai_transport.codec import EventRow, LeadIn, LifecyclePhase, StreamRow, StrField, WriteOptions
from tests.codec.fake_channel import FakeChannel
from tests.support.table_codecs import Event, codec_of, outputs_of, publish

START: LifecyclePhase[Event] = LifecyclePhase(
    "start", lambda context: [{"type": "start", "by": context.get("id")}]
)
STEP: LifecyclePhase[Event] = LifecyclePhase("step", lambda context: [{"type": "step"}])
RULES: LeadIn[Event] = LeadIn(
    (START, STEP),
    marks={"start": "start", "step": "step"},
    resets={"step-end": "step"},
    clears=frozenset({"end"}),
    needed_by=frozenset({"note"}),
)
TEXT = StreamRow("text", "open", "more", "close", "text", "id", (StrField("id"),))
LED = codec_of(
    [TEXT, *(EventRow(kind) for kind in ("start", "step", "step-end", "end", "note", "free"))], (), RULES
)
OPENED: Event = {"type": "open", "id": "1"}
NOTE: Event = {"type": "note"}


@pytest.mark.parametrize(
    ("events", "kinds"),
    [
        ([OPENED], ["start", "step", "open"]),
        ([NOTE], ["start", "step", "note"]),
        ([{"type": "free"}], ["free"]),
        ([{"type": "start"}, OPENED], ["start", "step", "open"]),
        ([{"type": "step"}, OPENED], ["step", "start", "open"]),
        ([OPENED, {"type": "note"}], ["start", "step", "open", "note"]),
        (
            [OPENED, {"type": "step-end"}, {"type": "note"}],
            ["start", "step", "open", "step-end", "step", "note"],
        ),
        (
            [OPENED, {"type": "end"}, {"type": "note"}],
            ["start", "step", "open", "end", "start", "step", "note"],
        ),
    ],
)
async def test_lead_ins_are_made_up_where_they_are_missing(events: list[Event], kinds: list[str]) -> None:
    channel = await publish(LED, *events)

    decoded = outputs_of(LED, channel.history)
    assert [event["type"] for event in decoded] == kinds
    if decoded[0]["type"] == "start" and events[0] is OPENED:
        assert decoded[0]["by"] == "1"


async def test_each_run_and_each_decoder_has_lead_ins_of_its_own() -> None:
    channel = FakeChannel()
    encoder = LED.create_encoder(channel)
    for run in ("one", "two", "one"):
        await encoder.publish_output({"type": "note"}, WriteOptions({"run-id": run}))

    for _ in range(2):
        kinds = [event["type"] for event in outputs_of(LED, channel.history)]
        assert kinds == ["start", "step", "note", "start", "step", "note", "note"]
