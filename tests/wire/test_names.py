"""The names on the wire are those of the npm package, letter by letter (``constants.ts`` of 0.8.0)."""

from ably_ai_transport.wire import names

CONSTANTS = {
    "STREAM": "stream",
    "STATUS": "status",
    "STREAM_ID": "stream-id",
    "DISCRETE": "discrete",
    "RUN_ID": "run-id",
    "INVOCATION_ID": "invocation-id",
    "EVENT_ID": "event-id",
    "CODEC_MESSAGE_ID": "codec-message-id",
    "RUN_CLIENT_ID": "run-client-id",
    "INPUT_CLIENT_ID": "input-client-id",
    "ROLE": "role",
    "PARENT": "parent",
    "FORK_OF": "fork-of",
    "MSG_REGENERATE": "msg-regenerate",
    "SUPERSEDES": "supersedes",
    "RUN_REASON": "run-reason",
    "STEP_ID": "step-id",
    "STEP_START_SERIAL": "step-start-serial",
    "STEP_REASON": "step-reason",
    "STEP_CLIENT_ID": "step-client-id",
    "INPUT_CODEC_MESSAGE_ID": "input-codec-message-id",
    "STEER_CODEC_MESSAGE_IDS": "steer-codec-message-ids",
    "ERROR_CODE": "error-code",
    "ERROR_MESSAGE": "error-message",
    "CANCEL": "ai-cancel",
    "RUN_START": "ai-run-start",
    "RUN_SUSPEND": "ai-run-suspend",
    "RUN_RESUME": "ai-run-resume",
    "RUN_END": "ai-run-end",
    "STEP_START": "ai-step-start",
    "STEP_END": "ai-step-end",
    "AI_OUTPUT": "ai-output",
    "AI_INPUT": "ai-input",
}

OWN = {"AGENT_ANNOUNCED": "agent-announced"}
"""Names that the npm package does not have. It ignores headers that it does not know."""


def test_every_name_and_no_other() -> None:
    ours = {key: value for key, value in vars(names).items() if key.isupper() and isinstance(value, str)}
    assert ours == CONSTANTS | OWN


def test_groups_of_lifecycle_names() -> None:
    assert {"ai-run-start", "ai-run-suspend", "ai-run-resume", "ai-run-end"} == names.RUN_LIFECYCLE
    assert {"ai-step-start", "ai-step-end"} == names.STEP_LIFECYCLE
