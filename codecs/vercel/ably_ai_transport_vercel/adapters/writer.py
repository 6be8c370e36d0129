"""Reply writer: frames the pieces of a reply of any model."""

from collections.abc import Iterator
from typing import Literal, Protocol, TypeAlias, cast

from ably_ai_transport import AITransportError, ErrorCode
from ably_ai_transport.codec import dump_json, parse_json
from ably_ai_transport_vercel.adapters.reading import Event
from ably_ai_transport_vercel.events import FinishReason, UIMessageChunk

PartKind: TypeAlias = Literal["text", "reasoning"]
Chunks: TypeAlias = Iterator[UIMessageChunk]


class Translator(Protocol):
    """Turns one stream of events into the chunks of one reply."""

    def feed(self, event: Event) -> Chunks:
        """Translate an event to any number of chunks.

        Raises:
            AITransportError: The event says that the model failed (104008), or cannot be read (40003).
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
        self._marks: dict[str, dict[str, object]] = {}
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

    def call(
        self, call_id: str, name: str, *, provider_executed: bool = False, dynamic: bool = False
    ) -> Chunks:
        """Begin a tool call.

        Args:
            call_id: The call.
            name: The tool.
            provider_executed: Whether the provider runs the tool.
            dynamic: Whether the application does not know the tool, as for those of MCP servers.
        """
        yield from self.start()
        if call_id not in self._calls:
            self._calls[call_id] = self._call(call_id, name, provider_executed, dynamic)
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
        dynamic: bool = False,
        metadata: Event | None = None,
    ) -> Chunks:
        """Complete the input of a tool call. The further arguments are those of :meth:`call`."""
        yield from self.start()
        if call_id in self._silent_calls:
            # Peers read a streamed input from its pieces alone.
            yield from self.call_piece(call_id, json_of(value))
        about = self._calls.pop(call_id, None) or self._call(call_id, name, provider_executed, dynamic)
        yield _chunk(
            "tool-input-available", toolCallId=call_id, **about, input=value, providerMetadata=metadata
        )

    def call_text(
        self,
        call_id: str,
        name: str,
        text: str,
        *,
        cut_off: bool = False,
        provider_executed: bool = False,
        dynamic: bool = False,
        metadata: Event | None = None,
    ) -> Chunks:
        """Complete the input of a tool call by its JSON. If that is not whole, the call failed.

        Args:
            call_id: The call.
            name: The tool.
            text: The JSON of the input; empty for none.
            cut_off: Whether the model did not finish the input.
            provider_executed: Whether the provider runs the tool.
            dynamic: Whether the application does not know the tool.
            metadata: The provider's data about the call.
        """
        try:
            value: object = parse_json(text or "{}")
        except ValueError:
            cut_off, value = True, text
        if cut_off:
            yield from self.input_error(
                call_id, name, text, provider_executed=provider_executed, dynamic=dynamic
            )
            return
        yield from self.call_input(
            call_id,
            name,
            value,
            provider_executed=provider_executed,
            dynamic=dynamic,
            metadata=metadata,
        )

    def input_error(
        self, call_id: str, name: str, text: str, *, provider_executed: bool = False, dynamic: bool = False
    ) -> Chunks:
        """End a tool call whose input is not whole: nothing may execute it.

        Args:
            call_id: The call.
            name: The tool.
            text: The input, as far as the model wrote it.
            provider_executed: Whether the provider runs the tool.
            dynamic: Whether the application does not know the tool.
        """
        yield from self.start()
        self._silent_calls.discard(call_id)
        about = self._calls.pop(call_id, None) or self._call(call_id, name, provider_executed, dynamic)
        reason = "the model did not finish it, or wrote no JSON"
        yield _chunk(
            "tool-input-error",
            toolCallId=call_id,
            **about,
            input=text,
            errorText=f"unable to read the input of '{name}'; {reason}",
        )

    def output(
        self,
        call_id: str,
        value: object,
        *,
        provider_executed: bool | None = None,
        preliminary: bool | None = None,
    ) -> Chunks:
        """Add a tool's output.

        Args:
            call_id: The call.
            value: The output.
            provider_executed: Whether the provider ran the tool; None takes it from the call.
            preliminary: True if another output will replace it.
        """
        yield from self.start()
        marks = self._marks_of(call_id, provider_executed)
        yield _chunk(
            "tool-output-available", toolCallId=call_id, output=value, **marks, preliminary=preliminary
        )

    def output_error(self, call_id: str, text: str, *, provider_executed: bool | None = None) -> Chunks:
        """Add a tool's failure. The arguments are those of :meth:`output`."""
        yield from self.start()
        marks = self._marks_of(call_id, provider_executed)
        yield _chunk("tool-output-error", toolCallId=call_id, errorText=text, **marks)

    def approval(self, call_id: str, approval_id: str) -> Chunks:
        """Ask whether a tool may be called."""
        yield _chunk("tool-approval-request", toolCallId=call_id, approvalId=approval_id)

    def source_url(self, url: str, title: str | None) -> Chunks:
        """Add a web page that the reply cites."""
        if url:
            yield from self.start()
            yield _chunk("source-url", sourceId=self._source_id(), url=url, title=title or None)

    def source_document(
        self, title: str, filename: str | None = None, media_type: str = "text/plain"
    ) -> Chunks:
        """Add a document that the reply cites."""
        yield from self.start()
        yield _chunk(
            "source-document",
            sourceId=self._source_id(),
            mediaType=media_type,
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

    def _call(self, call_id: str, name: str, provider_executed: bool, dynamic: bool) -> dict[str, object]:
        marks: dict[str, object] = {}
        if provider_executed:
            marks["providerExecuted"] = True
        if dynamic:
            marks["dynamic"] = True
        self._marks[call_id] = marks
        return {"toolName": name, **marks}

    def _marks_of(self, call_id: str, provider_executed: bool | None) -> dict[str, object]:
        marks = dict(self._marks.get(call_id, {}))
        if provider_executed is not None:
            marks.pop("providerExecuted", None)
        return {**marks, "providerExecuted": True} if provider_executed else marks

    def _source_id(self) -> str:
        self._sources += 1
        return f"source-{self._sources}"


def json_of(value: object) -> str:
    """Return a value of a provider's event as JSON.

    Raises:
        AITransportError: It has no JSON form (40003).
    """
    try:
        return dump_json(value)
    except (TypeError, ValueError) as error:
        raise AITransportError(
            f"unable to read a model's stream; a value has no JSON form: {error}",
            ErrorCode.INVALID_ARGUMENT,
            cause=error,
        ) from error


def _chunk(kind: str, **fields: object) -> UIMessageChunk:
    kept = {key: value for key, value in fields.items() if value is not None or key in ("input", "output")}
    return cast("UIMessageChunk", {"type": kind, **kept})
