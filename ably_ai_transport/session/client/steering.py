"""Steering: a client speaks into a run that is under way, and learns whether the agent responded."""

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic

from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation import read_steer_stamp
from ably_ai_transport.session.base import SessionCore
from ably_ai_transport.session.client.latches import RunProgress
from ably_ai_transport.session.client.publisher import InputWriter
from ably_ai_transport.session.conversation import Change
from ably_ai_transport.session.signals import Latch
from ably_ai_transport.wire import (
    AITransportError,
    InboundMessage,
    InvalidArgumentError,
    RunEnd,
    RunEndReason,
    RunSuspend,
    names,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class SteerOutcome:
    """The outcome of a steering message.

    Attributes:
        consumed: Whether an output responded to it.
        run_terminal_reason: The end reason of the run; None if it was only suspended.
    """

    consumed: bool
    run_terminal_reason: RunEndReason | None = None


@dataclass(frozen=True, slots=True)
class SteerResult:
    """A steering message on its way.

    Attributes:
        published: Await it for the serial that the channel gave the message; None where the run ended, or the
            channel was lost, before the message came back.
        outcome: Await it for the outcome, which is known once the run is suspended or ends.
    """

    published: Latch[str | None] = field(default_factory=Latch[str | None])
    outcome: Latch[SteerOutcome] = field(default_factory=Latch[SteerOutcome])

    def reject(self, error: AITransportError) -> None:
        """Fail both."""
        self.published.reject(error)
        self.outcome.reject(error)


@dataclass(slots=True)
class _Run:
    """Steering messages of one run: sent, echoed by the channel, and responded to."""

    sent: dict[str, SteerResult] = field(default_factory=dict[str, SteerResult])
    echoed: dict[str, SteerResult] = field(default_factory=dict[str, SteerResult])
    consumed: set[str] = field(default_factory=set[str])


class ClientSteering(Generic[InT, OutT, ProjT, MsgT]):
    """The steering messages of one client session.

    Args:
        core: The session's parts.
        writer: Publishes inputs.
    """

    def __init__(
        self, core: SessionCore[InT, OutT, ProjT, MsgT], writer: InputWriter[InT, OutT, ProjT, MsgT]
    ) -> None:
        self._core = core
        self._writer = writer
        self._runs: dict[str, _Run] = {}
        self._unsubscribe: Callable[[], None] | None = None
        core.conversation.subscribe(self._on_run_over, RunEnd, RunSuspend)
        self._unsent: set[SteerResult] = set()

    def steer(self, progress: RunProgress, event: InT) -> SteerResult:
        """Publish a steering message as soon as its run has started.

        Args:
            progress: The run.
            event: The input.

        Returns:
            The message on its way.
        """
        self._core.connection.check_open("steer")
        if self._unsubscribe is None:
            # Messages come with each token: followed from the first steer on.
            self._unsubscribe = self._core.conversation.subscribe(self._on_message, InboundMessage)
        result = SteerResult()
        self._unsent.add(result)
        self._core.tasks.start(self._steer(progress, event, result))
        return result

    def drain(self, error: AITransportError) -> None:
        """Fail all open messages that were published: their outcome may have been missed."""
        for run in self._runs.values():
            for result in (*run.sent.values(), *run.echoed.values()):
                result.published.resolve(None)
                result.outcome.reject(error)
        self._runs.clear()

    def close(self, error: AITransportError) -> None:
        """Fail all that is still open."""
        for result in self._unsent:
            result.reject(error)
        self._unsent.clear()
        self.drain(error)

    async def _steer(self, progress: RunProgress, event: InT, result: SteerResult) -> None:
        try:
            await progress.started
        except AITransportError as error:
            result.reject(error)
            return
        self._unsent.discard(result)
        run_id = progress.run_id
        if progress.ended.is_settled:
            result.reject(InvalidArgumentError(f"unable to steer; run {run_id} has already ended"))
            return
        run = self._runs.setdefault(run_id, _Run())
        message_id = str(uuid.uuid4())
        run.sent[message_id] = result
        try:
            await self._writer.publish_steer(event, run_id, message_id)
        except AITransportError as error:
            run.sent.pop(message_id, None)
            result.reject(error)

    def _on_message(self, change: Change[InT, OutT]) -> None:
        message = change.event
        if not self._runs or not isinstance(message, InboundMessage):
            return
        headers = message.transport_headers
        run = self._runs.get(headers.get(names.RUN_ID, ""))
        if run is None:
            return
        result = run.sent.pop(headers.get(names.CODEC_MESSAGE_ID, ""), None)
        if result is not None:
            run.echoed[headers[names.CODEC_MESSAGE_ID]] = result
            result.published.resolve(message.serial)
        run.consumed.update(read_steer_stamp(headers) or ())

    def _on_run_over(self, change: Change[InT, OutT]) -> None:
        """Settle the messages of a run that was suspended or has ended."""
        event = change.event
        if not isinstance(event, RunEnd | RunSuspend):
            return
        run = self._runs.get(event.run_id)
        if run is None:
            return
        ended = isinstance(event, RunEnd)
        reason = event.reason if ended else None
        for message_id, result in tuple(run.echoed.items()):
            consumed = message_id in run.consumed
            if consumed or ended:
                del run.echoed[message_id]
                result.outcome.resolve(SteerOutcome(consumed, reason))
        if ended:
            del self._runs[event.run_id]
            for result in run.sent.values():
                result.published.resolve(None)
                result.outcome.resolve(SteerOutcome(consumed=False, run_terminal_reason=reason))
