"""Translates a whole stream of a model provider's package."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from contextlib import aclosing
from typing import Literal, Protocol, TypeAlias, cast, runtime_checkable

from ably_ai_transport import AITransportError, ErrorCode
from ably_ai_transport_vercel.adapters.anthropic_messages import MessagesTranslator
from ably_ai_transport_vercel.adapters.openai_responses import ResponsesTranslator
from ably_ai_transport_vercel.adapters.reading import Event, type_of
from ably_ai_transport_vercel.adapters.writer import Translator
from ably_ai_transport_vercel.events import UIMessageChunk

Provider: TypeAlias = Literal["openai", "anthropic"]

_TRANSLATORS: Mapping[Provider, Callable[[], Translator]] = {
    "openai": ResponsesTranslator,
    "anthropic": MessagesTranslator,
}


@runtime_checkable
class _Model(Protocol):
    """An object of a provider's package: a pydantic model."""

    def model_dump(self, *, mode: str, exclude_unset: bool, warnings: bool) -> dict[str, object]: ...


async def to_ui_chunks(
    stream: AsyncIterable[object], *, provider: Provider | None = None
) -> AsyncGenerator[UIMessageChunk]:
    """Turn a model's stream into the chunks of a reply.

    It carries text, reasoning, tool calls with their growing input, results of the provider's own tools,
    sources and files. An input that is not whole JSON is ``tool-input-error``. A stream that breaks off ends
    with ``finishReason: "other"``. Exceptions of the stream are raised, and so are failures that the model
    reports.

    Args:
        stream: The asynchronous stream of the ``openai`` package's Responses, or of the ``anthropic``
            package's messages; or their events as dicts.
        provider: The provider; detected from the first event if None.

    Yields:
        The chunks, from ``start`` to ``finish``.

    Raises:
        AITransportError: The model failed, or began a message inside another one (104008). The events are of
            no known provider, or have no form that can be read (40003).

    Example:
        >>> stream = await client.messages.create(..., stream=True)  # doctest: +SKIP
        >>> await run.pipe(to_ui_chunks(stream))  # doctest: +SKIP
    """
    translator = None if provider is None else _TRANSLATORS[provider]()
    events = stream.__aiter__()
    if isinstance(events, AsyncGenerator):
        async with aclosing(cast("AsyncGenerator[object]", events)) as closing:
            async for chunk in _translate(closing, translator):
                yield chunk
        return
    async for chunk in _translate(events, translator):
        yield chunk


async def _translate(
    events: AsyncIterable[object], translator: Translator | None
) -> AsyncGenerator[UIMessageChunk]:
    async for raw in events:
        event = _as_json(raw)
        if translator is None:
            translator = _translator_for(event)
        for chunk in translator.feed(event):
            yield chunk
    for chunk in (translator or ResponsesTranslator()).finish():
        yield chunk


def _as_json(event: object) -> Event:
    if isinstance(event, Mapping):
        return cast("Event", event)
    if isinstance(event, _Model):
        try:
            # A gateway's values may not fit the package's types. They are read all the same.
            return event.model_dump(mode="json", exclude_unset=True, warnings=False)
        except Exception as error:  # whatever the package raises
            raise AITransportError(
                f"unable to read a model's stream; {type(event).__name__} has no JSON form",
                ErrorCode.INVALID_ARGUMENT,
                cause=error,
            ) from error
    raise AITransportError(
        f"unable to read a model's stream; {type(event).__name__} is no event", ErrorCode.INVALID_ARGUMENT
    )


def _translator_for(event: Event) -> Translator:
    kind = type_of(event)
    if kind.startswith("response.") or kind == "error":
        return ResponsesTranslator()
    if kind.startswith(("message_", "content_block_")) or kind == "ping":
        return MessagesTranslator()
    raise AITransportError(
        f"unable to read a model's stream; {kind[:100]!r} is an event of no known provider"
        " (pass the stream of OpenAI's Responses or of Anthropic's messages, or name the provider)",
        ErrorCode.INVALID_ARGUMENT,
    )
