"""From the events of two model providers to the chunks of a reply."""

from collections.abc import Iterator, Mapping
from typing import Literal, Protocol, TypeAlias, cast

from ably_ai_transport_vercel.chunks import FinishReason, UIMessageChunk

from ably_ai_transport import AITransportError, ErrorCode

Event: TypeAlias = Mapping[str, object]
PartKind: TypeAlias = Literal["text", "reasoning"]


class Translator(Protocol):
    """Turns one stream of events into the chunks of one reply."""

    def feed(self, event: Event) -> Iterator[UIMessageChunk]:
        """Translate an event; most become one chunk, many none.

        Raises:
            AITransportError: The event says that the model failed.
        """
        ...

    def finish(self) -> Iterator[UIMessageChunk]:
        """End what is open, and the reply."""
        ...


class ReplyWriter:
    """Frames the pieces of a reply: a part starts with its first piece and ends once."""

    def __init__(self) -> None:
        self._started = False
        self._open: dict[str, PartKind] = {}
        self.finish_reason: FinishReason = "stop"

    def start(self) -> Iterator[UIMessageChunk]:
        """Begin the reply, once."""
        if not self._started:
            self._started = True
            yield {"type": "start"}
            yield {"type": "start-step"}

    def piece(self, kind: PartKind, part_id: str, text: str) -> Iterator[UIMessageChunk]:
        """Add to a part."""
        if not text:
            return
        yield from self.start()
        if part_id not in self._open:
            self._open[part_id] = kind
            if kind == "text":
                yield {"type": "text-start", "id": part_id}
            else:
                yield {"type": "reasoning-start", "id": part_id}
        if kind == "text":
            yield {"type": "text-delta", "id": part_id, "delta": text}
        else:
            yield {"type": "reasoning-delta", "id": part_id, "delta": text}

    def end(self, part_id: str) -> Iterator[UIMessageChunk]:
        """End a part, where it is open."""
        kind = self._open.pop(part_id, None)
        if kind == "text":
            yield {"type": "text-end", "id": part_id}
        elif kind == "reasoning":
            yield {"type": "reasoning-end", "id": part_id}

    def finish(self) -> Iterator[UIMessageChunk]:
        """End every part, and the reply."""
        yield from self.start()
        for part_id in tuple(self._open):
            yield from self.end(part_id)
        yield {"type": "finish-step"}
        yield {"type": "finish", "finishReason": self.finish_reason}


class ResponsesTranslator:
    """Translates the events of OpenAI's Responses API: text, refusals, and summaries of reasoning.

    Parts go by their place in the output, not by the ids of items, which some gateways change from one event
    to the next.

    Attributes:
        is_finished: Whether the model has said that this was all.
    """

    def __init__(self) -> None:
        self._writer = ReplyWriter()
        self._responses = 0
        self.is_finished = False

    def feed(self, event: Event) -> Iterator[UIMessageChunk]:
        """Translate an event."""
        writer = self._writer
        match event.get("type"):
            case "response.created":
                self._responses += 1
                yield from writer.start()
            case "response.output_text.delta" | "response.refusal.delta":
                yield from writer.piece("text", self._place("text", event), text_at(event, "delta"))
            case "response.output_text.done" | "response.refusal.done":
                yield from writer.end(self._place("text", event))
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                yield from writer.piece("reasoning", self._place("reasoning", event), text_at(event, "delta"))
            case "response.reasoning_summary_text.done" | "response.reasoning_text.done":
                yield from writer.end(self._place("reasoning", event))
            case "response.completed":
                self.is_finished = True
            case "response.incomplete":
                self.is_finished = True
                writer.finish_reason = "length"
            case "response.failed":
                raise model_failed(map_at(map_at(event, "response"), "error"))
            case "error":
                raise model_failed(map_at(event, "error") or event)
            case _:
                pass

    def finish(self) -> Iterator[UIMessageChunk]:
        """End the reply."""
        yield from self._writer.finish()

    def _place(self, kind: PartKind, event: Event) -> str:
        inner = event.get("summary_index", event.get("content_index", 0))
        return f"{kind}-{self._responses}-{event.get('output_index', 0)}-{inner}"


_STOP_REASONS: Mapping[object, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content-filter",
    "tool_use": "tool-calls",
}


class MessagesTranslator:
    """Translates the events of Anthropic's Messages API: text and thinking.

    Several messages, one after the other, become one reply.
    """

    def __init__(self) -> None:
        self._writer = ReplyWriter()
        self._messages = 0

    def feed(self, event: Event) -> Iterator[UIMessageChunk]:
        """Translate an event."""
        writer = self._writer
        part_id = f"block-{self._messages}-{event.get('index', 0)}"
        match event.get("type"):
            case "message_start":
                self._messages += 1
                yield from writer.start()
            case "content_block_start":
                block = map_at(event, "content_block")
                if block.get("type") == "text":
                    yield from writer.piece("text", part_id, text_at(block, "text"))
            case "content_block_delta":
                delta = map_at(event, "delta")
                if delta.get("type") == "text_delta":
                    yield from writer.piece("text", part_id, text_at(delta, "text"))
                elif delta.get("type") == "thinking_delta":
                    yield from writer.piece("reasoning", part_id, text_at(delta, "thinking"))
            case "content_block_stop":
                yield from writer.end(part_id)
            case "message_delta":
                reason = map_at(event, "delta").get("stop_reason")
                writer.finish_reason = _STOP_REASONS.get(reason, "stop")
            case "error":
                raise model_failed(map_at(event, "error"))
            case _:
                pass

    def finish(self) -> Iterator[UIMessageChunk]:
        """End the reply."""
        yield from self._writer.finish()


def model_failed(error: Event) -> AITransportError:
    """Describe a failure that a model reported."""
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
