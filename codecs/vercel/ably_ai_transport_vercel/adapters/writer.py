"""Frames the pieces of a reply, whatever model they come from."""

import json
from collections.abc import Iterator, Mapping
from typing import Literal, Protocol, TypeAlias, cast

from ably_ai_transport import AITransportError, ErrorCode
from ably_ai_transport_vercel.events import FinishReason, UIMessageChunk

Event: TypeAlias = Mapping[str, object]
"""An event of a provider's stream, as plain JSON."""
PartKind: TypeAlias = Literal["text", "reasoning"]
Chunks: TypeAlias = Iterator[UIMessageChunk]


class Translator(Protocol):
    """Turns one stream of events into the chunks of one reply."""

    def feed(self, event: Event) -> Chunks:
        """Translate an event; most become one chunk, many none.

        Raises:
            AITransportError: The event says that the model failed (104008).
        """
        ...

    def finish(self) -> Chunks:
        """End what is open, and the reply."""
        ...


class ReplyWriter:
    """Frames the pieces of a reply: a part starts with its first piece and ends once.

    Attributes:
        finish_reason: Why the reply ends; ``other`` until the model has said why.
    """

    def __init__(self) -> None:
        self._started = False
        self._open: dict[str, PartKind] = {}
        self._calls: dict[str, dict[str, object]] = {}
        self._sources = 0
        self.finish_reason: FinishReason = "other"

    def start(self) -> Chunks:
        """Begin the reply, once."""
        if not self._started:
            self._started = True
            yield {"type": "start"}
            yield {"type": "start-step"}

    def open(self, kind: PartKind, part_id: str, metadata: Event | None = None) -> Chunks:
        """Begin a part, where it has not begun."""
        yield from self.start()
        if part_id not in self._open:
            self._open[part_id] = kind
            yield _chunk(f"{kind}-start", id=part_id, providerMetadata=metadata)

    def piece(self, kind: PartKind, part_id: str, text: str) -> Chunks:
        """Add to a part."""
        if text:
            yield from self.open(kind, part_id)
            yield _chunk(f"{kind}-delta", id=part_id, delta=text)

    def end(self, part_id: str, metadata: Event | None = None) -> Chunks:
        """End a part, where it is open."""
        kind = self._open.pop(part_id, None)
        if kind is not None:
            yield _chunk(f"{kind}-end", id=part_id, providerMetadata=metadata)

    def call(self, call_id: str, name: str, *, provider_executed: bool = False) -> Chunks:
        """Begin a tool call."""
        yield from self.start()
        if call_id not in self._calls:
            executed = {"providerExecuted": True} if provider_executed else {}
            self._calls[call_id] = {"toolName": name, **executed}
            yield _chunk("tool-input-start", toolCallId=call_id, **self._calls[call_id])

    def call_piece(self, call_id: str, text: str) -> Chunks:
        """Add to the JSON of a tool's input."""
        if text and call_id in self._calls:
            yield _chunk("tool-input-delta", toolCallId=call_id, inputTextDelta=text)

    def call_input(
        self,
        call_id: str,
        name: str,
        value: object,
        *,
        provider_executed: bool = False,
        metadata: Event | None = None,
    ) -> Chunks:
        """Complete the input of a tool call."""
        yield from self.start()
        known = self._calls.pop(call_id, None)
        executed = {"providerExecuted": True} if provider_executed else {}
        yield _chunk(
            "tool-input-available",
            toolCallId=call_id,
            **(known or {"toolName": name, **executed}),
            input=value,
            providerMetadata=metadata,
        )

    def output(self, call_id: str, value: object) -> Chunks:
        """Bring what a tool of the provider has brought."""
        yield from self.start()
        yield _chunk("tool-output-available", toolCallId=call_id, output=value, providerExecuted=True)

    def output_error(self, call_id: str, text: str) -> Chunks:
        """Bring the failure of a tool of the provider."""
        yield from self.start()
        yield _chunk("tool-output-error", toolCallId=call_id, errorText=text, providerExecuted=True)

    def approval(self, call_id: str, approval_id: str) -> Chunks:
        """Ask whether a tool may be called."""
        yield _chunk("tool-approval-request", toolCallId=call_id, approvalId=approval_id)

    def source_url(self, url: str, title: str | None) -> Chunks:
        """Name a page that the reply goes by."""
        if url:
            yield from self.start()
            yield _chunk("source-url", sourceId=self._source_id(), url=url, title=title or None)

    def source_document(self, title: str, filename: str | None = None) -> Chunks:
        """Name a document that the reply goes by."""
        yield from self.start()
        yield _chunk(
            "source-document",
            sourceId=self._source_id(),
            mediaType="text/plain",
            title=title,
            filename=filename,
        )

    def file(self, media_type: str, base64: str) -> Chunks:
        """Bring a file."""
        yield from self.start()
        yield _chunk("file", mediaType=media_type, url=f"data:{media_type};base64,{base64}")

    def finish(self) -> Chunks:
        """End every part, and the reply."""
        yield from self.start()
        for part_id in tuple(self._open):
            yield from self.end(part_id)
        yield {"type": "finish-step"}
        yield {"type": "finish", "finishReason": self.finish_reason}

    def _source_id(self) -> str:
        self._sources += 1
        return f"source-{self._sources}"


def model_failed(error: Event) -> AITransportError:
    """Describe a failure that a model reported.

    Args:
        error: What it said: ``message``, ``code``.

    Returns:
        The error (104008).
    """
    reason = text_at(error, "message") or text_at(error, "code") or "no reason given"
    return AITransportError(f"unable to answer; the model failed: {reason}", ErrorCode.STREAM_ERROR)


def map_at(event: Event, key: str) -> Event:
    """Return an object inside an event; an empty one where there is none."""
    value = event.get(key)
    return cast("Event", value) if isinstance(value, dict) else {}


def text_at(event: Event, key: str) -> str:
    """Return a text inside an event; an empty one where there is none."""
    value = event.get(key)
    return value if isinstance(value, str) else ""


def maps_at(event: Event, key: str) -> list[Event]:
    """Return the objects of a list inside an event."""
    value = event.get(key)
    listed = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("Event", one) for one in listed if isinstance(one, dict)]


def parsed(text: str) -> object:
    """Return what a JSON text means; the text itself where it is none, nothing given where it is empty."""
    if not text:
        return {}
    try:
        return json.loads(text)
    except ValueError:
        return text


def _chunk(kind: str, **fields: object) -> UIMessageChunk:
    kept = {key: value for key, value in fields.items() if value is not None or key in ("input", "output")}
    return cast("UIMessageChunk", {"type": kind, **kept})
