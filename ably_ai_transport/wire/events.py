"""Lifecycle events of runs and steps, read from the wire.

A message that lacks an id which its event needs is ignored, as the npm package does (``headers.ts``). A
reason that this release does not know still ends its run or step; ``RUN_REASONS`` and ``STEP_REASONS`` list
the known ones.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar, Final, Literal, TypeAlias

from ably_ai_transport.wire import names
from ably_ai_transport.wire.errors import AITransportError, ErrorCode, error_of
from ably_ai_transport.wire.headers import RunEndReason, StepEndReason
from ably_ai_transport.wire.messages import Headers, InboundMessage

RUN_REASONS: Final[Mapping[str, RunEndReason]] = MappingProxyType(
    {"complete": "complete", "cancelled": "cancelled", "error": "error"}
)
UNKNOWN_RUN_REASON: Final[RunEndReason] = "cancelled"
"""The reading of any other ``run-reason``: the run stopped, nothing says that it completed or failed."""
STEP_REASONS: Final[Mapping[str, StepEndReason]] = MappingProxyType(
    {"complete": "complete", "failed": "failed", "cancelled": "cancelled"}
)
UNKNOWN_STEP_REASON: Final[StepEndReason] = "failed"
"""The reading of any other ``step-reason``: the attempt ended, nothing says that it completed."""

_DECIMAL: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class _RunEvent:
    """The fields of every event of a run.

    Attributes:
        run_id: The run.
        client_id: The client whose input the run answers, as the agent wrote it.
        invocation_id: The invocation under which the agent published.
        serial: The message's place in the channel's order.
        timestamp: When the server took it, in milliseconds since 1970.
        publisher: The client that published the message, as Ably verified it; None for an anonymous one, and
            in a preview.
    """

    run_id: str
    client_id: str = ""
    invocation_id: str = ""
    serial: str | None = None
    timestamp: int | None = None
    publisher: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class RunStart(_RunEvent):
    """An agent started a run."""

    type: ClassVar[Literal["start"]] = "start"
    parent: str | None = None
    fork_of: str | None = None
    regenerates: str | None = None
    input_codec_message_id: str | None = None
    announced: bool = False


@dataclass(frozen=True, slots=True)
class RunSuspend(_RunEvent):
    """A run paused until somebody answers it."""

    type: ClassVar[Literal["suspend"]] = "suspend"


@dataclass(frozen=True, slots=True)
class RunResume(_RunEvent):
    """A later invocation went on with a suspended run."""

    type: ClassVar[Literal["resume"]] = "resume"
    input_codec_message_id: str | None = None
    announced: bool = False


@dataclass(frozen=True, slots=True)
class RunEnd(_RunEvent):
    """A run ended, for good."""

    type: ClassVar[Literal["end"]] = "end"
    reason: RunEndReason = "complete"
    error: AITransportError | None = None
    message: str | None = None
    """Why it ended, in words for people; an agent need not say so."""


RunLifecycleEvent: TypeAlias = RunStart | RunSuspend | RunResume | RunEnd


@dataclass(frozen=True, slots=True)
class _StepEvent:
    """The fields of every event of a step.

    Attributes:
        run_id: The run.
        step_id: The step; each attempt of it has the same id.
        invocation_id: The invocation under which the agent published.
        run_client_id: The client that began the run, as the agent wrote it.
        input_client_id: The client whose input the step answers, as the agent wrote it.
        step_client_id: The client whose input shapes this attempt, as the agent wrote it.
        serial: The message's place in the channel's order.
        timestamp: When the server took it, in milliseconds since 1970.
    """

    run_id: str
    step_id: str
    invocation_id: str = ""
    run_client_id: str = ""
    input_client_id: str = ""
    step_client_id: str = ""
    serial: str | None = None
    timestamp: int | None = None


@dataclass(frozen=True, slots=True)
class StepStart(_StepEvent):
    """An attempt of a step began. Its own serial is the identity of the attempt."""

    type: ClassVar[Literal["step-start"]] = "step-start"
    announced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnd(_StepEvent):
    """An attempt of a step ended."""

    type: ClassVar[Literal["step-end"]] = "step-end"
    step_start_serial: str
    reason: StepEndReason = "complete"


StepLifecycleEvent: TypeAlias = StepStart | StepEnd


def _number(text: str | None) -> int | None:
    """Read a number as JavaScript's ``Number`` would; None where it is not a finite one."""
    if text is None:
        return None
    digits = text.strip() or "0"
    value = float(digits) if _DECIMAL.fullmatch(digits) else math.nan
    return int(value) if math.isfinite(value) else None


def read_run_end_error(headers: Headers) -> AITransportError:
    """Rebuild the error of a failed run.

    Args:
        headers: Transport headers of its ``ai-run-end``.

    Returns:
        The agent's error; code 104008 and a general message where it sent none.
    """
    code = _number(headers.get(names.ERROR_CODE))
    message = headers.get(names.ERROR_MESSAGE, "agent reported an error")
    return error_of(message, ErrorCode.STREAM_ERROR if code is None else code)


def read_run_lifecycle(message: InboundMessage) -> RunLifecycleEvent | None:
    """Read a run's lifecycle event.

    Args:
        message: Any message of the channel.

    Returns:
        The event; None when the message is of another kind or names no run.
    """
    headers = message.transport_headers
    run_id = headers.get(names.RUN_ID)
    if not run_id:
        return None
    client_id = headers.get(names.RUN_CLIENT_ID, "")
    invocation_id = headers.get(names.INVOCATION_ID, "")
    serial, timestamp, publisher = message.serial, message.timestamp, message.client_id
    match message.name:
        case names.RUN_START:
            return RunStart(
                run_id,
                client_id,
                invocation_id,
                serial,
                timestamp,
                parent=headers.get(names.PARENT),
                fork_of=headers.get(names.FORK_OF),
                regenerates=headers.get(names.MSG_REGENERATE),
                input_codec_message_id=headers.get(names.INPUT_CODEC_MESSAGE_ID),
                publisher=publisher,
                announced=headers.get(names.AGENT_ANNOUNCED) == "true",
            )
        case names.RUN_SUSPEND:
            return RunSuspend(run_id, client_id, invocation_id, serial, timestamp, publisher=publisher)
        case names.RUN_RESUME:
            return RunResume(
                run_id,
                client_id,
                invocation_id,
                serial,
                timestamp,
                publisher=publisher,
                input_codec_message_id=headers.get(names.INPUT_CODEC_MESSAGE_ID),
                announced=headers.get(names.AGENT_ANNOUNCED) == "true",
            )
        case names.RUN_END:
            reason = RUN_REASONS.get(headers.get(names.RUN_REASON, "complete"), UNKNOWN_RUN_REASON)
            error = read_run_end_error(headers) if reason == "error" else None
            said = headers.get(names.ERROR_MESSAGE)
            return RunEnd(
                run_id, client_id, invocation_id, serial, timestamp, reason, error, said, publisher=publisher
            )
        case _:
            return None


def read_step_lifecycle(message: InboundMessage) -> StepLifecycleEvent | None:
    """Read a step's lifecycle event.

    Args:
        message: Any message of the channel.

    Returns:
        The event; None when the message is of another kind, names no run or step, or is an end without
        the attempt that it closes.
    """
    headers = message.transport_headers
    run_id = headers.get(names.RUN_ID)
    step_id = headers.get(names.STEP_ID)
    if not run_id or not step_id:
        return None
    scopes = (
        headers.get(names.INVOCATION_ID, ""),
        headers.get(names.RUN_CLIENT_ID, ""),
        headers.get(names.INPUT_CLIENT_ID, ""),
        headers.get(names.STEP_CLIENT_ID, ""),
    )
    if message.name == names.STEP_START:
        announced = headers.get(names.AGENT_ANNOUNCED) == "true"
        return StepStart(run_id, step_id, *scopes, message.serial, message.timestamp, announced=announced)
    start_serial = headers.get(names.STEP_START_SERIAL)
    if message.name == names.STEP_END and start_serial:
        reason = STEP_REASONS.get(headers.get(names.STEP_REASON, "complete"), UNKNOWN_STEP_REASON)
        return StepEnd(
            run_id,
            step_id,
            *scopes,
            message.serial,
            message.timestamp,
            step_start_serial=start_serial,
            reason=reason,
        )
    return None
