"""Two narrators of the prepared scenes: lines of text, and a screen."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from rich.console import Console
from rich.text import Text

from ably_ai_transport.cli.demo.conversation import BADGES, clean
from ably_ai_transport.cli.demo.participant import Participant
from ably_ai_transport.cli.demo.screen import Screen
from ably_ai_transport.cli.demo.script import Check
from ably_ai_transport.cli.demo.stage import Stage

_LINE_SECONDS = 0.6
_READING_SECONDS = 0.8


class Lines:
    """Prints lines, for files, pipes and build logs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._scenes = 0
        self._begin = time.monotonic()

    def scene(self, title: str) -> None:
        """Announce a scene."""
        self._scenes += 1
        self._console.print(Text(f"\n{self._scenes}. {title}", "bold"))

    def say(self, text: str) -> None:
        """Describe an event."""
        self._console.print(Text(f"  {text}"))

    def check(self, check: Check) -> None:
        """Show the outcome of a check."""
        self._console.print(check_line(check))

    @asynccontextmanager
    async def watching(self, stage: Stage) -> AsyncGenerator[None]:
        """Print at intervals how much of the reply each person has."""
        self._begin = time.monotonic()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._follow, stage)
            yield
            tasks.cancel_scope.cancel()
        self._report(stage)

    async def _follow(self, stage: Stage) -> None:
        while True:
            await anyio.sleep(_LINE_SECONDS)
            self._report(stage)

    def _report(self, stage: Stage) -> None:
        seconds = time.monotonic() - self._begin
        for person in stage.people:
            self._console.print(progress_line(person, seconds, self._console.width))


class OnScreen:
    """Draws a screen with a panel for each person."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.told: list[Text] = []
        self._title = Text("")
        self._note = Text("")
        self._scenes = 0

    def scene(self, title: str) -> None:
        """Announce a scene."""
        self._scenes += 1
        self._title = Text(f" {self._scenes}/3  {title}", "bold", no_wrap=True, overflow="ellipsis")
        self.told.append(Text(f"\n{self._scenes}. {title}", "bold"))
        self.say("")

    def say(self, text: str) -> None:
        """Describe an event."""
        self._note = Text(f"  {text}", no_wrap=True, overflow="ellipsis")
        self._redraw()

    def check(self, check: Check) -> None:
        """Show the outcome of a check."""
        self.told.append(check_line(check))
        self._note = check_line(check)
        self._redraw()

    @asynccontextmanager
    async def watching(self, stage: Stage) -> AsyncGenerator[None]:
        """Pause after the scene."""
        yield
        await anyio.sleep(_READING_SECONDS)

    def _redraw(self) -> None:
        self.screen.footer = [self._title, self._note]
        self.screen.touch()


def check_line(check: Check) -> Text:
    """Draw the outcome of a check."""
    mark, style = ("✓", "green") if check.passed else ("✗", "bold red")
    return Text.assemble((f"  {mark} ", style), check.text, "" if check.passed else (": NO", "bold red"))


def progress_line(person: Participant, seconds: float, width: int) -> Text:
    """Draw how much of the reply a person has."""
    reply = person.reply_text()
    text = " ".join(clean(reply).split())
    run = person.last_run
    status = BADGES[run.status][0] if run is not None else ""
    head = f"  {seconds:4.1f} s  {person.name:<6}{status:<12}{len(reply):>5} characters  "
    room = max(width - len(head) - 1, 10)
    return Text(
        head + (text if len(text) <= room else "…" + text[-room + 1 :]), no_wrap=True, overflow="ellipsis"
    )
