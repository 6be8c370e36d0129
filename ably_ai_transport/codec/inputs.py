"""The inputs of every chat vocabulary. Codecs build their input types from them.

They have the routing fields that sessions read (:class:`~ably_ai_transport.codec.contract.RoutedInput`).
"""

from dataclasses import dataclass, field
from typing import Generic, Literal

from typing_extensions import TypeVar

M_co = TypeVar("M_co", covariant=True)
P_co = TypeVar("P_co", covariant=True)


@dataclass(frozen=True, slots=True)
class UserMessage(Generic[M_co]):
    """A user's new message.

    Attributes:
        message: The message, in the codec's terms.
        parent: The conversation message before it on its branch; None lets the session choose.
        target: A message that it refers to.
        codec_message_id: The existing message that it amends; None for a new one.
    """

    message: M_co
    parent: str | None = None
    target: str | None = None
    codec_message_id: str | None = None
    kind: Literal["user-message"] = field(default="user-message", init=False)


@dataclass(frozen=True, slots=True)
class Regenerate:
    """A request for another reply. The agent's answer forks the conversation.

    Attributes:
        target: The assistant message to replace.
        parent: The user message that the new reply follows.
        codec_message_id: The existing message that it amends; usually None.
    """

    target: str
    parent: str
    codec_message_id: str | None = None
    kind: Literal["regenerate"] = field(default="regenerate", init=False)


@dataclass(frozen=True, slots=True)
class ToolResult(Generic[P_co]):
    """The output of a tool that ran at a client.

    Attributes:
        codec_message_id: The assistant message with the tool call.
        payload: The call and its output, in the codec's terms.
        parent: The conversation message before it on its branch; None lets the session choose.
        target: A message that it refers to.
    """

    codec_message_id: str
    payload: P_co
    parent: str | None = None
    target: str | None = None
    kind: Literal["tool-result"] = field(default="tool-result", init=False)


@dataclass(frozen=True, slots=True)
class ToolResultError(Generic[P_co]):
    """The failure of a tool that ran at a client.

    Attributes:
        codec_message_id: The assistant message with the tool call.
        payload: The call and its failure, in the codec's terms.
        parent: The conversation message before it on its branch; None lets the session choose.
        target: A message that it refers to.
    """

    codec_message_id: str
    payload: P_co
    parent: str | None = None
    target: str | None = None
    kind: Literal["tool-result-error"] = field(default="tool-result-error", init=False)


@dataclass(frozen=True, slots=True)
class ToolApprovalResponse(Generic[P_co]):
    """The decision about a tool call that asked for approval.

    Attributes:
        codec_message_id: The assistant message with the tool call.
        payload: The call and the decision, in the codec's terms.
        parent: The conversation message before it on its branch; None lets the session choose.
        target: A message that it refers to.
    """

    codec_message_id: str
    payload: P_co
    parent: str | None = None
    target: str | None = None
    kind: Literal["tool-approval-response"] = field(default="tool-approval-response", init=False)
