"""Replies from recorded model streams: files with one JSON event a line."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

from ably_ai_transport_vercel import UIMessageChunk
from ably_ai_transport_vercel.adapters import Event, MessagesTranslator, ResponsesTranslator, Translator

from ably_ai_transport import AITransportError
from ably_ai_transport.cli.demo.replies import Reply

FEWEST_TOKENS = 40
"""Shorter replies end before anybody can watch them."""
_IDEAL_TOKENS = 280


def beside_the_checkout() -> Path | None:
    """Return the folder of recordings beside a checkout of this project; None if there is none."""
    checkout = Path(__file__).parents[3]
    folder = checkout.parent / "shared" / "recordings"
    return folder if (checkout / "pyproject.toml").is_file() and folder.is_dir() else None


def read_replies(folder: Path) -> list[Reply]:
    """Read the recordings below a folder, sorted by how well their length suits the demo.

    Files of an unknown kind, and those with too little text, are left out.

    Args:
        folder: The folder.

    Returns:
        The replies.

    Raises:
        OSError: The folder cannot be read.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    replies: list[Reply] = []
    for path in sorted(folder.rglob("*.jsonl")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        with suppress(OSError, ValueError, AITransportError):
            reply = Reply(f"Replay {name}", tuple(read_chunks(path)))
            if reply.tokens >= FEWEST_TOKENS:
                replies.append(reply)
    return sorted(replies, key=lambda reply: abs(reply.tokens - _IDEAL_TOKENS))


def read_chunks(path: Path) -> Iterator[UIMessageChunk]:
    """Translate one recording.

    Args:
        path: The file.

    Yields:
        The chunks of the reply, from ``start`` to ``finish``.

    Raises:
        OSError: The file cannot be read.
        ValueError: A line is not a JSON object, or the events are of an unknown kind.
        AITransportError: The recorded model failed.
    """
    translator: Translator | None = None
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.strip():
                continue
            event = _parse(line)
            translator = translator or _translator_for(event)
            yield from translator.feed(event)
    if translator is None:
        raise ValueError(f"{path.name} holds no events")
    yield from translator.finish()


def _parse(line: str) -> Event:
    event: object = json.loads(line)
    if not isinstance(event, dict):
        raise ValueError("an event is a JSON object")
    return cast("Event", event)


def _translator_for(event: Event) -> Translator:
    kind = event.get("type")
    if not isinstance(kind, str):
        raise ValueError("an event has a type")
    if kind.startswith("response."):
        return ResponsesTranslator()
    if kind.startswith(("message_", "content_block_")) or kind == "ping":
        return MessagesTranslator()
    raise ValueError(f"{kind!r} is not an event of a known model API")
