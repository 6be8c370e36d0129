"""The gateway: a HAIP server whose clients take part in sessions."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Generic, Self

from starlette.types import Receive, Scope, Send

from ably_ai_transport import SessionOptions
from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport_haip.gateway.invoke import Invoke
from ably_ai_transport_haip.gateway.participant import Participant
from ably_ai_transport_haip.gateway.threads import ChannelOf, Connect, tenant_channel
from ably_ai_transport_haip.gateway.vocabulary import Vocabulary
from ably_ai_transport_haip.server import (
    Authenticate,
    HaipServer,
    HaipServerOptions,
    HaipServerSession,
    ServerTool,
)


class HaipGateway(Generic[InT, OutT, ProjT, MsgT]):
    """A HAIP server whose clients take part in sessions, beside AI-transport clients and agents.

    A thread is a session. The messages of a HAIP client in a run invoke an agent or steer it. The client
    receives the messages of agents and of other clients on the thread. Runs, texts, tool calls, cancels,
    errors and audio are mapped in both directions. A client without credits blocks no other participant.

    Args:
        connect: Returns the Ably client of a HAIP client.
        vocabulary: Reads and writes the messages of the sessions, such as :class:`UIMessages`.
        authenticate: Returns the owner of a token.
        invoke: Invokes an agent, such as :class:`PostToAgent`. A plain or coroutine function.
        channel_of: Returns the channel of a thread, and refuses clients that may not enter it.
        tools: Tools of the gateway itself, for HAIP clients.
        history: The number of earlier messages that a client receives when it enters a thread.
        session_options: Options of the sessions, such as ``{"trusted_agents": {"agent"}}``.
        options: Limits and times of the server. Messages to clients always wait for credits.
        cors_origins: The origins of web pages that may connect over HTTP.

    Raises:
        ValueError: ``history`` is negative.

    Example:
        >>> gateway = HaipGateway(connect, UIMessages(), authenticate, invoke)  # doctest: +SKIP
        >>> # uvicorn module:gateway
    """

    def __init__(
        self,
        connect: Connect,
        vocabulary: Vocabulary[InT, OutT, ProjT, MsgT],
        authenticate: Authenticate,
        invoke: Invoke,
        *,
        channel_of: ChannelOf = tenant_channel,
        tools: Iterable[ServerTool] = (),
        history: int = 100,
        session_options: SessionOptions | None = None,
        options: HaipServerOptions | None = None,
        cors_origins: Sequence[str] = (),
    ) -> None:
        if history < 0:
            raise ValueError("unable to build the gateway; history is negative")
        self._connect = connect
        self._vocabulary = vocabulary
        self._invoke = invoke
        self._channel_of = channel_of
        self._history = history
        self._session_options = session_options or {}
        chosen = options or HaipServerOptions()
        # The agent of a run decides whether a cancel ends it, and messages wait for credits.
        settings = replace(
            chosen, answers_cancel=False, flow_control=replace(chosen.flow_control, on_exhausted="wait")
        )
        self.server = HaipServer(
            authenticate, self._serve, tools=tools, options=settings, cors_origins=cors_origins
        )

    async def __aenter__(self) -> Self:
        await self.server.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.server.__aexit__(kind, error, traceback)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve as an ASGI application."""
        await self.server(scope, receive, send)

    async def _serve(self, haip: HaipServerSession) -> None:
        async with self._connect(haip.principal.id) as client:
            participant = Participant(
                haip,
                client,
                self._vocabulary,
                self._channel_of,
                self._invoke,
                self._history,
                self._session_options,
            )
            await participant.serve()
