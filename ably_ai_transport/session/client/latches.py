"""Latches of the runs that a client waits for: started, and ended."""

from dataclasses import dataclass, field
from typing import Generic

from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.session.conversation import Change, LiveConversation
from ably_ai_transport.session.signals import Latch
from ably_ai_transport.wire import (
    AITransportError,
    RunEnd,
    RunEndReason,
    RunResume,
    RunStart,
    names,
)
from ably_ai_transport.wire.messages import NO_HEADERS

_TERMINAL: dict[str, RunEndReason] = {"complete": "complete", "cancelled": "cancelled", "error": "error"}


@dataclass(slots=True, eq=False)
class RunProgress:
    """The progress of a run that a client requested.

    Attributes:
        input_codec_message_id: The message that triggers it.
        input_event_id: The event that the agent looks for.
        asked_run_id: The run that the input goes on with, if it names one.
        run_id: The run; empty until an agent has taken it up.
        started: Settles when an agent has taken the run up.
        ended: Settles with the reason for the end of the run.
    """

    input_codec_message_id: str
    input_event_id: str
    asked_run_id: str | None = None
    run_id: str = ""
    started: Latch[None] = field(default_factory=Latch[None])
    ended: Latch[RunEndReason] = field(default_factory=Latch[RunEndReason])


class RunLatches(Generic[InT, OutT, ProjT, MsgT]):
    """Settles the latches of runs from what arrives, live or out of history.

    Args:
        conversation: The conversation.
    """

    def __init__(self, conversation: LiveConversation[InT, OutT, ProjT, MsgT]) -> None:
        self._conversation = conversation
        self._awaited: dict[str, list[RunProgress]] = {}
        self._running: dict[str, list[RunProgress]] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether a run is waited for that has not ended."""
        return bool(self._awaited or self._running)

    def expect(self, progress: RunProgress) -> None:
        """Wait for a run that an input triggers."""
        self._awaited.setdefault(progress.input_codec_message_id, []).append(progress)

    def withdraw(self, progress: RunProgress) -> None:
        """Wait no longer: the input could not be published."""
        waiting = [
            one for one in self._awaited.pop(progress.input_codec_message_id, ()) if one is not progress
        ]
        if waiting:
            self._awaited[progress.input_codec_message_id] = waiting

    def is_running(self, run_id: str) -> bool:
        """Tell whether the end of a run is waited for."""
        return run_id in self._running

    def on_change(self, change: Change[InT, OutT]) -> None:
        """Follow the conversation."""
        event = change.event
        if not isinstance(event, RunStart | RunResume | RunEnd):
            return
        headers = NO_HEADERS if change.message is None else change.message.transport_headers
        trigger = headers.get(names.INPUT_CODEC_MESSAGE_ID)
        for run in () if trigger is None else self._awaited.pop(trigger, ()):
            run.run_id = event.run_id
            run.started.resolve(None)
            self._running.setdefault(event.run_id, []).append(run)
        # History brings the end of a run before its start: the tree knows of it by then.
        node = self._conversation.tree.get_run_node(event.run_id)
        reason = None if node is None else _TERMINAL.get(node.status)
        if reason is None and isinstance(event, RunEnd):
            reason = event.reason
        if reason is not None:
            for run in self._running.pop(event.run_id, ()):
                run.ended.resolve(reason)

    def close(self, error: AITransportError) -> None:
        """Fail all latches that are not settled."""
        for runs in (*self._awaited.values(), *self._running.values()):
            for run in runs:
                run.started.reject(error)
                run.ended.reject(error)
        self._awaited.clear()
        self._running.clear()
