"""Targets: what applications hand to the codecs, and model streams to the adapters."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, Final, cast

from ably_ai_transport_vercel.adapters import to_ui_chunks
from hypothesis import strategies as st

from ably_ai_transport import AITransportError
from ably_ai_transport.codec import EncoderOptions, WriteOptions
from ably_ai_transport.conversation import Tree
from ably_ai_transport.testing import MemoryHub
from ably_ai_transport.wire import InboundMessage
from tests.fuzz.target import Target
from tests.fuzz.values import Json, as_json, changed
from tests.fuzz.vocabularies import CODECS, INPUTS, OUTPUTS, RUN, SHARED, AnyCodec, input_of, output_of


def _take_outputs(name: str, codec: AnyCodec) -> Callable[[list[Any]], object]:
    """An output is published, or refused before anything of it is; what is published can be read."""

    async def run(value: list[Any]) -> None:
        async with _channel() as channel:
            encoder = codec.create_encoder(channel.writer, EncoderOptions(headers=RUN, message_id="a"))
            for output in value:
                try:
                    await encoder.publish_output(output_of(name, output))
                except AITransportError:
                    continue
            await encoder.cancel_streams()
            await encoder.close()
        channel.check_readable(codec)

    return run


def _take_inputs(codec: AnyCodec) -> Callable[[tuple[str, Any]], object]:
    async def run(value: tuple[str, Any]) -> None:
        kind, sample = value
        async with _channel() as channel:
            encoder = codec.create_encoder(channel.writer)
            await encoder.publish_input(input_of(codec, kind, sample), WriteOptions(message_id="u"))
            await encoder.close()
        channel.check_readable(codec)

    return run


class _Channel:
    """A channel in memory, and what a follower of it received."""

    def __init__(self, hub: MemoryHub) -> None:
        self._hub = hub
        self.writer = hub.client("me").open_channel("c")
        self.delivered = list[InboundMessage]()
        self.writer.subscribe(self.delivered.append)

    def check_readable(self, codec: AnyCodec) -> None:
        """Check that followers and late joiners can read what was published."""
        for messages in (self.delivered, self._hub.messages("c")):
            tree = Tree(codec)
            for message in messages:
                tree.apply(message)
                for node in tree.index:
                    codec.get_messages(node.projection)


@asynccontextmanager
async def _channel() -> AsyncGenerator[_Channel]:
    hub = MemoryHub(max_message_size=2**24)
    channel = _Channel(hub)
    await channel.writer.attach()
    try:
        yield channel
        await hub.settle()
    finally:
        channel.writer.release()


def _input_samples(codec: str) -> st.SearchStrategy[tuple[str, Any]]:
    def of(kind: str, samples: Sequence[Any]) -> st.SearchStrategy[tuple[str, Any]]:
        return st.tuples(st.just(kind), changed(samples))

    return st.one_of(*(of(kind, samples) for kind, samples in INPUTS[codec]))


_ANTHROPIC: Final[tuple[Json, ...]] = (
    {"type": "message_start", "message": {"id": "m", "content": [], "usage": {"input_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "thinking", "thinking": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "signature_delta", "signature": "s"}},
    {
        "type": "content_block_start",
        "index": 2,
        "content_block": {"type": "tool_use", "id": "t", "name": "weather", "input": {}},
    },
    {
        "type": "content_block_delta",
        "index": 2,
        "delta": {"type": "input_json_delta", "partial_json": '{"a":'},
    },
    {"type": "content_block_stop", "index": 2},
    {
        "type": "content_block_start",
        "index": 3,
        "content_block": {
            "type": "web_search_tool_result",
            "tool_use_id": "t",
            "content": [{"type": "web_search_result", "url": "u", "title": "t"}],
        },
    },
    {
        "type": "content_block_delta",
        "index": 3,
        "delta": {"type": "citations_delta", "citation": {"type": "char_location", "document_title": "t"}},
    },
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
    {"type": "message_stop"},
    {"type": "ping"},
    {"type": "error", "error": {"type": "overloaded_error", "message": "bad"}},
)


@cache
def _recorded_events(folder: str) -> tuple[Json, ...]:
    """Return one event of each shape from recorded streams; none where there are no recordings."""
    shapes: dict[str, Json] = {}
    for file in sorted((SHARED / "recordings" / folder).glob("*.jsonl")):
        for line in file.read_text("utf-8").splitlines():
            event: Json = json.loads(line)
            inner: Any = event.get("item") or event.get("delta") or event.get("content_block") or {}
            kind = cast("Json", inner).get("type") if isinstance(inner, dict) else ""
            shapes.setdefault(f"{event.get('type')} {kind}", event)
    return tuple(shapes.values())


def _events(samples: Iterable[Json], folder: str) -> st.SearchStrategy[list[Any]]:
    own = tuple(samples)
    return st.deferred(
        lambda: st.lists(
            changed((*own, *_recorded_events(folder)), most=2).map(as_json), min_size=1, max_size=12
        )
    )


def _take_events(provider: Any) -> Callable[[list[Any]], object]:  # noqa: ANN401 - a literal
    """A model's stream is translated or refused, and what it is translated to can be published."""

    async def stream(events: list[Any]) -> AsyncIterator[object]:
        for event in events:
            yield event

    async def run(value: list[Any]) -> None:
        codec = CODECS["vercel"]
        chunks: list[Any] = []
        try:
            async for chunk in to_ui_chunks(stream(value), provider=provider):
                chunks += [chunk]
        except AITransportError:
            pass
        async with _channel() as channel:
            encoder = codec.create_encoder(channel.writer, EncoderOptions(headers=RUN, message_id="a"))
            for chunk in chunks:
                await encoder.publish_output(chunk)
            await encoder.cancel_streams()
            await encoder.close()
        channel.check_readable(codec)

    return run


_refused: Final = (AITransportError,)

TARGETS: Final = (
    *(
        target
        for name, codec in CODECS.items()
        for target in (
            Target(
                f"codec.{name}.outputs",
                st.lists(changed(OUTPUTS[name], most=2), min_size=1, max_size=10),
                _take_outputs(name, codec),
                _refused,
            ),
            Target(f"codec.{name}.inputs", _input_samples(name), _take_inputs(codec), _refused),
        )
    ),
    Target("adapters.openai", _events(OUTPUTS["openai"], "openai-responses"), _take_events("openai")),
    Target("adapters.anthropic", _events(_ANTHROPIC, "anthropic-messages"), _take_events("anthropic")),
)
