"""A gateway, an agent and clients of both kinds, on channels in memory."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias

from ably_ai_transport_haip import HaipClient
from ably_ai_transport_haip.client.config import TransportName
from ably_ai_transport_haip.gateway import HaipGateway, UIMessages
from ably_ai_transport_haip.server import HaipServerOptions, JwtAuthenticator
from ably_ai_transport_vercel import UIAgentRun, UIClientSession, UIMessageChunk, UIMessageCodec, text_message

from ably_ai_transport import (
    AgentSession,
    ClientSession,
    Invocation,
    NotAllowedError,
    RunHooks,
    RunPolicy,
    SessionOptions,
)
from ably_ai_transport.channel import ChannelClient
from ably_ai_transport.local.web.listener import WebListener
from ably_ai_transport.testing import MemoryHub
from tests.support.haip_stand import SECRET, Stand
from tests.support.tcp_proxy import tcp_proxy

CODEC = UIMessageCodec()
Answer: TypeAlias = Callable[[UIAgentRun], Awaitable[None]]
Start: TypeAlias = Callable[[Invocation], Awaitable[None]]


class Bridge:
    """The gateway and its clients."""

    def __init__(self, hub: MemoryHub, stand: Stand, stack: AsyncExitStack, start: Start) -> None:
        self.hub = hub
        self.stand = stand
        self.start = start
        self.refused: list[NotAllowedError] = []
        self._stack = stack

    async def haip(
        self,
        who: str = "alice",
        transport: TransportName = "websocket",
        **options: Any,  # noqa: ANN401 - fields of the configuration
    ) -> HaipClient:
        return await self._stack.enter_async_context(self.stand.client(transport, who=who, **options))

    async def person(self, who: str, thread: str = "1") -> UIClientSession:
        session = ClientSession(self.hub.client(who), f"haip:{thread}", codec=CODEC)
        return await self._stack.enter_async_context(session)


@asynccontextmanager
async def bridged(
    answer: Answer,
    options: HaipServerOptions | None = None,
    *,
    reachable: bool = True,
    before: Callable[[], Awaitable[None]] | None = None,
    policy: RunPolicy | None = None,
    hooks: RunHooks[UIMessageChunk] | None = None,
    session_options: SessionOptions | None = None,
) -> AsyncGenerator[Bridge]:
    """Run a gateway on channels in memory, with an agent that runs ``answer``.

    ``before`` runs before the agent opens its session, which has ``policy``. ``hooks`` are those of its runs.
    """
    hub = MemoryHub()

    @asynccontextmanager
    async def connect(client_id: str) -> AsyncGenerator[ChannelClient]:
        yield hub.client(client_id)

    async with asyncio.TaskGroup() as tasks, AsyncExitStack() as stack:

        async def work(invocation: Invocation) -> None:
            if before is not None:
                await before()
            client, name = hub.client("agent"), invocation.session_name
            async with AgentSession(client, name, codec=CODEC, policy=policy or RunPolicy()) as session:
                try:
                    async with session.create_run(invocation, hooks=hooks) as run:
                        await answer(run)
                except NotAllowedError as error:
                    bridge.refused.append(error)

        async def invoke(invocation: Invocation) -> None:
            if not reachable:
                raise ConnectionError("nobody there")
            tasks.create_task(work(invocation))

        gateway = HaipGateway(
            connect,
            UIMessages(),
            JwtAuthenticator(SECRET),
            invoke,
            options=options,
            session_options=session_options,
        )
        listener = WebListener(gateway, "127.0.0.1", 0)
        await stack.enter_async_context(gateway)
        proxy = await stack.enter_async_context(tcp_proxy(listener.port))
        await listener.start()
        stack.push_async_callback(listener.stop)
        stack.push_async_exit(gateway)
        bridge = Bridge(hub, Stand(gateway.server, listener.port, proxy), stack, invoke)
        yield bridge


def said(text: str) -> Any:  # noqa: ANN401 - an input of the codec
    return CODEC.create_user_message(text_message(text))
