"""A run, as the client that asked for it holds it."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Generic

from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation import RunStatus, Tree
from ably_ai_transport.session.run_reader import RunReader
from ably_ai_transport.session.settled import Settled
from ably_ai_transport.session.steering import SteerResult

if TYPE_CHECKING:
    from ably_ai_transport.wire import Invocation


class ClientRun(RunReader[InT, OutT, ProjT, MsgT], Generic[InT, OutT, ProjT, MsgT]):
    """What a send leads to.

    Example:
        >>> run = await session.view.send(codec.create_user_message(message))  # doctest: +SKIP
        >>> await http.post("/api/chat", json=run.to_invocation().to_json())  # doctest: +SKIP
        >>> await run.started  # doctest: +SKIP

    Attributes:
        input_codec_message_id: The message that triggers the run.
        input_event_id: The event that the agent looks for.
        started: Await it to learn when an agent has taken the run up; fails with 104004 when the session is
            closed before.
        ended: Await it to learn how the run ended: ``complete``, ``cancelled`` or ``error``; fails with
            104004 when the session is closed before.
    """

    def __init__(
        self,
        *,
        tree: Callable[[], Tree[InT, OutT, ProjT, MsgT]],
        session_name: str,
        input_codec_message_id: str,
        input_event_id: str,
        cancel: Callable[[], Awaitable[None]],
        steer: Callable[["ClientRun[InT, OutT, ProjT, MsgT]", InT], SteerResult],
    ) -> None:
        super().__init__(tree)
        self._anchor = input_codec_message_id
        self._session_name = session_name
        self._cancel = cancel
        self._steer = steer
        self.input_codec_message_id = input_codec_message_id
        self.input_event_id = input_event_id
        self.started = Settled[None]()
        self.ended = Settled[RunStatus]()

    async def cancel(self) -> None:
        """Ask the agent to stop, before or after it has taken the run up.

        Raises:
            AITransportError: The request could not be published.
        """
        await self._cancel()

    def steer(self, event: InT) -> SteerResult:
        """Speak into the run while it is under way. It is published once the run has started.

        Args:
            event: The input, such as another user message.

        Returns:
            What can be awaited: that it was published, and whether the agent responded to it.
        """
        return self._steer(self, event)

    def to_invocation(self) -> "Invocation":
        """Build what the agent's endpoint is to be sent.

        Returns:
            The invocation; its ``to_json()`` is the body.
        """
        from ably_ai_transport.wire import Invocation

        return Invocation(input_event_id=self.input_event_id, session_name=self._session_name)

    def bind(self, run_id: str) -> None:
        """Learn the id that the agent gave the run. For sessions."""
        self._run_id = run_id
        self.started.resolve(None)
