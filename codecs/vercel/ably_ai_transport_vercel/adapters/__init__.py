"""Adapters: the streams of model providers' packages as the chunks of a reply.

Example:
    >>> stream = await client.responses.create(model="gpt-5.5", input=history, stream=True)  # doctest: +SKIP
    >>> await run.pipe(to_ui_chunks(stream))  # doctest: +SKIP
"""

from ably_ai_transport_vercel.adapters.anthropic_messages import MessagesTranslator
from ably_ai_transport_vercel.adapters.openai_responses import ResponsesTranslator
from ably_ai_transport_vercel.adapters.reading import Event, model_failed
from ably_ai_transport_vercel.adapters.streams import to_ui_chunks
from ably_ai_transport_vercel.adapters.writer import ReplyWriter, Translator

__all__ = [
    "Event",
    "MessagesTranslator",
    "ReplyWriter",
    "ResponsesTranslator",
    "Translator",
    "model_failed",
    "to_ui_chunks",
]
