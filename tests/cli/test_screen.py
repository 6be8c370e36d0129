import io

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from ably_ai_transport.cli.demo.conversation import Tail, clean, lines_of, wrap_paragraph
from ably_ai_transport.cli.demo.interactive import prompt
from ably_ai_transport.cli.demo.participant import Utterance
from ably_ai_transport.cli.demo.run import has_screen

QUESTION = Utterance(is_reply=False, text="What is it?")
REPLY = Utterance(is_reply=True, text="It is this.\n\nAnd that.", status="complete")


def drawn(*utterances: Utterance, width: int = 30, height: int = 12) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height)
    options = console.options.update_dimensions(width, height)
    segments = console.render_lines(Tail(utterances), options, pad=False)
    return ["".join(segment.text for segment in line).rstrip() for line in segments][:height]


def trimmed(lines: list[str]) -> list[str]:
    while lines and not lines[-1]:
        lines.pop()
    return lines


def test_a_conversation_with_room_to_spare() -> None:
    assert trimmed(drawn(QUESTION, REPLY)) == [
        "Alice",
        "What is it?",
        "",
        "Agent  ✓ complete",
        "It is this.",
        "",
        "And that.",
    ]


def test_only_the_end_is_drawn_where_room_is_short() -> None:
    assert trimmed(drawn(QUESTION, REPLY, height=6)) == ["Agent  ✓ complete", "It is this.", "", "And that."]
    assert drawn(QUESTION, REPLY, height=4) == ["Agent  ✓ complete", "It is this.", "", "And that."]
    assert drawn(QUESTION, REPLY, height=3) == ["Agent  ✓ complete ⋯", "", "And that."]


@pytest.mark.parametrize("height", range(1, 14))
@pytest.mark.parametrize("width", [8, 24, 60])
def test_it_always_fits(width: int, height: int) -> None:
    reply = Utterance(True, "A long reply with 東京 in it. " * 40, "First a thought.", "active")
    lines = drawn(QUESTION, REPLY, QUESTION, reply, width=width, height=height)
    assert len(lines) <= height
    assert all(cell_len(line) <= width for line in lines)
    if height > 2:
        assert lines[0].startswith("Agent")


def test_the_heading_of_a_long_reply_stays() -> None:
    reply = Utterance(True, "\n".join(f"line {i}" for i in range(100)), status="active")
    assert drawn(reply, height=4) == ["Agent  ● streaming ⋯", "line 97", "line 98", "line 99"]


def test_thinking_is_shown_until_there_is_something_to_say() -> None:
    thinking = Utterance(True, "", "Let me see.", "active")
    assert [line.plain for line in lines_of(thinking, 30)][1:] == ["Let me see."]
    speaking = Utterance(True, "Well.", "Let me see.", "active")
    assert [line.plain for line in lines_of(speaking, 30)][1:] == ["(thought about it)", "Well."]


def test_a_failure_says_why() -> None:
    failed = Utterance(True, "It is", "", "error", "the model went away")
    assert [line.plain for line in lines_of(failed, 30)] == [
        "Agent  ✗ failed",
        "It is",
        "the model went away",
    ]


def test_nothing_reaches_the_terminal_that_it_would_obey() -> None:
    assert clean("a\x1b[31mb\x07\r\x9bc\td\ne") == "a[31mbc    d\ne"


def test_words_stay_whole_where_they_fit() -> None:
    assert wrap_paragraph("one two three", 8) == ("one two", "three")
    assert wrap_paragraph("", 8) == ("",)
    assert "".join(wrap_paragraph("x" * 20, 8)) == "x" * 20


def test_the_prompt_shows_the_end_of_what_is_typed() -> None:
    assert prompt("", Text("Type something."), 80).plain == " Alice > ▌ Type something."
    line = prompt("x" * 50 + " the end", Text("a note"), 40).plain
    assert "a note" not in line
    assert line.endswith(" the end▌")
    assert len(line) <= 40


def test_a_forced_terminal_is_no_screen() -> None:
    assert not has_screen(Console(file=io.StringIO(), force_terminal=True))
