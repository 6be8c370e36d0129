"""Recordings of the protocol, and the reader of their files."""

import pytest

from ably_ai_transport.wire import InboundMessage, MessageAction
from tests.support import transcripts
from tests.support.transcripts import Connected, Delivered, HistoryFetched

pytestmark = pytest.mark.skipif(not transcripts.FOLDER.exists(), reason="no recorded conversations here")

CONVERSATIONS = transcripts.scenarios("ait-")


@pytest.fixture(scope="module", params=CONVERSATIONS)
def transcript(request: pytest.FixtureRequest) -> transcripts.Transcript:
    return transcripts.load(request.param)


def test_everyone_who_showed_something_took_part(transcript: transcripts.Transcript) -> None:
    shown = {name.partition("_")[0] for name in transcript.expected}

    assert shown <= set(transcript.participants)


def test_everyone_connects_and_attaches_before_anything_is_delivered(
    transcript: transcripts.Transcript,
) -> None:
    for participant in transcript.participants.values():
        kinds = [type(event).__name__ for event in participant.events]
        assert isinstance(participant.events[0], Connected)
        if "Delivered" in kinds:
            assert kinds.index("Attached") < kinds.index("Delivered")


def test_versions_ascend_on_a_live_connection(transcript: transcripts.Transcript) -> None:
    for participant in transcript.participants.values():
        seen: dict[str, str] = {}
        for event in participant.events:
            if isinstance(event, Connected):
                seen = {}
            if not isinstance(event, Delivered):
                continue
            for message in event.messages:
                assert message.serial is not None
                assert message.version is not None
                assert message.version > seen.get(message.serial, "")
                seen[message.serial] = message.version


def test_every_publish_has_its_answer(transcript: transcripts.Transcript) -> None:
    for participant in transcript.participants.values():
        for published in participant.published:
            answer = published.answer
            assert answer is not None
            if isinstance(answer, tuple):
                assert len(answer) == len(published.messages)


def test_a_publisher_hears_itself_under_the_serials_of_the_answers(
    transcript: transcripts.Transcript,
) -> None:
    client = transcript.participants["client"]
    heard = {message.serial for message in client.delivered}

    for published in client.published:
        if published.action is MessageAction.CREATE and isinstance(published.answer, tuple):
            assert set(published.answer) <= heard


def test_history_is_the_newest_first_and_shows_the_text_that_was_streamed(
    transcript: transcripts.Transcript,
) -> None:
    for participant in transcript.participants.values():
        for walk in participant.walks():
            serials = [message.serial or "" for message in walk]
            assert serials == sorted(serials, reverse=True)
        for event in participant.events:
            if isinstance(event, HistoryFetched):
                assert len(event.items) <= event.limit
                assert all(message.action is not MessageAction.APPEND for message in event.items)


def test_live_text_equals_the_text_in_history_at_the_same_version(
    transcript: transcripts.Transcript,
) -> None:
    compared = 0
    stored = {
        (message.serial, message.version): message.data
        for participant in transcript.participants.values()
        for walk in participant.walks()
        for message in walk
    }
    for participant in transcript.participants.values():
        texts: dict[str, str] = {}
        for message in participant.delivered:
            text = _text_after(texts, message)
            if (message.serial, message.version) in stored and isinstance(text, str):
                expected = stored[message.serial, message.version]
                assert text == ("" if expected is None else expected)
                compared += 1
    assert compared or not stored


def _text_after(texts: dict[str, str], message: InboundMessage) -> str | None:
    if not isinstance(message.data, str | None):
        return None
    serial = message.serial or ""
    data = message.data or ""
    texts[serial] = texts.get(serial, "") + data if message.action is MessageAction.APPEND else data
    return texts[serial]


@pytest.mark.parametrize(
    ("json_recording", "binary_recording"),
    [("ablyjs-basic-json", "ablyjs-basic-msgpack"), ("ablypython-basic-json", "ablypython-basic-msgpack")],
)
def test_both_wire_formats_decode_to_the_same_values(json_recording: str, binary_recording: str) -> None:
    of_json = transcripts.load(json_recording)
    of_msgpack = transcripts.load(binary_recording)

    for name in ("sub", "pub"):
        first, second = of_json.participants[name], of_msgpack.participants[name]
        assert [(m.action, m.name, m.data) for m in first.delivered] == [
            (m.action, m.name, m.data) for m in second.delivered
        ]
        assert [(p.action, [m.data for m in p.messages]) for p in first.published] == [
            (p.action, [m.data for m in p.messages]) for p in second.published
        ]
