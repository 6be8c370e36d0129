"""The end of a run by somebody else than its agent."""

from typing import TypeVar, get_args

import anyio

from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation import TERMINAL, RunNode, Tree
from ably_ai_transport.session.base import SessionCore
from ably_ai_transport.session.connection import publish_error
from ably_ai_transport.wire import (
    AITransportError,
    ErrorCode,
    InvalidArgumentError,
    OutboundMessage,
    RunEnd,
    RunEndReason,
    names,
)
from ably_ai_transport.wire.headers import build_run_headers
from ably_ai_transport.wire.messages import ai_extras

T = TypeVar("T")

_ECHO_SECONDS = 5.0
"""How long to wait for the end to come back from the channel, once it is acked."""


async def end_run(
    core: SessionCore[InT, OutT, ProjT, MsgT],
    run_id: str,
    reason: RunEndReason,
    error: AITransportError | None,
) -> None:
    """Publish the end of a run. See :meth:`BaseSession.end_run`."""
    reasons = get_args(RunEndReason)
    if reason not in reasons:
        raise InvalidArgumentError(
            f"unable to end run; reason must be one of {', '.join(reasons)}, got {reason!r}"
        )
    await core.require("end run")
    if run_id in core.held_runs:
        raise InvalidArgumentError(
            f"unable to end run; this session works on {run_id} itself (call end() of the run)"
        )
    tree = core.conversation.tree
    if not _is_known(tree, run_id):
        await core.conversation.read_history(lambda: _is_known(tree, run_id))
    node = tree.get_run_node(run_id)
    if node is None:
        raise InvalidArgumentError(f"unable to end run; {run_id!r} is no run of {core.channel.name}")
    if node.status in TERMINAL:
        raise InvalidArgumentError(f"unable to end run; run {run_id} is already {node.status}")
    told = (error or agent_lost_error()) if reason == "error" else None
    ended = anyio.Event()
    off = core.conversation.subscribe(lambda _: ended.set() if node.status in TERMINAL else None, RunEnd)
    try:
        # The id is the same for all who end the run: the channel takes the first one only.
        message = OutboundMessage(
            names.RUN_END, extras=ai_extras(_headers(tree, node, reason, told)), id=f"{run_id}:reaped"
        )
        try:
            await core.channel.publish([message])
        except AITransportError as refusal:
            raise publish_error(f"end run {run_id}", refusal, ErrorCode.RUN_LIFECYCLE_ERROR) from refusal
        with anyio.move_on_after(_ECHO_SECONDS):
            await ended.wait()
    finally:
        off()
    core.log.info("run-end published for a run without an agent", extra={"run": run_id})


def agent_lost_error() -> AITransportError:
    """Build the error that clients see in a run whose agent is lost."""
    return AITransportError(
        "the agent that worked on this run was lost; its reply is incomplete", ErrorCode.AGENT_LOST
    )


def _is_known(tree: Tree[InT, OutT, ProjT, MsgT], run_id: str) -> bool:
    node = tree.get_run_node(run_id)
    return node is not None and node.started_at is not None


def _headers(
    tree: Tree[InT, OutT, ProjT, MsgT],
    node: RunNode[ProjT],
    reason: RunEndReason,
    error: AITransportError | None,
) -> dict[str, str]:
    """Write the headers that the run's own agent would have written."""
    trigger = node.parent_codec_message_id if node.trigger is None else node.trigger.input_codec_message_id
    sent = None if trigger is None else tree.find_input(trigger)
    return build_run_headers(
        run_id=node.run_id,
        run_client_id=node.client_id,
        reason=reason,
        invocation_id=node.invocation_id if node.claim is None else node.claim.invocation_id,
        input_client_id=None if sent is None else sent.client_id,
        input_codec_message_id=trigger,
        error_code=None if error is None else error.code,
        error_message=None if error is None else error.message,
    )
