"""The screen: a panel for each person, the figures, and the input line."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from rich import box
from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from ably_ai_transport.cli.demo.conversation import BADGES, STYLES, Tail
from ably_ai_transport.cli.demo.participant import Participant
from ably_ai_transport.cli.demo.stage import Stage

FRAME_SECONDS = 1 / 20
_IDLE_FRAMES = 10
"""Frames between redraws without a change: figures settle, windows are resized."""
_HINTS = {
    "Alice": "This is Alice's device. Her questions are published on a channel, and an HTTP request "
    "wakes the agent.",
    "Bob": "This is Bob's device. Replies grow here as they grow at Alice's, and he can stop them. Carol may "
    "join later, and misses nothing.",
}
_ROLES = {"Alice": "asks", "Bob": "looks on", "Carol": "came late"}


class Screen:
    """Draws a stage.

    Attributes:
        footer: One or two lines below the figures.
    """

    def __init__(self, stage: Stage, console: Console) -> None:
        self.footer: list[Text] = []
        self._stage = stage
        self._console = console
        self._changed = True

    def touch(self) -> None:
        """Request a redraw."""
        self._changed = True

    def __rich__(self) -> RenderableType:
        """Draw it."""
        footer = [self._figures(), *self.footer]
        root = Layout()
        people = Layout(ratio=1)
        root.split_column(Layout(self._title(), size=1), people, Layout(Group(*footer), size=len(footer)))
        people.split_row(*(Layout(panel_of(person)) for person in self._stage.people))
        return root

    @asynccontextmanager
    async def shown(self) -> AsyncGenerator[None]:
        """Take over the terminal while the block runs."""
        with Live(self, console=self._console, screen=True, auto_refresh=False, transient=True) as live:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._keep_drawn, live)
                yield
                tasks.cancel_scope.cancel()

    async def _keep_drawn(self, live: Live) -> None:
        seen = -1
        idle = 0
        while True:
            revision = sum(person.revision for person in self._stage.people)
            idle += 1
            if self._changed or revision != seen or idle >= _IDLE_FRAMES:
                self._changed, seen, idle = False, revision, 0
                live.update(self, refresh=True)
            await anyio.sleep(FRAME_SECONDS)

    def _title(self) -> Text:
        return Text.assemble(
            (" ably-ai-transport ", "bold reverse"),
            (f"  one conversation on several devices · {self._stage.source.label}", "dim"),
            no_wrap=True,
            overflow="ellipsis",
        )

    def _figures(self) -> Text:
        figures = self._stage.figures.line(self._console.width - 2)
        return Text(f" {figures}", "dim", no_wrap=True, overflow="ellipsis")


def panel_of(person: Participant) -> Panel:
    """Draw a person's view."""
    colour = STYLES.get(person.name, "white")
    title = Text.assemble((person.name, f"bold {colour}"), (f" {_ROLES.get(person.name, '')}", "dim"))
    run = person.last_run
    subtitle = None
    if run is not None:
        subtitle = Text.assemble((f"{len(person.reply_text()):,} characters ", "dim"), BADGES[run.status])
    said = person.utterances()
    return Panel(
        Tail(said) if said else Text(_HINTS.get(person.name, ""), "dim italic"),
        title=title,
        title_align="left",
        subtitle=subtitle,
        subtitle_align="right",
        border_style=colour,
        box=box.ROUNDED,
        padding=(0, 1),
    )
