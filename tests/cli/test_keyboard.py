import os
from collections.abc import Iterator
from contextlib import suppress

import pytest

from ably_ai_transport.cli.demo.keyboard import (
    LONGEST_LINE,
    Action,
    Key,
    LineEditor,
    Submit,
    key_by_key,
    typed,
)

termios = pytest.importorskip("termios")


def feed(editor: LineEditor, data: str) -> list[Action]:
    return list(editor.feed(data))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("hello", "hello"),
        ("helo\x7flo", "hello"),
        ("hellx\bo", "hello"),
        ("\x7f\x7fhello", "hello"),
        ("goodbye\x15hello", "hello"),
        ("hello world\x17", "hello "),
        ("hello\x17", ""),
        ("grüße 東京 🙂", "grüße 東京 🙂"),
        ("a\tb\x01\x00c", "abc"),
        ("\x1b[Ahel\x1b[1;5Dlo\x1bOP", "hello"),
    ],
)
def test_it_edits_a_line(data: str, text: str) -> None:
    editor = LineEditor()
    assert feed(editor, data) == []
    assert editor.text == text


def test_enter_submits_and_clears() -> None:
    editor = LineEditor()
    assert feed(editor, " one \rtwo\nthree") == [Submit("one"), Submit("two")]
    assert editor.text == "three"


def test_control_d_quits() -> None:
    assert feed(LineEditor(), "half a line\x04") == [Key.QUIT]


def test_a_lone_escape_is_a_key_once_nothing_follows() -> None:
    editor = LineEditor()
    assert feed(editor, "\x1b") == []
    assert editor.is_in_doubt
    assert list(editor.settle()) == [Key.ESCAPE]
    assert not editor.is_in_doubt
    assert list(editor.settle()) == []


def test_an_escape_that_is_cut_in_two_is_a_sequence() -> None:
    editor = LineEditor()
    assert feed(editor, "\x1b") == []
    assert feed(editor, "[A") == []
    assert list(editor.settle()) == []
    assert editor.text == ""


def test_an_escape_before_a_character_is_both() -> None:
    editor = LineEditor()
    assert feed(editor, "\x1bx") == [Key.ESCAPE]
    assert editor.text == "x"


def test_a_line_does_not_grow_for_ever() -> None:
    editor = LineEditor()
    feed(editor, "x" * (LONGEST_LINE + 10))
    assert len(editor.text) == LONGEST_LINE


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    keyboard, terminal = os.openpty()
    yield keyboard, terminal
    for fd in (keyboard, terminal):
        with suppress(OSError):
            os.close(fd)


async def test_keys_come_one_by_one_and_the_terminal_is_restored(terminal: tuple[int, int]) -> None:
    keyboard, fd = terminal
    before = termios.tcgetattr(fd)
    editor, changes = LineEditor(), list[str]()
    with key_by_key(fd):
        assert not termios.tcgetattr(fd)[3] & termios.ICANON
        async with typed(fd, editor, lambda: changes.append(editor.text)) as actions:
            os.write(keyboard, "hi é".encode())
            os.write(keyboard, b"\r")
            assert await anext(actions) == Submit("hi é")
            os.write(keyboard, b"\x1b")
            assert await anext(actions) is Key.ESCAPE
            os.write(keyboard, b"\x04")
            assert await anext(actions) is Key.QUIT
    assert changes
    assert termios.tcgetattr(fd) == before


async def test_it_ends_when_the_terminal_is_gone(terminal: tuple[int, int]) -> None:
    keyboard, fd = terminal
    async with typed(fd, LineEditor(), lambda: None) as actions:
        os.close(keyboard)
        assert [action async for action in actions] == []


def test_the_terminal_is_restored_after_a_failure(terminal: tuple[int, int]) -> None:
    _, fd = terminal
    before = termios.tcgetattr(fd)
    with pytest.raises(RuntimeError), key_by_key(fd):
        raise RuntimeError
    assert termios.tcgetattr(fd) == before
