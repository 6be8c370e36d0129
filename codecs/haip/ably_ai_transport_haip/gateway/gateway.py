"""The gateway: HAIP in front of sessions."""

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from types import TracebackType
from typing import Final, Generic, Self, TypeAlias

from starlette.types import Receive, Scope, Send

from ably_ai_transport import ChannelClient
from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport_haip.gateway.invoke import Invoke
from ably_ai_transport_haip.gateway.participant import Participant
from ably_ai_transport_haip.gateway.vocabulary import Vocabulary
from ably_ai_transport_haip.protocol import HaipErrorCode, HaipProtocolError
from ably_ai_transport_haip.server import (
    Authenticate,
    HaipServer,
    HaipServerOptions,
    HaipServerSession,
    Principal,
    ServerTool,
)

Connect: TypeAlias = Callable[[str], AbstractAsyncContextManager[ChannelClient]]
"""Opens an Ably client that speaks as somebody, for as long as the block lasts."""
ChannelOf: TypeAlias = Callable[[Principal, str], str]
"""Names the channel of a thread. Raises a :class:`HaipError` where the principal may not enter it."""

_THREAD: Final = re.compile(r"[\w.~+@=-]{1,128}")


def tenant_channel(principal: Principal, thread_id: str) -> str:
    """Name the channel of a thread: ``haip:<tenant>:<thread>``, so that tenants never meet.

    Args:
        principal: Who enters; the claim ``tenant`` of the token says where it belongs, if there is one.
        thread_id: The thread.

    Returns:
        The channel.

    Raises:
        HaipProtocolError: The thread's name cannot be part of a channel's.

    Example:
        >>> tenant_channel(Principal("alice", {"tenant": "acme"}), "42")
        'haip:acme:42'
    """
    tenant = principal.claims.get("tenant")
    for name in (thread_id, *(() if tenant is None else (tenant,))):
        if not isinstance(name, str) or not _THREAD.fullmatch(name):
            raise HaipProtocolError(
                f"unable to enter thread; '{name}' is more than letters, digits and -_.~+@=",
                HaipErrorCode.PROTOCOL_VIOLATION,
            )
    return f"haip:{thread_id}" if tenant is None else f"haip:{tenant}:{thread_id}"


class HaipGateway(Generic[InT, OutT, ProjT, MsgT]):
    """A HAIP server whose clients take part in sessions, beside AI-transport clients and agents.

    A thread is a session. What a client says in a run asks an agent, or steers it; what agents and other
    people say on the thread, the client is told. Runs, texts, tool calls, cancelling, errors and sound are
    mapped both ways; a client without credits holds up nobody else.

    Args:
        connect: Opens the Ably client that speaks for a HAIP client.
        vocabulary: The messages of the sessions, such as :class:`UIMessages`.
        authenticate: Tells whose a token is.
        invoke: Calls an agent, such as :class:`PostToAgent`.
        channel_of: Names the channel of a thread, and refuses who may not enter it.
        tools: Tools that the gateway itself carries out for HAIP clients.
        history: How many messages of a conversation a client is told when it enters.
        options: Limits and times of the server.
        cors_origins: Origins of web pages that may connect over HTTP.

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
        options: HaipServerOptions | None = None,
        cors_origins: Sequence[str] = (),
    ) -> None:
        self._connect = connect
        self._vocabulary = vocabulary
        self._invoke = invoke
        self._channel_of = channel_of
        self._history = history
        # Whether a run is cancelled is for its agent to say.
        settings = replace(options or HaipServerOptions(), answers_cancel=False)
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
                lambda thread_id: self._channel_of(haip.principal, thread_id),
                self._invoke,
                self._history,
            )
            await participant.take_part()
