"""Steering: a client speaks into a run that is under way, and learns whether it was heard."""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic

from ably_ai_transport.codec.contract import InT, WriteOptions
from ably_ai_transport.conversation.tree import read_steer_stamp
from ably_ai_transport.session.connection import publish_error
from ably_ai_transport.session.settled import Settled
from ably_ai_transport.wire import (
    AITransportError,
    ErrorCode,
    InboundMessage,
    RunEnd,
    RunEndReason,
    RunLifecycleEvent,
    RunSuspend,
    names,
)
from ably_ai_transport.wire.headers import build_transport_headers


@dataclass(frozen=True, slots=True)
class SteerOutcome:
    """What became of a steering message.

    Attributes:
        consumed: Whether an output responded to it.
        run_terminal_reason: How the run ended; None where it was only suspended.
    """

    consumed: bool
    run_terminal_reason: RunEndReason | None = None


@dataclass(frozen=True, slots=True)
class SteerResult:
    """A steering message on its way.

    Attributes:
        published: Await it for the serial that the channel gave the message; None where the run ended, or the
            channel was lost, before the message came back.
        outcome: Await it for what became of the message, once the run is suspended or ends.
    """

    published: Settled[str | None] = field(default_factory=Settled[str | None])
    outcome: Settled[SteerOutcome] = field(default_factory=Settled[SteerOutcome])

    def reject(self, error: AITransportError) -> None:
        """Fail both."""
        self.published.reject(error)
        self.outcome.reject(error)


@dataclass(slots=True)
class _Run:
    """Steering messages of one run: sent, come back from the channel, and responded to."""

    sent: dict[str, SteerResult] = field(default_factory=dict[str, SteerResult])
    echoed: dict[str, SteerResult] = field(default_factory=dict[str, SteerResult])
    consumed: set[str] = field(default_factory=set[str])
    over: bool = False


class Steering(Generic[InT]):
    """The steering messages of one client session.

    Args:
        publish: Publishes an input.
        client_id: Returns who publishes.
    """

    def __init__(
        self,
        publish: Callable[[InT, WriteOptions], Awaitable[None]],
        client_id: Callable[[], str | None],
    ) -> None:
        self._publish = publish
        self._client_id = client_id
        self._runs: dict[str, _Run] = {}
        self._unsent: set[SteerResult] = set()

    def expect(self, result: SteerResult) -> None:
        """Note a steering message that waits for its run to start."""
        self._unsent.add(result)

    async def steer(
        self, started: Settled[None], run_id: Callable[[], str], event: InT, result: SteerResult
    ) -> None:
        """Publish a steering message as soon as its run has started.

        Args:
            started: Settles when the run has started.
            run_id: Returns the run, once it has started.
            event: The input.
            result: Told how it goes.
        """
        try:
            await started
        except AITransportError as error:
            result.reject(error)
            return
        self._unsent.discard(result)
        run = self._runs.setdefault(run_id(), _Run())
        if run.over:
            result.reject(
                AITransportError(
                    f"unable to steer; run {run_id()} has already ended", ErrorCode.INVALID_ARGUMENT, 400
                )
            )
            return
        message_id = str(uuid.uuid4())
        headers = build_transport_headers(
            role="user",
            run_id=run_id(),
            codec_message_id=message_id,
            run_client_id=self._client_id(),
            input_event_id=str(uuid.uuid4()),
        )
        run.sent[message_id] = result
        try:
            await self._publish(event, WriteOptions(headers, message_id))
        except AITransportError as error:
            run.sent.pop(message_id, None)
            result.reject(publish_error("publish steer", error, ErrorCode.SESSION_SEND_FAILED))

    def observe(self, message: InboundMessage) -> None:
        """Learn from a channel message what came back and what was responded to."""
        headers = message.transport_headers
        run = self._runs.get(headers.get(names.RUN_ID, ""))
        if run is None:
            return
        result = run.sent.pop(headers.get(names.CODEC_MESSAGE_ID, ""), None)
        if result is not None:
            run.echoed[headers[names.CODEC_MESSAGE_ID]] = result
            result.published.resolve(message.serial)
        run.consumed.update(read_steer_stamp(headers) or ())

    def observe_run(self, event: RunLifecycleEvent) -> None:
        """Learn that a run was suspended or ended, which settles what became of its messages."""
        ended = isinstance(event, RunEnd)
        if not ended and not isinstance(event, RunSuspend):
            return
        run = self._runs.setdefault(event.run_id, _Run()) if ended else self._runs.get(event.run_id)
        if run is None:
            return
        reason = event.reason if ended else None
        for message_id, result in tuple(run.echoed.items()):
            consumed = message_id in run.consumed
            if consumed or ended:
                del run.echoed[message_id]
                result.outcome.resolve(SteerOutcome(consumed, reason))
        if ended:
            run.over = True
            run.consumed.clear()
            for result in run.sent.values():
                result.published.resolve(None)
                result.outcome.resolve(SteerOutcome(consumed=False, run_terminal_reason=reason))
            run.sent.clear()

    def drain(self, error: AITransportError) -> None:
        """Fail what was published and is still open: messages may have been missed."""
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
