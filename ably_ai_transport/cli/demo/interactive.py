"""The demo with a person at the keyboard."""

from collections.abc import AsyncGenerator

import anyio
from rich.console import Console
from rich.text import Text

from ably_ai_transport import AITransportError
from ably_ai_transport.cli.demo.agent import FAILING_QUESTION
from ably_ai_transport.cli.demo.keyboard import Action, Key, LineEditor, Submit, key_by_key, typed
from ably_ai_transport.cli.demo.participant import PATIENCE_SECONDS
from ably_ai_transport.cli.demo.screen import Screen
from ably_ai_transport.cli.demo.stage import Stage
from ably_ai_transport.cli.problems import CliError

_KEYS = (
    ("Enter", "ask"),
    ("Esc", "Bob stops it"),
    ("/join", "Carol comes"),
    ("/error", "it fails"),
    ("/quit", "leave"),
)
_WELCOME = "Type a question and press Enter."


class Interactive:
    """Carries out the commands of the person at the keyboard."""

    def __init__(self, stage: Stage, console: Console) -> None:
        self._stage = stage
        self._console = console
        self._editor = LineEditor()
        self._screen = Screen(stage, console)
        self._note = Text(_WELCOME, "italic")
        self._busy = False

    async def run(self, fd: int) -> None:
        """Run until the person leaves.

        Args:
            fd: The terminal.
        """
        self._redraw()
        with key_by_key(fd):
            async with self._screen.shown(), typed(fd, self._editor, self._redraw) as actions:
                await self._follow(actions)

    async def _follow(self, actions: AsyncGenerator[Action]) -> None:
        async with anyio.create_task_group() as tasks:
            async for action in actions:
                match action:
                    case Key.QUIT | Submit("/quit" | "/exit" | "/q"):
                        break
                    case Key.ESCAPE:
                        tasks.start_soon(self._cancel)
                    case Submit("/join"):
                        tasks.start_soon(self._join)
                    case Submit(""):
                        pass
                    case Submit(text) if text.startswith("/") and text != FAILING_QUESTION:
                        self._say(f"There is no {text}. There are /join, /error and /quit.", "red")
                    case Submit(text):
                        tasks.start_soon(self._ask, text)
            tasks.cancel_scope.cancel()

    async def _ask(self, text: str) -> None:
        run = self._stage.alice.last_run
        if self._busy or (run is not None and run.status == "active"):
            self._say("A reply is on its way; Esc lets Bob stop it.", "yellow")
            return
        self._busy = True
        try:
            self._say("")
            started = await self._stage.ask(text)
            with anyio.fail_after(PATIENCE_SECONDS):
                await started.started
        except TimeoutError:
            self._say("The agent has not started.", "red")
        except (CliError, AITransportError) as error:
            self._say(error.message, "red")
        finally:
            self._busy = False

    async def _cancel(self) -> None:
        run = self._stage.bob.last_run
        if run is None or run.status != "active":
            self._say("There is nothing to stop.", "yellow")
            return
        try:
            await self._stage.bob.session.cancel(run.run_id)
            self._say("Bob pressed stop.")
        except AITransportError as error:
            self._say(error.message, "red")

    async def _join(self) -> None:
        if len(self._stage.people) > 2 or self._busy:
            self._say("Carol is here already.", "yellow")
            return
        self._busy = True
        try:
            carol = await self._stage.join("Carol")
            self._say(f"Carol came late, and has all {len(carol.messages)} messages.")
        except AITransportError as error:
            self._say(error.message, "red")
        finally:
            self._busy = False

    def _say(self, text: str, style: str = "") -> None:
        self._note = Text(text, style or "italic")
        self._redraw()

    def _redraw(self) -> None:
        self._screen.footer = [prompt(self._editor.text, self._note, self._console.width), _keys()]
        self._screen.touch()


def prompt(text: str, note: Text, width: int) -> Text:
    """Draw the input line: its end, if it is longer than the screen.

    Args:
        text: The typed text.
        note: Shown while nothing has been typed.
        width: The width of the screen.

    Returns:
        The line.
    """
    room = max(width - 12, 8)
    shown = text if len(text) <= room else "…" + text[-room + 1 :]
    line = Text.assemble((" Alice > ", "bold cyan"), shown, ("▌", "cyan"), no_wrap=True, overflow="ellipsis")
    if not text:
        line.append(" ").append_text(note)
    return line


def _keys() -> Text:
    line = Text(" ", no_wrap=True, overflow="ellipsis")
    for key, meaning in _KEYS:
        line.append(key, "bold").append(f" {meaning}   ", "dim")
    return line
