"""Projection: the messages of a conversation in HAIP events."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ably_ai_transport_haip.protocol import FinishStatus


@dataclass(frozen=True, slots=True)
class HaipText:
    """A text of a message.

    Attributes:
        message_id: Its id, a UUID.
        text: The text received so far.
        author: The name of the author.
        is_done: Whether the text is complete.
    """

    message_id: str
    text: str = ""
    author: str | None = None
    is_done: bool = False


@dataclass(frozen=True, slots=True)
class HaipToolState:
    """A tool call and its outcome.

    Attributes:
        call_id: The id of the call, a UUID.
        tool: The name of the tool.
        params: The parameters of the call.
        progress: The progress in percent, 0 to 100.
        partial: The latest partial result.
        status: The final status; None while the call runs.
        result: The result, or the error text of a failed call.
    """

    call_id: str
    tool: str = ""
    params: Mapping[str, object] | None = None
    progress: float | None = None
    partial: object = None
    status: FinishStatus | None = None
    result: object = None


@dataclass(frozen=True, slots=True)
class HaipEntry:
    """One message: texts and tool calls of a user or an agent.

    Attributes:
        role: ``user`` or ``agent``.
        texts: The texts, in order.
        tools: The tool calls, in order.
    """

    role: Literal["user", "agent"] = "agent"
    texts: tuple[HaipText, ...] = ()
    tools: tuple[HaipToolState, ...] = ()

    @property
    def text(self) -> str:
        """All texts, joined."""
        return "".join(text.text for text in self.texts)


HaipProjection: TypeAlias = dict[str, HaipEntry]
"""The messages of a conversation, by codec message id, in order."""
