"""Reply writer: frames the pieces of a reply of any model."""

import json
from collections.abc import Iterator, Mapping
from typing import Literal, Protocol, TypeAlias, cast

from ably_ai_transport import AITransportError, ErrorCode
from ably_ai_transport.codec import dump_json
from ably_ai_transport_vercel.events import FinishReason, UIMessageChunk

Event: TypeAlias = Mapping[str, object]
"""An event of a provider's stream, as plain JSON."""
PartKind: TypeAlias = Literal["text", "reasoning"]
Chunks: TypeAlias = Iterator[UIMessageChunk]


class Translator(Protocol):
    """Turns one stream of events into the chunks of one reply."""

    def feed(self, event: Event) -> Chunks:
        """Translate an event to any number of chunks.

        Raises:
            AITransportError: The event says that the model failed (104008).
        """
        ...

    def finish(self) -> Chunks:
        """End the open parts, and the reply."""
        ...


class ReplyWriter:
    """Frames the pieces of a reply: a part starts with its first piece and ends once.

    Attributes:
        finish_reason: The finish reason; ``other`` until the model gives one.
    """

    def __init__(self) -> None:
        self._started = False
        self._open: dict[str, PartKind] = {}
        self._calls: dict[str, dict[str, object]] = {}
        self._silent_calls: set[str] = set()
        self._executed: set[str] = set()
        self._sources = 0
        self.finish_reason: FinishReason = "other"

    def start(self) -> Chunks:
        """Begin the reply, once."""
        if not self._started:
            self._started = True
            yield {"type": "start"}
            yield {"type": "start-step"}

    def open(self, kind: PartKind, part_id: str, metadata: Event | None = None) -> Chunks:
        """Begin a part, unless it has begun."""
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
        """End a part if it is open."""
        kind = self._open.pop(part_id, None)
        if kind is not None:
            yield _chunk(f"{kind}-end", id=part_id, providerMetadata=metadata)

    def call(self, call_id: str, name: str, *, provider_executed: bool = False) -> Chunks:
        """Begin a tool call."""
        yield from self.start()
        if call_id not in self._calls:
            self._calls[call_id] = {"toolName": name, **self._note_executor(call_id, provider_executed)}
            self._silent_calls.add(call_id)
            yield _chunk("tool-input-start", toolCallId=call_id, **self._calls[call_id])

    def call_piece(self, call_id: str, text: str) -> Chunks:
        """Add to the JSON of a tool's input."""
        if text and call_id in self._calls:
            self._silent_calls.discard(call_id)
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
        known = self._calls.get(call_id)
        if call_id in self._silent_calls:
            # Peers read a streamed input from its pieces alone.
            yield from self.call_piece(call_id, dump_json(value))
        self._calls.pop(call_id, None)
        yield _chunk(
            "tool-input-available",
            toolCallId=call_id,
            **(known or {"toolName": name, **self._note_executor(call_id, provider_executed)}),
            input=value,
            providerMetadata=metadata,
        )

    def output(self, call_id: str, value: object, *, provider_executed: bool | None = None) -> Chunks:
        """Add a tool's output.

        Args:
            call_id: The call.
            value: The output.
            provider_executed: Whether the provider ran the tool; None takes it from the call.
        """
        yield from self.start()
        executed = self._executor(call_id, provider_executed)
        yield _chunk("tool-output-available", toolCallId=call_id, output=value, **executed)

    def output_error(self, call_id: str, text: str, *, provider_executed: bool | None = None) -> Chunks:
        """Add a tool's failure. The arguments are those of :meth:`output`."""
        yield from self.start()
        executed = self._executor(call_id, provider_executed)
        yield _chunk("tool-output-error", toolCallId=call_id, errorText=text, **executed)

    def approval(self, call_id: str, approval_id: str) -> Chunks:
        """Ask whether a tool may be called."""
        yield _chunk("tool-approval-request", toolCallId=call_id, approvalId=approval_id)

    def source_url(self, url: str, title: str | None) -> Chunks:
        """Add a web page that the reply cites."""
        if url:
            yield from self.start()
            yield _chunk("source-url", sourceId=self._source_id(), url=url, title=title or None)

    def source_document(self, title: str, filename: str | None = None) -> Chunks:
        """Add a document that the reply cites."""
        yield from self.start()
        yield _chunk(
            "source-document",
            sourceId=self._source_id(),
            mediaType="text/plain",
            title=title,
            filename=filename,
        )

    def file(self, media_type: str, base64: str) -> Chunks:
        """Add a file."""
        yield from self.start()
        yield _chunk("file", mediaType=media_type, url=f"data:{media_type};base64,{base64}")

    def finish(self) -> Chunks:
        """End every part, and the reply."""
        yield from self.start()
        for part_id in tuple(self._open):
            yield from self.end(part_id)
        yield {"type": "finish-step"}
        yield {"type": "finish", "finishReason": self.finish_reason}

    def _note_executor(self, call_id: str, provider_executed: bool) -> dict[str, object]:
        if provider_executed:
            self._executed.add(call_id)
        return self._executor(call_id, provider_executed)

    def _executor(self, call_id: str, provider_executed: bool | None) -> dict[str, object]:
        executed = call_id in self._executed if provider_executed is None else provider_executed
        return {"providerExecuted": True} if executed else {}

    def _source_id(self) -> str:
        self._sources += 1
        return f"source-{self._sources}"


def model_failed(error: Event) -> AITransportError:
    """Build the error for a failure that a model reported.

    Args:
        error: Its ``message`` and ``code``.

    Returns:
        The error (104008).
    """
    reason = text_at(error, "message") or text_at(error, "code") or "no reason given"
    return AITransportError(f"unable to answer; the model failed: {reason}", ErrorCode.STREAM_ERROR)


def map_at(event: Event, key: str) -> Event:
    """Return an object inside an event; an empty one if there is none."""
    value = event.get(key)
    return cast("Event", value) if isinstance(value, dict) else {}


def text_at(event: Event, key: str) -> str:
    """Return a text inside an event; an empty one if there is none."""
    value = event.get(key)
    return value if isinstance(value, str) else ""


def maps_at(event: Event, key: str) -> list[Event]:
    """Return the objects of a list inside an event."""
    value = event.get(key)
    listed = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("Event", one) for one in listed if isinstance(one, dict)]


def parsed(text: str) -> object:
    """Return the value of a JSON text: the text itself if it is not JSON, ``{}`` if it is empty."""
    if not text:
        return {}
    try:
        return json.loads(text)
    except ValueError:
        return text


def _chunk(kind: str, **fields: object) -> UIMessageChunk:
    kept = {key: value for key, value in fields.items() if value is not None or key in ("input", "output")}
    return cast("UIMessageChunk", {"type": kind, **kept})
