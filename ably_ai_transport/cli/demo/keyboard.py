"""The keyboard: a small line editor, and a terminal that delivers each key at once."""

import asyncio
import codecs
import math
import os
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

import anyio

try:
    import termios
    import tty
except ImportError:  # not a POSIX system
    termios = tty = None  # type: ignore[assignment]

LONGEST_LINE = 2000
_ESCAPE_SECONDS = 0.05
_ESCAPE = "\x1b"


@dataclass(frozen=True, slots=True)
class Submit:
    """A line was finished.

    Attributes:
        text: The line.
    """

    text: str


class Key(Enum):
    """A key without text."""

    ESCAPE = auto()
    QUIT = auto()


Action: TypeAlias = Submit | Key


class LineEditor:
    r"""Edits one line: characters, backspace, Ctrl-W and Ctrl-U; Enter submits, Escape and Ctrl-D act.

    Cursor keys and the like arrive as escape sequences, and are ignored.

    Example:
        >>> editor = LineEditor()
        >>> list(editor.feed("helo\x7flo\r"))
        [Submit(text='hello')]
    """

    def __init__(self) -> None:
        self.text = ""
        self._sequence = ""

    @property
    def is_in_doubt(self) -> bool:
        """Whether the last character is an escape: a key, or the start of a sequence."""
        return self._sequence == _ESCAPE

    def feed(self, data: str) -> Iterator[Action]:
        """Take typed characters.

        Args:
            data: The characters.

        Yields:
            The actions they ask for.
        """
        for character in data:
            if self._sequence:
                yield from self._continue_sequence(character)
            else:
                yield from self._take(character)

    def settle(self) -> Iterator[Action]:
        """Take a pending escape as the key, because nothing followed it.

        Yields:
            The action, if there is one.
        """
        if self.is_in_doubt:
            self._sequence = ""
            yield Key.ESCAPE

    def _take(self, character: str) -> Iterator[Action]:
        match character:
            case "\r" | "\n":
                text, self.text = self.text.strip(), ""
                yield Submit(text)
            case "\x7f" | "\b":
                self.text = self.text[:-1]
            case "\x15":
                self.text = ""
            case "\x17":
                self.text = self.text.rstrip().rpartition(" ")[0]
                self.text += " " if self.text else ""
            case "\x04":
                yield Key.QUIT
            case "\x1b":
                self._sequence = character
            case _:
                if character.isprintable() and len(self.text) < LONGEST_LINE:
                    self.text += character

    def _continue_sequence(self, character: str) -> Iterator[Action]:
        if self._sequence == _ESCAPE:
            if character in "[O":
                self._sequence += character
            else:
                # The Escape key, then another character.
                self._sequence = ""
                yield Key.ESCAPE
                yield from self._take(character)
        elif self._sequence == _ESCAPE + "O" or "@" <= character <= "~":
            self._sequence = ""


def is_supported() -> bool:
    """Return whether this system has POSIX terminals."""
    return termios is not None


@contextmanager
def key_by_key(fd: int) -> Generator[None]:
    """Make a terminal deliver each key at once and without echo, until the block ends.

    Args:
        fd: The terminal.
    """
    if termios is None or tty is None:
        yield
        return
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        mode = termios.tcgetattr(fd)
        # Ctrl-Z would leave the shell with a terminal in this mode.
        mode[6][termios.VSUSP] = b"\0"
        termios.tcsetattr(fd, termios.TCSANOW, mode)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@asynccontextmanager
async def typed(
    fd: int, editor: LineEditor, on_change: Callable[[], object]
) -> AsyncGenerator[AsyncGenerator[Action]]:
    """Read a terminal.

    Args:
        fd: The terminal; in :func:`key_by_key` mode.
        editor: Gets the text.
        on_change: Called when the text may have changed.

    Yields:
        An iterator over actions. It ends when the terminal is gone.
    """
    send, receive = anyio.create_memory_object_stream[str](math.inf)
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            data = os.read(fd, 1024)
        except OSError:
            data = b""
        if data:
            send.send_nowait(decode(data))
        else:
            loop.remove_reader(fd)
            send.close()

    async def actions() -> AsyncGenerator[Action]:
        while True:
            data: str | None = None
            with anyio.move_on_after(_ESCAPE_SECONDS if editor.is_in_doubt else None):
                try:
                    data = await receive.receive()
                except anyio.EndOfStream:
                    return
            found = list(editor.settle() if data is None else editor.feed(data))
            on_change()
            for action in found:
                yield action

    loop.add_reader(fd, read)
    try:
        async with aclosing(actions()) as iterator:
            yield iterator
    finally:
        loop.remove_reader(fd)
        send.close()
        receive.close()
