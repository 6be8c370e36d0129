"""The demo's replies, and the rhythm of their tokens."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Protocol

import anyio
from ably_ai_transport_vercel import UIMessage, UIMessageChunk, text_of

THINKING_SECONDS = 0.3
"""Time before the first token."""
STREAM_SECONDS = 3.4
"""Duration of a reply: long enough to watch, to cancel and to join."""
SLOWEST, FASTEST = 40.0, 260.0
"""Bounds of the rate, in tokens per second."""
_LONG_TOKENS, _LONG_CHARACTERS = 80, 350
# A model's tokens come in bursts. The mean of these factors is one.
_GAPS = (0.4, 1.3, 0.7, 1.9, 0.5, 1.1, 0.3, 2.1, 0.8, 0.9)


class ReplySource(Protocol):
    """A model, or a stand-in for one.

    Attributes:
        label: Its name, for the screen.
        questions: Three questions with long replies.
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
        question: The question that it replies to.
        chunks: Its chunks, from ``start`` to ``finish``.
    """

    question: str
    chunks: tuple[UIMessageChunk, ...]

    @property
    def tokens(self) -> int:
        """Number of text and reasoning deltas."""
        return sum(delta_of(chunk) is not None for chunk in self.chunks)

    @property
    def is_long(self) -> bool:
        """Whether it streams long enough to be cancelled and joined."""
        pieces = [text_delta_of(chunk) for chunk in self.chunks]
        return sum(map(bool, pieces)) >= _LONG_TOKENS and sum(map(len, pieces)) >= _LONG_CHARACTERS


@dataclass(slots=True)
class Playback(ReplySource):
    """Plays known replies in the rhythm of a model.

    A question that is known gets its own reply; any other gets the next one.

    Attributes:
        label: Name of the replies, for the screen.
        replies: The replies; the script asks for the first three.
        speed: Factor by which playback is faster.
        sleep: Waits for a number of seconds.
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
    """Return the text or reasoning delta of a chunk; None for other chunks."""
    if chunk["type"] in ("text-delta", "reasoning-delta"):
        return str(chunk.get("delta", ""))
    return None


def text_delta_of(chunk: UIMessageChunk) -> str:
    """Return the text delta of a chunk; empty for other chunks."""
    return str(chunk.get("delta", "")) if chunk["type"] == "text-delta" else ""
