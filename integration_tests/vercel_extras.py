"""What a Python client does with the helpers of the UI-message codec."""

from collections.abc import Mapping
from typing import Any

import ably_ai_transport_vercel
import pytest

from ably_ai_transport import ClientRun, ClientSession


async def answer_by_fork(
    session: ClientSession[Any, Any, Any, Any], run_id: str, tool_call_id: str, answer: Mapping[str, object]
) -> ClientRun[Any, Any, Any, Any]:
    """Answer a suspended run's tool call in a run of its own."""
    if not hasattr(ably_ai_transport_vercel, "create_tool_result_fork"):
        pytest.xfail("the UI-message codec has no create_tool_result_fork yet")
    raise NotImplementedError(session, run_id, tool_call_id, answer)
