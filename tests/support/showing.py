"""Prints a session's messages and runs as the JS package does."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from ably_ai_transport import AITransportError, CodecMessage, RunInfo

Json: TypeAlias = dict[str, Any]


def show_messages(messages: Iterable[CodecMessage[Mapping[str, Any]]]) -> list[Json]:
    """Return messages with their identity on the channel."""
    return [{"codecMessageId": entry.codec_message_id, "message": entry.message} for entry in messages]


def show_error(error: AITransportError) -> Json:
    """Return an error without its cause."""
    return {"code": error.code, "statusCode": error.status_code, "message": error.message}


def show_run(run: RunInfo) -> Json:
    """Return a run."""
    steps = [
        {
            "stepId": step.step_id,
            "status": step.status,
            "attemptCount": step.attempt_count,
            **({} if step.step_client_id is None else {"stepClientId": step.step_client_id}),
        }
        for step in run.steps
    ]
    shown: Json = {
        "runId": run.run_id,
        "clientId": run.client_id,
        "invocationId": run.invocation_id,
        "steps": steps,
        "status": run.status,
    }
    return shown if run.error is None else {**shown, "error": show_error(run.error)}
