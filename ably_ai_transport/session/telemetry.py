"""The moments of a session that telemetry is told of. Nothing happens at them unless telemetry is installed.

None of them is on the way of a token: counters are read when a pipe, a run or a session ends.
"""

from types import TracebackType
from typing import Final, Never, Self

from ably_ai_transport.channel.contract import Channel
from ably_ai_transport.codec.contract import Encoder, InT, MessageHook, MsgT, OutT, ProjT
from ably_ai_transport.session.conversation import LiveConversation
from ably_ai_transport.wire import InboundMessage, OutboundMessage


class Operation:
    """An operation that takes time. Enter it as a context; an exception in the block is its outcome."""

    __slots__ = ()

    def finish(self, outcome: str, error: BaseException | None = None) -> None:
        """Note an outcome that is not an exception of the block.

        Args:
            outcome: Such as ``complete`` or ``cancelled``.
            error: The failure, where there is one.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the operation."""


class RunTelemetry:
    """The moments of one run on its agent's side."""

    __slots__ = ()

    def moved(self, phase: str, run_id: str, invocation_id: str) -> None:
        """Note the phase that the run is in now.

        Args:
            phase: One of those of ``RunPhase``; a run that is ``closed`` is over.
            run_id: The run, as far as it is known.
            invocation_id: The agent's invocation.
        """

    def located(self, trigger: InboundMessage) -> None:
        """Note the triggering input."""

    def begin(self, run_id: str, invocation_id: str) -> None:
        """Note that the run is known, and that it is about to be published."""

    def failed(self, error: BaseException) -> None:
        """Note why the run could not be opened."""

    def ending(self, reason: str, error: BaseException | None = None) -> None:
        """Note how the run ends."""

    def received(self, message: InboundMessage) -> None:
        """Note an input or a cancel request for the run."""

    def publishing(self, message: OutboundMessage) -> Operation:
        """Publish a lifecycle message in a block."""
        return NO_OPERATION

    def step_starting(self, step_id: str) -> None:
        """Note that the start of a step is about to be published."""

    def step_ended(self, reason: str) -> None:
        """Note that the end of the step was published or refused."""

    def piping(self, step_id: str) -> Operation:
        """Pipe a stream in a block; it opens the step if no step is open."""
        return NO_OPERATION

    def encoding(self, encoder: Encoder[Never, Never]) -> None:
        """Note an encoder of the run."""

    def enter(self) -> None:
        """Make the run, or its step, the parent of what the calling task does from now on."""

    def leave(self) -> None:
        """Undo the latest :meth:`enter`."""


class SessionTelemetry:
    """The moments of one session."""

    __slots__ = ()

    input_hook: MessageHook | None = None
    """Called with each input before it is published."""

    def moved(self, state: str) -> None:
        """Note the state that the session's connection is in now."""

    def follow(self, conversation: LiveConversation[InT, OutT, ProjT, MsgT]) -> None:
        """Observe what arrives: the session is a client's."""

    def sending(
        self,
        operation: str,
        *,
        message: OutboundMessage | None = None,
        codec_message_id: str | None = None,
        run_id: str | None = None,
    ) -> Operation:
        """Publish a client's input or request in a block.

        Args:
            operation: ``send``, ``steer`` or ``cancel``.
            message: The message, where :attr:`input_hook` is not called with it.
            codec_message_id: The input.
            run_id: The run that it is for.
        """
        return NO_OPERATION

    def run(self) -> RunTelemetry:
        """Observe a run of an agent."""
        return NO_RUN


class Telemetry:
    """Makes the telemetry of sessions; this one makes none."""

    def session(self, channel: Channel) -> SessionTelemetry:
        """Observe a session.

        Args:
            channel: Its channel.
        """
        return NO_SESSION


NO_OPERATION: Final = Operation()
NO_RUN: Final = RunTelemetry()
NO_SESSION: Final = SessionTelemetry()
_NO_TELEMETRY: Final = Telemetry()
_installed: Telemetry = _NO_TELEMETRY


def install(telemetry: Telemetry | None) -> None:
    """Observe the sessions that are opened from now on.

    Args:
        telemetry: Observes them; None for nothing more.
    """
    global _installed  # noqa: PLW0603 - one for the process, as are the providers of OpenTelemetry
    _installed = _NO_TELEMETRY if telemetry is None else telemetry


def observe_session(channel: Channel) -> SessionTelemetry:
    """Observe a session with what is installed.

    Args:
        channel: The session's channel.
    """
    return _installed.session(channel)
