"""Drawing of a conversation: its end, in lines that fit."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from ably_ai_transport import RunStatus
from ably_ai_transport.cli.demo.participant import Utterance

BADGES: dict[RunStatus, tuple[str, str]] = {
    "active": ("● streaming", "bold yellow"),
    "suspended": ("◌ waiting", "bold blue"),
    "complete": ("✓ complete", "green"),
    "cancelled": ("■ cancelled", "bold magenta"),
    "error": ("✗ failed", "bold red"),
}
"""Label and style of each run status."""

ASKER, REPLIER = "Alice", "Agent"
STYLES = {"Alice": "cyan", "Bob": "magenta", "Carol": "yellow", REPLIER: "green"}
_UNSEEN = {code: "" for code in (*range(32), *range(127, 160)) if code != ord("\n")} | {ord("\t"): "    "}
_measure = Console(width=80, color_system=None)


class Tail:
    """Draws the end of a conversation in the height that there is.

    The heading of a reply that is too long stays on top.

    Args:
        utterances: The conversation, oldest first.
    """

    def __init__(self, utterances: Sequence[Utterance]) -> None:
        self._utterances = utterances

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        height = options.height or 10
        lines: list[Text] = []
        for utterance in reversed(self._utterances):
            block = list(lines_of(utterance, options.max_width))
            room = height - len(lines)
            if len(block) > room:
                if room > 1:
                    lines = [block[0].append(" ⋯", "dim"), *block[1 - room :], *lines]
                break
            lines = [*block, *lines]
            if len(lines) < height:
                lines.insert(0, Text(""))
        yield from lines[1:] if lines and not lines[0].plain else lines


def heading_of(utterance: Utterance) -> Text:
    """Draw the speaker and the status of the run."""
    name = REPLIER if utterance.is_reply else ASKER
    heading = Text(name, f"bold {STYLES[name]}", no_wrap=True, overflow="ellipsis")
    if utterance.status is not None:
        label, style = BADGES[utterance.status]
        heading.append("  ").append(label, style)
    return heading


def lines_of(utterance: Utterance, width: int) -> Iterator[Text]:
    """Break an utterance into lines, the heading first.

    Args:
        utterance: The utterance.
        width: Width of a line, in cells.

    Yields:
        The lines.
    """
    yield heading_of(utterance)
    if utterance.thought:
        if utterance.text:
            yield Text("(thought about it)", "dim italic", no_wrap=True, overflow="ellipsis")
        else:
            yield from (Text(line, "dim italic") for line in _wrapped(utterance.thought, width))
    yield from (Text(line) for line in _wrapped(utterance.text, width))
    yield from (Text(line, "red") for line in _wrapped(utterance.problem, width))


def _wrapped(text: str, width: int) -> Iterator[str]:
    for paragraph in clean(text).split("\n") if text else ():
        yield from wrap_paragraph(paragraph, width)


def clean(text: str) -> str:
    """Remove control characters, which a terminal would obey."""
    return text.translate(_UNSEEN)


@lru_cache(maxsize=2000)
def wrap_paragraph(paragraph: str, width: int) -> tuple[str, ...]:
    """Break a paragraph into lines.

    Args:
        paragraph: The paragraph, without line breaks.
        width: Width of a line, in cells.

    Returns:
        The lines; one empty line for an empty paragraph.
    """
    return tuple(line.plain.rstrip() for line in Text(paragraph).wrap(_measure, max(width, 4))) or ("",)
