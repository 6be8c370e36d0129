"""The inputs that every vocabulary has carry what sessions read from them."""

import copy
import pickle
from dataclasses import FrozenInstanceError

import pytest

from ably_ai_transport.codec.contract import RoutedInput
from ably_ai_transport.codec.inputs import (
    Regenerate,
    ToolApprovalResponse,
    ToolResult,
    ToolResultError,
    UserMessage,
)

PAYLOAD = {"toolCallId": "c1"}
CASES: list[tuple[RoutedInput, str, str | None, str | None, str | None]] = [
    (UserMessage("hi"), "user-message", None, None, None),
    (UserMessage("hi", parent="p", target="t", codec_message_id="m"), "user-message", "p", "t", "m"),
    (Regenerate("t", "p"), "regenerate", "p", "t", None),
    (ToolResult("m", PAYLOAD), "tool-result", None, None, "m"),
    (ToolResultError("m", PAYLOAD), "tool-result-error", None, None, "m"),
    (ToolApprovalResponse("m", PAYLOAD, parent="p"), "tool-approval-response", "p", None, "m"),
]


@pytest.mark.parametrize(("event", "kind", "parent", "target", "codec_message_id"), CASES)
def test_routing_fields(
    event: RoutedInput, kind: str, parent: str | None, target: str | None, codec_message_id: str | None
) -> None:
    assert isinstance(event, RoutedInput)
    assert (event.kind, event.parent, event.target, event.codec_message_id) == (
        kind, parent, target, codec_message_id
    )  # fmt: skip


@pytest.mark.parametrize("event", [case[0] for case in CASES])
def test_inputs_are_values(event: RoutedInput) -> None:
    assert pickle.loads(pickle.dumps(event)) == event == copy.copy(event)  # noqa: S301 - our own bytes
    with pytest.raises(FrozenInstanceError):
        event.kind = "other"  # pyright: ignore[reportAttributeAccessIssue]


def test_kinds_tell_inputs_apart() -> None:
    assert ToolResult("m", PAYLOAD) != ToolResultError("m", PAYLOAD)
    with pytest.raises(TypeError):
        UserMessage("hi", kind="regenerate")  # pyright: ignore[reportCallIssue]
