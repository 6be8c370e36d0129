"""Tools: descriptions, calls and results, as values."""

from collections.abc import Mapping
from dataclasses import dataclass

from ably_ai_transport_haip.protocol import FinishStatus


@dataclass(frozen=True, slots=True)
class HaipTool:
    """The description of a tool.

    Attributes:
        name: The name.
        description: A description for models and people.
        parameters: A JSON schema of the parameters.
        returns: A JSON schema of the result.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, object] | None = None
    returns: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class HaipToolCall:
    """A request to call a tool.

    Attributes:
        call_id: The id of the call, a UUID.
        tool: The name of the tool.
        params: The parameters.
    """

    call_id: str
    tool: str
    params: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class HaipToolResult:
    """The outcome of a tool call.

    Attributes:
        call_id: The id of the call, a UUID.
        status: The final status.
        result: The result; any JSON value.
        error: The error text of a failed call.
    """

    call_id: str
    status: FinishStatus
    result: object = None
    error: str | None = None
