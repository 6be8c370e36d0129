"""Builders of the transport headers of each kind of message.

A value of ``None`` leaves its header off. The npm package's ``headers.ts`` is the source.
"""

from typing import Literal, TypeAlias

from ably_ai_transport.wire import names

RunEndReason: TypeAlias = Literal["complete", "cancelled", "error"]
StepEndReason: TypeAlias = Literal["complete", "failed", "cancelled"]


def _compact(headers: dict[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in headers.items() if value is not None}


def build_transport_headers(
    *,
    role: str,
    codec_message_id: str,
    run_id: str | None = None,
    run_client_id: str | None = None,
    parent: str | None = None,
    fork_of: str | None = None,
    regenerates: str | None = None,
    supersedes: str | None = None,
    invocation_id: str | None = None,
    input_client_id: str | None = None,
    input_codec_message_id: str | None = None,
    input_event_id: str | None = None,
    step_id: str | None = None,
    step_start_serial: str | None = None,
    step_client_id: str | None = None,
) -> dict[str, str]:
    """Build the headers of an input or an output.

    Args:
        role: ``"user"`` or ``"assistant"``.
        codec_message_id: Identity of the conversation message.
        run_id: The run; absent on a fresh input, because the agent mints it.
        run_client_id: The client that owns the run.
        parent: The conversation message before this one on its branch.
        fork_of: The user message that this one replaces (an edit).
        regenerates: The assistant message that the run replaces.
        supersedes: The suspended run that a tool-result fork answers.
        invocation_id: The agent's invocation.
        input_client_id: The client that published the triggering input.
        input_codec_message_id: The triggering input.
        input_event_id: Id of this one event of a send.
        step_id: The step that published an output.
        step_start_serial: Serial of the ``ai-step-start`` of the publishing attempt.
        step_client_id: The client whose input shaped the step.

    Returns:
        The transport tier, in the order in which the JS package writes it.
    """
    return _compact(
        {
            names.ROLE: role,
            names.CODEC_MESSAGE_ID: codec_message_id,
            names.RUN_ID: run_id,
            names.RUN_CLIENT_ID: run_client_id,
            names.PARENT: parent or None,
            names.FORK_OF: fork_of or None,
            names.MSG_REGENERATE: regenerates or None,
            names.SUPERSEDES: supersedes or None,
            names.INVOCATION_ID: invocation_id or None,
            names.INPUT_CLIENT_ID: input_client_id,
            names.INPUT_CODEC_MESSAGE_ID: input_codec_message_id,
            names.EVENT_ID: input_event_id or None,
            names.STEP_ID: step_id,
            names.STEP_START_SERIAL: step_start_serial,
            names.STEP_CLIENT_ID: step_client_id,
        }
    )


def build_run_headers(
    *,
    run_id: str,
    run_client_id: str,
    reason: RunEndReason | None = None,
    parent: str | None = None,
    fork_of: str | None = None,
    regenerates: str | None = None,
    invocation_id: str | None = None,
    input_client_id: str | None = None,
    input_codec_message_id: str | None = None,
    error_code: int | None = None,
    error_message: str | None = None,
    announced: bool = False,
) -> dict[str, str]:
    """Build the headers of a run's lifecycle message.

    Args:
        run_id: The run.
        run_client_id: The client that owns it; empty when unknown.
        reason: Why it ended; on ``ai-run-end`` only.
        parent: The input that it replies to; on ``ai-run-start`` only, like the two below.
        fork_of: The user message that its input replaces.
        regenerates: The assistant message that it replaces.
        invocation_id: The agent's invocation.
        input_client_id: The client that published the triggering input.
        input_codec_message_id: The triggering input.
        error_code: The failure's code, where the run ended in error.
        error_message: The failure in words, where the run ended in error.
        announced: Whether the agent is present on the channel as long as it works on the run.

    Returns:
        The transport tier.
    """
    return _compact(
        {
            names.RUN_ID: run_id,
            names.RUN_CLIENT_ID: run_client_id,
            names.RUN_REASON: reason,
            names.PARENT: parent,
            names.FORK_OF: fork_of,
            names.MSG_REGENERATE: regenerates,
            names.INVOCATION_ID: invocation_id,
            names.INPUT_CLIENT_ID: input_client_id,
            names.INPUT_CODEC_MESSAGE_ID: input_codec_message_id,
            names.ERROR_CODE: None if error_code is None else str(error_code),
            names.ERROR_MESSAGE: error_message,
            names.AGENT_ANNOUNCED: "true" if announced else None,
        }
    )


def build_step_headers(
    *,
    run_id: str,
    step_id: str,
    step_start_serial: str | None = None,
    invocation_id: str | None = None,
    run_client_id: str | None = None,
    input_client_id: str | None = None,
    step_client_id: str | None = None,
    reason: StepEndReason | None = None,
    announced: bool = False,
) -> dict[str, str]:
    """Build the headers of a step's lifecycle message.

    Args:
        run_id: The run.
        step_id: The step; the same on each attempt.
        step_start_serial: Serial of the ``ai-step-start`` that an ``ai-step-end`` closes.
        invocation_id: The agent's invocation.
        run_client_id: The client that owns the run.
        input_client_id: The client that published the triggering input.
        step_client_id: The client whose input shaped the step.
        reason: Why the step ended; on ``ai-step-end`` only.
        announced: As for :func:`build_run_headers`; on ``ai-step-start`` only.

    Returns:
        The transport tier.
    """
    return _compact(
        {
            names.RUN_ID: run_id,
            names.STEP_ID: step_id,
            names.STEP_START_SERIAL: step_start_serial,
            names.INVOCATION_ID: invocation_id,
            names.RUN_CLIENT_ID: run_client_id,
            names.INPUT_CLIENT_ID: input_client_id,
            names.STEP_CLIENT_ID: step_client_id,
            names.STEP_REASON: reason,
            names.AGENT_ANNOUNCED: "true" if announced else None,
        }
    )


def build_cancel_headers(
    *, event_id: str, run_id: str | None = None, input_codec_message_id: str | None = None
) -> dict[str, str]:
    """Build the headers of a cancel request.

    Args:
        event_id: Id of this request.
        run_id: The run to cancel, once it is known.
        input_codec_message_id: The input that triggered the run, if the run id is not known.

    Returns:
        The transport tier.
    """
    return _compact(
        {
            names.EVENT_ID: event_id,
            names.RUN_ID: run_id,
            names.INPUT_CODEC_MESSAGE_ID: input_codec_message_id,
        }
    )
