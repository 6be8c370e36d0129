"""A run, as the client that sent its input holds it."""

from typing import TYPE_CHECKING, Generic

from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.session.base import SessionCore
from ably_ai_transport.session.client.latches import RunProgress
from ably_ai_transport.session.client.publisher import InputWriter
from ably_ai_transport.session.client.steering import ClientSteering, SteerResult
from ably_ai_transport.session.run import BaseRun
from ably_ai_transport.session.signals import Latch
from ably_ai_transport.wire import RunEndReason

if TYPE_CHECKING:
    from ably_ai_transport.wire import Invocation


class ClientRun(BaseRun[InT, OutT, ProjT, MsgT], Generic[InT, OutT, ProjT, MsgT]):
    """The run that a send asks for.

    Example:
        >>> run = await session.view.send(codec.create_user_message(message))  # doctest: +SKIP
        >>> await http.post("/api/chat", json=run.to_invocation().to_json())  # doctest: +SKIP
        >>> await run.started  # doctest: +SKIP
    """

    def __init__(
        self,
        core: SessionCore[InT, OutT, ProjT, MsgT],
        progress: RunProgress,
        writer: InputWriter[InT, OutT, ProjT, MsgT],
        steering: ClientSteering[InT, OutT, ProjT, MsgT],
    ) -> None:
        super().__init__(core.conversation.tree)
        self._session_name = core.channel.name
        self._progress = progress
        self._writer = writer
        self._steering = steering

    @property
    def run_id(self) -> str:
        """The run's id; empty until an agent has taken the run up."""
        return self._progress.run_id

    @property
    def input_codec_message_id(self) -> str:
        """The message that triggers the run."""
        return self._progress.input_codec_message_id

    @property
    def input_event_id(self) -> str:
        """The event that the agent looks for."""
        return self._progress.input_event_id

    @property
    def started(self) -> Latch[None]:
        """Await it until an agent has taken the run up; fails with 104004 when the session closes before."""
        return self._progress.started

    @property
    def ended(self) -> Latch[RunEndReason]:
        """Await it to learn how the run ended; fails with 104004 when the session closes before."""
        return self._progress.ended

    async def cancel(self) -> None:
        """Ask the agent to stop, before or after it has taken the run up.

        Raises:
            AITransportError: The session is not connected (40003) or closed (104004), or the channel refused.
        """
        progress = self._progress
        # The run may go on under another input; once its id is known, that says better which run is meant.
        await self._writer.cancel(
            run_id=progress.run_id or progress.asked_run_id,
            input_codec_message_id=progress.input_codec_message_id,
        )

    def steer(self, event: InT) -> SteerResult:
        """Speak into the run while it is under way. The message is published once the run has started.

        Args:
            event: The input, such as another user message.

        Returns:
            Two latches: the message was published, and the agent responded to it or not.

        Raises:
            SessionClosedError: The session is closed (104004).
        """
        return self._steering.steer(self._progress, event)

    def to_invocation(self) -> "Invocation":
        """Build the invocation for the agent's endpoint.

        Returns:
            The invocation; its ``to_json()`` is the body to post.
        """
        from ably_ai_transport.wire import Invocation

        return Invocation(input_event_id=self.input_event_id, session_name=self._session_name)

    @property
    def _anchor(self) -> str | None:
        return self._progress.input_codec_message_id
