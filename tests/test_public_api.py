"""The public API: a name more or less is a decision."""

import subprocess
import sys

import pytest

import ably_ai_transport

API = {
    "AITransportError", "AbortSignal", "AgentRun", "AgentSession", "AgentSessionOptions", "BranchHandle",
    "CancelRequest", "CapabilityError", "ChannelClient", "ChannelRefusedError", "ClientRun", "ClientSession",
    "ClientView", "Codec", "CodecMessage", "ConversationNode", "ErrorCode", "InboundMessage", "InputNode",
    "InvalidArgumentError", "Invocation", "InvocationData", "Latch", "MessageAction", "NotAllowedError",
    "NotFoundInTimeError", "OutboundMessage", "OutputFolded", "RateLimitedError", "RunHooks", "RunInfo",
    "RunLostError", "RunNode", "RunPolicy", "RunRequest", "RunStatus", "RunStep", "SessionClosedError",
    "SessionOptions", "SessionTree", "SteerOutcome", "SteerResult", "StepInfo", "StreamResult", "View",
    "Write", "__version__", "error_is", "limit_publish_rate", "page_until_located", "with_agent_session",
    "AblyPool", "client_options", "connect", "set_heartbeat_interval",
    "ConcurrencyPolicy", "DuplicateInvocationError", "RunNotStartedError", "RunRejectedError",
    "RunSteeredError",
}  # fmt: skip

METHODS = {
    "AgentSession": {
        "adopt_run", "connect", "create_run", "detach", "drain", "end", "end_run", "follow_agents", "name",
        "object", "on_agent_gone", "on_error", "open", "presence", "reap", "reap_once", "tree",
    },
    "ClientSession": {
        "cancel", "close", "connect", "create_view", "end_run", "follow_agents", "name", "object",
        "on_agent_gone", "on_error", "presence", "reap", "reap_once", "tree", "view",
    },
    "AgentRun": {
        "create_step", "end", "error", "events", "has_input", "input_codec_message_id", "invocation_id",
        "is_open", "load", "messages", "owner", "phase", "pipe", "policy", "run_id", "start", "status",
        "suspend", "trigger",
    },
    "ClientRun": {
        "cancel", "ended", "error", "input_codec_message_id", "input_event_id", "messages", "run_id",
        "started", "status", "steer", "to_invocation",
    },
    "RunStep": {"abort_signal", "end", "pipe", "send", "start", "step_client_id", "step_id"},
}  # fmt: skip


def test_the_names() -> None:
    assert set(ably_ai_transport.__all__) == API
    assert set(dir(ably_ai_transport)) == API
    for name in API:
        assert getattr(ably_ai_transport, name) is not None


@pytest.mark.parametrize("name", METHODS)
def test_the_members_that_help_shows(name: str) -> None:
    members = {member for member in dir(getattr(ably_ai_transport, name)) if not member.startswith("_")}
    assert members == METHODS[name]


def test_importing_it_imports_neither_pydantic_nor_the_sdk() -> None:
    code = "import sys, ably_ai_transport; print({'pydantic', 'ably', 'httpx'} & set(sys.modules))"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "set()"
