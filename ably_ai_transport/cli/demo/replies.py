"""Where the demo's replies come from, and in what rhythm their tokens arrive."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Protocol

import anyio
from ably_ai_transport_vercel import UIMessage, UIMessageChunk, text_of

THINKING_SECONDS = 0.3
"""How long a reply takes to begin."""
STREAM_SECONDS = 3.4
"""How long a reply should be on its way: long enough to watch, to cancel and to join."""
SLOWEST, FASTEST = 40.0, 260.0
"""Tokens a second, whatever the length of the reply."""
_LONG_TOKENS, _LONG_CHARACTERS = 80, 350
# A model's tokens come in small bursts; these gaps have a mean of one.
_GAPS = (0.4, 1.3, 0.7, 1.9, 0.5, 1.1, 0.3, 2.1, 0.8, 0.9)


class ReplySource(Protocol):
    """A model, or what stands in for one.

    Attributes:
        label: What it is, for the person who watches.
        questions: Three questions that it can answer at some length.
    """

    label: str
    questions: Sequence[str]

    def reply(self, conversation: Sequence[UIMessage]) -> AsyncGenerator[UIMessageChunk]:
        """Reply to the last message of a conversation."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that is known in advance.

    Attributes:
        question: What it replies to.
        chunks: Its chunks, from ``start`` to ``finish``.
    """

    question: str
    chunks: tuple[UIMessageChunk, ...]

    @property
    def tokens(self) -> int:
        """How many pieces of text it has."""
        return sum(delta_of(chunk) is not None for chunk in self.chunks)

    @property
    def is_long(self) -> bool:
        """Whether there is time to stop it, and to join while it streams."""
        pieces = [text_delta_of(chunk) for chunk in self.chunks]
        return sum(map(bool, pieces)) >= _LONG_TOKENS and sum(map(len, pieces)) >= _LONG_CHARACTERS


@dataclass(slots=True)
class Playback(ReplySource):
    """Plays known replies in the rhythm of a model.

    A question that is known gets its own reply; any other gets the next one.

    Attributes:
        label: What the replies are.
        replies: The replies; the first three are those that the script asks for.
        speed: How many times faster than usual.
        sleep: Waits.
    """

    label: str
    replies: Sequence[Reply]
    speed: float = 1.0
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    questions: Sequence[str] = field(init=False)
    _others: Iterator[Reply] = field(init=False)

    def __post_init__(self) -> None:
        self.questions = [reply.question for reply in self.replies[:3]]
        self._others = cycle(self.replies)

    async def reply(self, conversation: Sequence[UIMessage]) -> AsyncGenerator[UIMessageChunk]:
        """Play the reply to the last message of a conversation."""
        asked = text_of(conversation[-1]) if conversation else ""
        reply = next((known for known in self.replies if known.question == asked), None)
        if reply is None:
            reply = next(self._others)
        gap = gap_seconds(reply.tokens) / self.speed
        await self.sleep(THINKING_SECONDS / self.speed)
        for i, chunk in enumerate(reply.chunks):
            if delta_of(chunk) is not None:
                await self.sleep(gap * _GAPS[i % len(_GAPS)])
            yield chunk


def gap_seconds(tokens: int) -> float:
    """Return the mean time between the tokens of a reply."""
    return 1 / min(max(tokens / STREAM_SECONDS, SLOWEST), FASTEST)


def delta_of(chunk: UIMessageChunk) -> str | None:
    """Return the piece of text or reasoning that a chunk brings; None where it brings none."""
    if chunk["type"] in ("text-delta", "reasoning-delta"):
        return str(chunk.get("delta", ""))
    return None


def text_delta_of(chunk: UIMessageChunk) -> str:
    """Return the piece of text that a chunk brings; empty where it brings none."""
    return str(chunk.get("delta", "")) if chunk["type"] == "text-delta" else ""
