import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from ably_ai_transport_vercel import text_message
from ably_ai_transport_vercel.adapters import Event, MessagesTranslator, ResponsesTranslator, Translator

from ably_ai_transport import AITransportError
from ably_ai_transport.cli.demo.built_in import QUESTIONS, built_in_replies, tokens_of
from ably_ai_transport.cli.demo.recordings import beside_the_checkout, read_chunks, read_replies
from ably_ai_transport.cli.demo.replies import Playback, Reply, delta_of, gap_seconds
from ably_ai_transport.cli.demo.run import DemoOptions, choose_replies
from ably_ai_transport.cli.problems import MISUSED, CliError
from tests.cli.chunks import check_reply

WORDS = [f"word{i} " for i in range(120)]


def responses(words: Sequence[str], thoughts: Sequence[str] = ()) -> list[Event]:
    """A stream of OpenAI's Responses API. The ids change from event to event, as some gateways have it."""
    events: list[Event] = [{"type": "response.created", "response": {"id": "r"}}]
    for i, thought in enumerate(thoughts):
        event = {"item_id": f"t{i}", "output_index": 0, "summary_index": 0, "delta": thought}
        events.append({"type": "response.reasoning_summary_text.delta", **event})
    if thoughts:
        events.append(
            {
                "type": "response.reasoning_summary_text.done",
                "output_index": 0,
                "summary_index": 0,
                "text": "",
            }
        )
    for i, word in enumerate(words):
        event = {"item_id": f"m{i}", "output_index": 1, "content_index": 0, "delta": word}
        events.append({"type": "response.output_text.delta", **event})
    events.append({"type": "response.output_text.done", "output_index": 1, "content_index": 0})
    events.append({"type": "response.completed", "response": {"id": "r"}})
    return events


def messages(words: Sequence[str], thoughts: Sequence[str] = ()) -> list[Event]:
    """A stream of Anthropic's Messages API, in two blocks of text."""
    events: list[Event] = [{"type": "message_start", "message": {"id": "m"}}, {"type": "ping"}]
    events.append({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking"}})
    events += [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": thought}}
        for thought in thoughts
    ]
    events.append({"type": "content_block_stop", "index": 0})
    for index, part in ((1, words[:30]), (2, words[30:])):
        block = {"type": "text", "text": ""}
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [
            {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": word}}
            for word in part
        ]
        events.append({"type": "content_block_stop", "index": index})
    events.append({"type": "message_delta", "delta": {"stop_reason": "max_tokens"}})
    events.append({"type": "message_stop"})
    return events


def write(path: Path, events: Sequence[Event]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(event) for event in events) + "\n\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("reply", built_in_replies(), ids=lambda reply: reply.question)
def test_built_in_replies_are_whole(reply: Reply) -> None:
    text = check_reply(reply.chunks)
    assert "  " not in text
    assert "\n\n" in text
    assert reply.is_long
    assert 200 < reply.tokens < 500


def test_tokens_are_the_text() -> None:
    text = "Grüße an alle, 東京 und  überall!\n\nZweiter Absatz (mit Klammern)."
    assert "".join(tokens_of(text)) == text


@pytest.mark.parametrize("stream", [responses, messages])
def test_recordings_become_replies(stream: type, tmp_path: Path) -> None:
    path = write(tmp_path / "one.jsonl", stream(WORDS, ["I ", "think."]))
    chunks = list(read_chunks(path))
    assert check_reply(chunks) == "".join(WORDS)
    thought = "".join(delta_of(chunk) or "" for chunk in chunks if chunk["type"] == "reasoning-delta")
    assert thought == "I think."


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([{"type": "response.completed"}], "stop"),
        ([{"type": "response.incomplete"}], "length"),
    ],
)
def test_why_openai_finished(events: list[Event], reason: str) -> None:
    translator = ResponsesTranslator()
    for event in events:
        assert list(translator.feed(event)) == []
    assert list(translator.finish())[-1] == {"type": "finish", "finishReason": reason}
    assert translator.is_finished


@pytest.mark.parametrize(
    ("reason", "told"), [("end_turn", "stop"), ("max_tokens", "length"), ("tool_use", "tool-calls")]
)
def test_why_anthropic_finished(reason: str, told: str) -> None:
    translator = MessagesTranslator()
    assert list(translator.feed({"type": "message_delta", "delta": {"stop_reason": reason}})) == []
    assert list(translator.finish())[-1] == {"type": "finish", "finishReason": told}


@pytest.mark.parametrize(
    ("translator", "event"),
    [
        (ResponsesTranslator(), {"type": "response.failed", "response": {"error": {"message": "too busy"}}}),
        (ResponsesTranslator(), {"type": "error", "message": "too busy"}),
        (ResponsesTranslator(), {"type": "error", "error": {"code": "too busy"}}),
        (
            MessagesTranslator(),
            {"type": "error", "error": {"type": "overloaded_error", "message": "too busy"}},
        ),
    ],
)
def test_a_failure_of_the_model_is_told(translator: Translator, event: Event) -> None:
    with pytest.raises(AITransportError, match="too busy"):
        list(translator.feed(event))


@pytest.mark.parametrize("stream", [responses, messages])
def test_one_reply_after_the_other_in_one_recording(stream: type, tmp_path: Path) -> None:
    path = write(tmp_path / "two.jsonl", [*stream(WORDS), *stream(WORDS)])
    assert check_reply(read_chunks(path)) == "".join(WORDS * 2)


def test_what_is_no_recording_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "good.jsonl", responses(WORDS))
    write(tmp_path / "deep" / "good.jsonl", messages(WORDS))
    write(tmp_path / "short.jsonl", responses(["Hi"]))
    write(tmp_path / "unknown.jsonl", [{"type": "something.else"}])
    write(tmp_path / "untyped.jsonl", [{"a": 1}])
    write(tmp_path / "failed.jsonl", [*responses(WORDS)[:-1], {"type": "error", "message": "no"}])
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "broken.jsonl").write_text("{")
    (tmp_path / "list.jsonl").write_text("[]\n")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "notes.txt").write_text("nothing")
    assert {reply.question for reply in read_replies(tmp_path)} == {"Replay good", "Replay deep/good"}


async def test_playback_keeps_the_rhythm_and_knows_its_questions() -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    replies = built_in_replies()
    playback = Playback("test", replies, speed=2, sleep=sleep)
    assert tuple(playback.questions) == QUESTIONS
    chunks = [chunk async for chunk in playback.reply([text_message(QUESTIONS[1])])]
    assert chunks == list(replies[1].chunks)
    assert 1.2 < sum(waited) < 2.4
    assert len(waited) == replies[1].tokens + 1


async def test_other_questions_get_one_reply_after_the_other() -> None:
    async def sleep(seconds: float) -> None:
        pass

    replies = built_in_replies()
    playback = Playback("test", replies, sleep=sleep)
    for reply in [*replies, replies[0]]:
        assert [chunk async for chunk in playback.reply([text_message("what?")])] == list(reply.chunks)


def test_short_replies_are_not_too_quick_and_long_ones_not_too_slow() -> None:
    assert gap_seconds(1) == 1 / 40
    assert 3 < gap_seconds(300) * 300 < 4
    assert gap_seconds(100_000) == 1 / 260


def test_the_sources_of_replies_in_their_order(tmp_path: Path) -> None:
    write(tmp_path / "a" / "one.jsonl", responses(WORDS))
    write(tmp_path / "b" / "two.jsonl", responses(WORDS))
    given, named, key = tmp_path / "a", str(tmp_path / "b"), {"OPENAI_API_KEY": "k"}
    by_option = choose_replies(DemoOptions(recordings=given), {"AIT_RECORDINGS": named, **key})
    assert by_option.questions[0] == "Replay one"
    assert (
        choose_replies(DemoOptions(model="m"), {"AIT_RECORDINGS": named, **key}).label == "the model m, live"
    )
    by_environment = choose_replies(DemoOptions(), {"AIT_RECORDINGS": named})
    assert by_environment.questions == ["Replay two", *QUESTIONS[1:]]


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="no recorded model streams") as caught:
        choose_replies(DemoOptions(recordings=tmp_path), {})
    assert caught.value.exit_code == MISUSED
    with pytest.raises(CliError, match="is not a folder"):
        choose_replies(DemoOptions(), {"AIT_RECORDINGS": str(tmp_path / "absent")})


@pytest.mark.skipif(beside_the_checkout() is None, reason="there are no recordings beside this checkout")
def test_the_recordings_beside_the_checkout() -> None:
    folder = beside_the_checkout()
    assert folder is not None
    replies = read_replies(folder)
    assert replies
    for reply in replies:
        check_reply(reply.chunks)
