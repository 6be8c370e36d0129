"""Tools that a side offers."""

from collections.abc import Mapping
from dataclasses import dataclass

from ably_ai_transport_haip.protocol import FinishStatus


@dataclass(frozen=True, slots=True)
class HaipTool:
    """A tool that is offered.

    Attributes:
        name: Its name.
        description: What it does.
        parameters: A JSON schema of what it takes.
        returns: A JSON schema of what it returns.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, object] | None = None
    returns: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class HaipToolCall:
    """A call that was asked for.

    Attributes:
        call_id: The call.
        tool: The tool's name.
        params: What it is called with.
    """

    call_id: str
    tool: str
    params: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class HaipToolResult:
    """What a call brought.

    Attributes:
        call_id: The call.
        status: How it ended.
        result: What it brought.
        error: What went wrong.
    """

    call_id: str
    status: FinishStatus
    result: object = None
    error: str | None = None
