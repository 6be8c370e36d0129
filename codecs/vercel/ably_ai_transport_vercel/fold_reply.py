"""Folds what a reply is made of, tool calls aside: its frame, text, files, sources and data."""

from collections.abc import Mapping
from typing import TypeAlias, cast

from ably_ai_transport_vercel.projection import Entry, Part, TextBuffer, VercelProjection

Chunk: TypeAlias = Mapping[str, object]


class MadeUpChunk(dict[str, object]):
    """A chunk that the decoder made up for who joined late. It equals the real one."""


def _set_metadata(entry: Entry, chunk: Chunk) -> None:
    if "messageMetadata" in chunk:
        entry.envelope["metadata"] = chunk["messageMetadata"]
        entry.snapshot = None


def fold_start(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A reply begins."""
    entry = projection.ensure(message_id)
    if "messageId" in chunk:
        entry.envelope["id"] = chunk["messageId"]
        entry.snapshot = None
    _set_metadata(entry, chunk)


def fold_metadata(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """New metadata; of no interest without a message."""
    entry = projection.index.get(message_id)
    if entry is not None:
        _set_metadata(entry, chunk)


def fold_start_step(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A step begins.

    A late joiner may get both the real start and one that its decoder made up before it saw the real one.
    In canonical order the real one comes first; the other finds the step open and adds nothing.
    """
    entry = projection.ensure(message_id)
    if entry.in_step and isinstance(chunk, MadeUpChunk):
        return
    entry.in_step = True
    _append(entry, {"type": "step-start"})


def fold_finish_step(projection: VercelProjection, _chunk: Chunk, message_id: str) -> None:
    """A step ends: stream ids may be used again by the next."""
    entry = projection.index.get(message_id)
    if entry is not None:
        entry.in_step = False
        for streams in entry.open.values():
            streams.clear()


def fold_end(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """The reply ends, well or not. How the run ended is for the run to tell."""
    entry = projection.index.get(message_id)
    if entry is not None:
        entry.in_step = False
        if chunk["type"] == "finish":
            _set_metadata(entry, chunk)


def _append(entry: Entry, part: Part | TextBuffer) -> None:
    entry.parts.append(part)
    entry.snapshot = None


_PART_OF = {
    "text-start": "text",
    "text-delta": "text",
    "text-end": "text",
    "reasoning-start": "reasoning",
    "reasoning-delta": "reasoning",
    "reasoning-end": "reasoning",
}


def fold_text_start(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A text or reasoning part begins."""
    entry = projection.ensure(message_id)
    kind = _PART_OF[cast("str", chunk["type"])]
    buffer = entry.open[kind][chunk.get("id")] = TextBuffer(kind)
    _append(entry, buffer)


def fold_text_delta(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A piece of text or reasoning. One without a part to go to is dropped."""
    entry = projection.ensure(message_id)
    buffer = entry.open[_PART_OF[cast("str", chunk["type"])]].get(chunk.get("id"))
    if buffer is not None:
        buffer.chunks.append(cast("str", chunk["delta"]))
        entry.snapshot = None


def fold_text_end(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A text or reasoning part is complete."""
    entry = projection.ensure(message_id)
    entry.open[_PART_OF[cast("str", chunk["type"])]].pop(chunk.get("id"), None)


def pick(values: Mapping[str, object], *keys: str) -> Part:
    """Return the values under some keys, as far as there are any."""
    return {key: values[key] for key in keys if key in values}


def fold_file(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A file."""
    _append(projection.ensure(message_id), pick(chunk, "type", "mediaType", "url"))


def fold_source_url(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A page."""
    _append(projection.ensure(message_id), pick(chunk, "type", "sourceId", "url", "title"))


def fold_source_document(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A document."""
    part = pick(chunk, "type", "sourceId", "mediaType", "title", "filename")
    _append(projection.ensure(message_id), part)


def fold_data(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """Data of the application: a part of its own, or the new content of the one with its type and id."""
    if chunk.get("transient"):
        return
    entry = projection.ensure(message_id)
    part = pick(chunk, "type", "id", "data")
    if "id" in part:
        for index, other in enumerate(entry.parts):
            if isinstance(other, dict) and pick(other, "type", "id") == pick(part, "type", "id"):
                entry.parts[index] = part
                entry.snapshot = None
                return
    _append(entry, part)
