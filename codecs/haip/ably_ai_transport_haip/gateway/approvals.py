"""Approvals: the mark of a request in HAIP frames, and the answer that it needs.

HAIP has no message for approvals. A request is a ``TOOL_UPDATE`` whose partial result holds the mark. The
answer is a ``TOOL_DONE`` whose result repeats the id of the request, so the result of a tool is never taken
for an approval.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from ably_ai_transport_haip.gateway.vocabulary import Approval
from ably_ai_transport_haip.protocol import FinishStatus, HaipErrorCode, HaipProtocolError

_MARK: Final = "approval"


@dataclass(frozen=True, slots=True)
class Decision:
    """A client's answer to a request for approval.

    Attributes:
        approved: Whether the call may run.
        reason: The reason; None without one.
    """

    approved: bool
    reason: str | None = None


def mark_of(approval: Approval) -> dict[str, object]:
    """Return the mark of a request for approval: the partial result of a ``TOOL_UPDATE``.

    Args:
        approval: The request, and the decision once there is one.

    Returns:
        The mark, a JSON object.

    Example:
        >>> mark_of(Approval("a1"))
        {'approval': {'id': 'a1'}}
    """
    decision = {} if approval.approved is None else {"approved": approval.approved}
    return {_MARK: {"id": approval.id, **decision}}


def read_decision(call_id: str, asked: Approval, status: FinishStatus, result: object) -> Decision:
    """Read a client's answer to a request for approval.

    ``CANCELLED`` denies. ``OK`` decides only with a result that names the request. Any other answer has
    another meaning, such as the result of a tool.

    Args:
        call_id: The call, as the client knows it.
        asked: The request.
        status: The status of the answer.
        result: The result of the answer; any JSON value.

    Returns:
        The decision.

    Raises:
        HaipProtocolError: It is no answer to the request (INVALID_MESSAGE). The request still waits.

    Example:
        >>> read_decision("call", Approval("a1"), "OK", {"approval": {"id": "a1", "approved": True}}).approved
        True
    """
    if status == "CANCELLED":
        return Decision(approved=False, reason=_text(result))
    answer = _mapping(_mapping(result).get(_MARK))
    approved = answer.get("approved")
    if status != "OK" or not isinstance(approved, bool):
        raise _refused(call_id, "it needs an approval")
    if answer.get("id") != asked.id:
        raise _refused(call_id, "it needs another approval")
    return Decision(approved, _text(answer.get("reason")))


def _refused(call_id: str, why: str) -> HaipProtocolError:
    return HaipProtocolError(
        f"unable to answer call {call_id}; {why} (send TOOL_DONE with status OK and the result"
        ' {"approval": {"id": …, "approved": true}} or false, with the id from TOOL_UPDATE)',
        HaipErrorCode.INVALID_MESSAGE,
        {"call_id": call_id},
    )


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
