"""Tests of folding chunks and inputs into messages."""

from typing import cast

import pytest
from ably_ai_transport_vercel import (
    ForkSeed,
    ToolPart,
    UIMessage,
    UIMessageChunk,
    VercelInput,
    VercelProjection,
    is_tool_part,
)

from ably_ai_transport.codec import FoldMeta, InputEvent, OutputEvent
from tests.support.ui_messages import CODEC, fold_all, shown

Values = dict[str, object]


def chunks(*items: Values) -> list[UIMessageChunk]:
    return cast("list[UIMessageChunk]", items)


def parts_of(projection: VercelProjection, index: int = 0) -> list[Values]:
    return cast("list[Values]", shown(projection)[index]["parts"])


def fold(projection: VercelProjection, *items: Values, message_id: str | None = "m") -> None:
    for item in chunks(*items):
        CODEC.fold(projection, OutputEvent(item), FoldMeta("s", message_id))


def tell(projection: VercelProjection, event: VercelInput, message_id: str | None = "m") -> None:
    CODEC.fold(projection, InputEvent(event), FoldMeta("s", message_id))


CALL: Values = {"type": "tool-input-start", "toolCallId": "c", "toolName": "weather"}
INPUT: Values = {"type": "tool-input-available", "toolCallId": "c", "toolName": "weather", "input": {"x": 1}}
PART: Values = {"type": "tool-weather", "toolCallId": "c", "input": {"x": 1}}


def test_text_and_reasoning_interleave() -> None:
    projection = fold_all(
        chunks(
            {"type": "reasoning-start", "id": "1"},
            {"type": "text-start", "id": "1"},
            {"type": "reasoning-delta", "id": "1", "delta": "hm"},
            {"type": "text-delta", "id": "1", "delta": "a"},
            {"type": "text-end", "id": "1"},
            {"type": "text-delta", "id": "1", "delta": "too late"},
            {"type": "reasoning-delta", "id": "1", "delta": "m"},
        )
    )

    assert parts_of(projection) == [{"type": "reasoning", "text": "hmm"}, {"type": "text", "text": "a"}]


def test_a_new_step_may_use_stream_ids_again() -> None:
    step: tuple[Values, ...] = (
        {"type": "start-step"},
        {"type": "text-start", "id": "0"},
        {"type": "text-delta", "id": "0", "delta": "x"},
    )
    projection = fold_all(chunks(*step, {"type": "finish-step"}, *step))

    assert [part["type"] for part in parts_of(projection)] == ["step-start", "text", "step-start", "text"]


def test_ids_and_metadata_of_a_reply() -> None:
    projection = CODEC.init()
    fold(
        projection,
        {"type": "message-metadata", "messageMetadata": 0},
        {"type": "finish", "messageMetadata": 0},
    )
    assert shown(projection) == []

    fold(projection, {"type": "start"})
    assert shown(projection) == [{"id": "m", "role": "assistant", "parts": []}]

    fold(projection, {"type": "start", "messageId": "own", "messageMetadata": {"a": 1}})
    assert shown(projection) == [{"id": "own", "role": "assistant", "metadata": {"a": 1}, "parts": []}]

    fold(projection, {"type": "message-metadata", "messageMetadata": {"b": 1}})
    assert shown(projection)[0].get("metadata") == {"b": 1}

    fold(projection, {"type": "finish", "messageMetadata": {"c": 1}}, {"type": "finish"})
    assert shown(projection)[0].get("metadata") == {"c": 1}


def test_what_belongs_to_no_message_is_dropped() -> None:
    projection = CODEC.init()

    fold(projection, {"type": "text-start", "id": "1"}, message_id=None)
    fold(
        projection,
        {"type": "abort"},
        {"type": "error", "errorText": "x"},
        {"type": "finish-step"},
        {"type": "custom"},
    )
    fold(projection, {"type": "tool-output-available", "toolCallId": "c", "output": 1})

    assert shown(projection) == []


def test_files_and_sources_are_parts() -> None:
    given: list[Values] = [
        {"type": "file", "mediaType": "a/b", "url": "u"},
        {"type": "source-url", "sourceId": "s", "url": "u"},
        {"type": "source-document", "sourceId": "s", "mediaType": "a/b", "title": "T", "filename": "f"},
    ]
    projection = fold_all(chunks(*({**item, "providerMetadata": {"p": None}} for item in given)))

    assert parts_of(projection) == given


def test_data_replaces_by_type_and_id() -> None:
    projection = fold_all(
        chunks(
            {"type": "data-a", "id": "1", "data": 1},
            {"type": "data-b", "id": "1", "data": 2},
            {"type": "data-a", "data": 3},
            {"type": "data-a", "data": 4},
            {"type": "data-a", "id": "1", "data": 5, "transient": False},
            {"type": "data-a", "id": "1", "data": 6, "transient": True},
        )
    )

    assert parts_of(projection) == [
        {"type": "data-a", "id": "1", "data": 5},
        {"type": "data-b", "id": "1", "data": 2},
        {"type": "data-a", "data": 3},
        {"type": "data-a", "data": 4},
    ]


def test_a_tools_input_shows_as_soon_as_it_is_json() -> None:
    projection = fold_all(chunks(CALL))
    assert parts_of(projection) == [{"type": "tool-weather", "toolCallId": "c", "state": "input-streaming"}]

    fold(projection, {"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": '{"x":'})
    assert "input" not in parts_of(projection)[0]

    fold(projection, {"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": "1}"})
    assert parts_of(projection) == [{**PART, "state": "input-streaming"}]

    fold(projection, INPUT)
    assert parts_of(projection) == [{**PART, "state": "input-available"}]

    fold(projection, {"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": " "})
    assert parts_of(projection) == [{**PART, "state": "input-streaming"}]


def test_a_dynamic_tool_keeps_its_name_and_title() -> None:
    start = {**CALL, "dynamic": True, "title": "Weather", "providerExecuted": True}
    projection = fold_all(
        chunks(start, INPUT, {"type": "tool-output-available", "toolCallId": "c", "output": None})
    )

    assert parts_of(projection) == [
        {
            "type": "dynamic-tool",
            "toolCallId": "c",
            "toolName": "weather",
            "title": "Weather",
            "providerExecuted": True,
            "state": "output-available",
            "input": {"x": 1},
            "output": None,
        }
    ]
    assert is_tool_part(parts_of(projection)[0])
    assert not is_tool_part({"type": "text"})
    assert not is_tool_part("tool-x")


@pytest.mark.parametrize(
    ("item", "after"),
    [
        (
            {"type": "tool-output-available", "output": 1, "preliminary": True},
            {"state": "output-available", "output": 1, "preliminary": True},
        ),
        ({"type": "tool-output-error", "errorText": "e"}, {"state": "output-error", "errorText": "e"}),
        (
            {"type": "tool-output-denied"},
            {"state": "output-denied", "approval": {"id": "", "approved": False}},
        ),
        (
            {"type": "tool-approval-request", "approvalId": "a"},
            {"state": "approval-requested", "approval": {"id": "a"}},
        ),
        (
            {"type": "tool-input-error", "toolName": "weather", "errorText": "e", "input": {"x": 1}},
            {"state": "output-error", "errorText": "e"},
        ),
    ],
)
def test_what_becomes_of_a_tool_call(item: Values, after: Values) -> None:
    projection = fold_all(chunks(CALL, INPUT, {**item, "toolCallId": "c"}))

    assert parts_of(projection) == [{**PART, **after}]


def test_a_final_output_replaces_a_preliminary_one() -> None:
    first: Values = {"type": "tool-output-available", "toolCallId": "c", "output": 1, "preliminary": True}
    projection = fold_all(
        chunks(CALL, INPUT, first, {"type": "tool-output-available", "toolCallId": "c", "output": 2})
    )

    assert parts_of(projection) == [{**PART, "state": "output-available", "output": 2}]


def test_an_input_error_of_an_unknown_call_makes_a_part() -> None:
    error: Values = {"type": "tool-input-error", "toolCallId": "c", "toolName": "weather", "errorText": "e"}
    projection = fold_all(chunks(error))

    assert parts_of(projection) == [
        {"type": "tool-weather", "toolCallId": "c", "state": "output-error", "errorText": "e"}
    ]


def test_an_output_under_another_message_finds_its_call() -> None:
    projection = fold_all(chunks(CALL, INPUT))
    fold(projection, {"type": "tool-output-available", "toolCallId": "c", "output": 1}, message_id="other")

    assert len(shown(projection)) == 1
    assert parts_of(projection)[0]["state"] == "output-available"


@pytest.mark.parametrize(
    "kind", ["tool-input-delta", "tool-input-available", "tool-output-denied", "tool-approval-request"]
)
def test_chunks_of_unknown_calls_change_no_part(kind: str) -> None:
    projection = fold_all(chunks({"type": kind, "toolCallId": "c", "inputTextDelta": "x", "approvalId": "a"}))

    assert parts_of(projection) == []


APPROVED = CODEC.create_tool_approval_response("m", {"toolCallId": "c", "approved": True, "reason": "fine"})
DENIED = CODEC.create_tool_approval_response("m", {"toolCallId": "c", "approved": False})
ASKED: Values = {"type": "tool-approval-request", "toolCallId": "c", "approvalId": "a"}


@pytest.mark.parametrize(
    ("event", "after"),
    [
        (
            CODEC.create_tool_result("m", {"toolCallId": "c", "output": [1]}),
            {"state": "output-available", "output": [1]},
        ),
        (
            CODEC.create_tool_result_error("m", {"toolCallId": "c", "message": "e"}),
            {"state": "output-error", "errorText": "e"},
        ),
        (
            APPROVED,
            {"state": "approval-responded", "approval": {"id": "", "approved": True, "reason": "fine"}},
        ),
        (DENIED, {"state": "output-denied", "approval": {"id": "", "approved": False}}),
    ],
)
def test_clients_answer_before_or_after_the_call_is_seen(event: VercelInput, after: Values) -> None:
    projection = fold_all(chunks(CALL, INPUT))
    tell(projection, event, "answer")
    assert parts_of(projection) == [{**PART, **after}]

    early = CODEC.init()
    tell(early, event, "answer")
    assert shown(early) == []
    fold(early, {"type": "start"})
    fold(early, CALL)
    assert parts_of(early)[0]["state"] == after["state"]


def test_an_approval_keeps_the_id_of_the_request() -> None:
    projection = fold_all(chunks(CALL, INPUT, ASKED))
    tell(projection, APPROVED)

    assert parts_of(projection)[0]["approval"] == {"id": "a", "approved": True, "reason": "fine"}


def test_a_fork_stands_alone_by_its_seed() -> None:
    waiting = cast("ToolPart", {**PART, "state": "input-available"})
    seed: ForkSeed = {
        "messages": [
            {"codecMessageId": "before", "message": {"id": "b", "role": "assistant", "parts": []}},
            {"codecMessageId": "fork", "message": {"id": "o", "role": "assistant", "parts": [waiting]}},
        ]
    }
    result = CODEC.create_tool_result("fork", {"toolCallId": "c", "output": 1, "forkSeed": seed})
    projection = CODEC.init()

    tell(projection, result)
    tell(projection, result)

    assert [item.codec_message_id for item in CODEC.get_messages(projection)] == ["before", "fork"]
    assert parts_of(projection, 1) == [{**PART, "state": "output-available", "output": 1}]
    assert waiting["state"] == "input-available"


def test_user_messages_without_an_id_on_the_channel_stand_for_themselves() -> None:
    projection = CODEC.init()
    event = CODEC.create_user_message({"id": "u", "role": "user", "parts": [{"type": "text", "text": "hi"}]})
    tell(projection, event, None)
    tell(projection, event, None)

    assert [item.codec_message_id for item in CODEC.get_messages(projection)] == ["u", "u"]


def test_a_regenerate_says_nothing() -> None:
    projection = CODEC.init()
    tell(projection, CODEC.create_regenerate("t", "p"))

    assert shown(projection) == []


def test_snapshots_stay_as_they_were() -> None:
    projection = fold_all(
        chunks({"type": "text-start", "id": "1"}, {"type": "text-delta", "id": "1", "delta": "a"}, CALL)
    )
    before = CODEC.get_messages(projection)[0]
    copy = cast("UIMessage", {**before.message, "parts": [dict(part) for part in before.message["parts"]]})

    fold(
        projection,
        {"type": "text-delta", "id": "1", "delta": "b"},
        {"type": "data-x", "data": 1},
        {"type": "start", "messageId": "own", "messageMetadata": 1},
        INPUT,
    )

    assert before.message == copy
    assert parts_of(projection)[0] == {"type": "text", "text": "ab"}


def test_an_unchanged_message_is_the_same_object() -> None:
    projection = fold_all(chunks({"type": "text-start", "id": "1"}), "one")
    fold(projection, {"type": "text-start", "id": "1"}, message_id="two")
    first, second = CODEC.get_messages(projection)

    fold(projection, {"type": "text-delta", "id": "1", "delta": "x"}, message_id="two")
    fold(projection, {"type": "text-end", "id": "1"}, {"type": "error", "errorText": ""}, message_id="one")

    again = CODEC.get_messages(projection)
    assert again[0] is first
    assert again[1] is not second
    assert again[1] is CODEC.get_messages(projection)[1]


def test_a_reader_who_edits_what_it_was_given_does_not_edit_the_projection() -> None:
    projection = fold_all(chunks({"type": "data-x", "id": "1", "data": 1}))
    cast("Values", shown(projection)[0]["parts"][0])["data"] = "edited"

    fold(projection, {"type": "start-step"})

    assert parts_of(projection)[0]["data"] == 1
