"""What a run needs of the session that it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT

if TYPE_CHECKING:
    from ably_ai_transport.channel import Channel
    from ably_ai_transport.session.agent_run import AgentRun
    from ably_ai_transport.session.materialisation import Materialisation
    from ably_ai_transport.wire import AITransportError, InboundMessage


class RunHost(Protocol[InT, OutT, ProjT, MsgT]):
    """What a run needs of the session that it belongs to."""

    @property
    def channel(self) -> Channel:
        """The channel."""
        ...

    @property
    def materialisation(self) -> Materialisation[InT, OutT, ProjT, MsgT]:
        """The conversation as the session sees it now."""
        ...

    async def require(self, action: str) -> None:
        """Refuse an operation where the session is not connected."""
        ...

    def located(self, run: AgentRun[InT, OutT, ProjT, MsgT], old_run_id: str) -> None:
        """Learn which run an invocation belongs to."""
        ...

    def honour_early_cancel(self, run: AgentRun[InT, OutT, ProjT, MsgT], trigger: InboundMessage) -> None:
        """Cancel a run where that was asked for after its triggering input, and before the agent came."""
        ...

    def forget(self, run: AgentRun[InT, OutT, ProjT, MsgT]) -> None:
        """Let go of a run."""
        ...

    def report(self, error: AITransportError) -> None:
        """Tell the session's listeners of an error."""
        ...
