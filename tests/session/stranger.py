"""A conversation with a stranger in it, who may publish and writes whatever headers he likes."""

import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import anyio
from ably import AblyRealtime
from ably_ai_transport_vercel import UIAgentRun, UIAgentSession, UIClientRun, UIClientSession

from ably_ai_transport import (
    AgentSession,
    AgentSessionOptions,
    AITransportError,
    ClientSession,
    InboundMessage,
    NotAllowedError,
    OutboundMessage,
    SessionOptions,
)
from ably_ai_transport.channel import Channel, open_channel
from ably_ai_transport.local import LocalServer
from ably_ai_transport.session import RunPolicy
from ably_ai_transport.wire import names
from ably_ai_transport.wire.messages import ai_extras
from tests.session.stage import CODEC, NAME, Gated, said

AGENTS = frozenset({"agent"})


@dataclass
class Stranger:
    """Publishes raw messages."""

    channel: Channel

    async def put(
        self,
        name: str,
        transport: Mapping[str, str],
        codec: Mapping[str, str] | None = None,
        data: object = "",
    ) -> str:
        """Publish a message; returns its serial."""
        serials = await self.channel.publish([OutboundMessage(name, data, ai_extras(transport, codec))])
        assert serials[0] is not None
        return serials[0]

    async def say(self, text: str, **headers: str) -> str:
        """Publish a user's message; returns its event id."""
        event_id = headers.pop("event_id", str(uuid.uuid4()))
        transport = {
            names.ROLE: "user",
            names.CODEC_MESSAGE_ID: str(uuid.uuid4()),
            names.EVENT_ID: event_id,
            names.STREAM: "false",
            **{key.replace("_", "-"): value for key, value in headers.items()},
        }
        codec = {"kind": "user-message", "partType": "text", "messageId": "m"}
        await self.put(names.AI_INPUT, transport, codec, text)
        return event_id

    async def answer(self, kind: str, run_id: str, message_id: str, call_id: str, **codec: str) -> str:
        """Publish an answer to a tool call; returns its event id."""
        event_id = str(uuid.uuid4())
        transport = {
            names.ROLE: "user",
            names.RUN_ID: run_id,
            names.CODEC_MESSAGE_ID: message_id,
            names.EVENT_ID: event_id,
            names.STREAM: "false",
        }
        await self.put(names.AI_INPUT, transport, {"kind": kind, "toolCallId": call_id, **codec})
        return event_id

    async def output(self, run_id: str, message_id: str, text: str, **headers: str) -> None:
        """Publish a whole text of a reply."""
        transport = {
            names.ROLE: "assistant",
            names.RUN_ID: run_id,
            names.CODEC_MESSAGE_ID: message_id,
            **{key.replace("_", "-"): value for key, value in headers.items()},
        }
        await self.put(names.AI_OUTPUT, {**transport, names.STREAM: "false"}, {"kind": "start"})
        stream = {names.STREAM: "true", names.STATUS: "streaming", names.STREAM_ID: "x"}
        serial = await self.put(names.AI_OUTPUT, {**transport, **stream}, {"kind": "text", "id": "x"})
        await self.append(serial, text, {**transport, **stream}, {"kind": "text", "id": "x"})

    async def append(
        self, serial: str, text: str, transport: Mapping[str, str], codec: Mapping[str, str]
    ) -> None:
        """Append to anybody's message."""
        await self.channel.append(OutboundMessage(None, text, ai_extras(transport, codec), serial))


@dataclass
class Scene:
    """Alice asks, the agent answers, Mallory disturbs.

    Attributes:
        server: The server.
        alice: Her session.
        agent: The agent's session.
        mallory: The stranger.
        told: What Alice's session reported.
        agent_told: What the agent's session reported.
    """

    server: LocalServer
    alice: UIClientSession
    agent: UIAgentSession
    mallory: Stranger
    open: AsyncExitStack
    told: list[AITransportError] = field(default_factory=list[AITransportError])
    agent_told: list[AITransportError] = field(default_factory=list[AITransportError])

    async def join(
        self, client_id: str, *, trusted: frozenset[str] | None = None, history_page_size: int = 100
    ) -> UIClientSession:
        """Open the conversation for one more client, with everything in its view."""
        realtime = await self.realtime(client_id)
        if trusted is None:
            session = ClientSession(realtime, NAME, codec=CODEC, history_page_size=history_page_size)
        else:
            session = ClientSession(
                realtime, NAME, codec=CODEC, history_page_size=history_page_size, trusted_agents=trusted
            )
        await self.open.enter_async_context(session)
        session.on_error(lambda _: None)
        await session.view.load_all()
        return session

    async def realtime(self, client_id: str, **options: object) -> AblyRealtime:
        """Connect a client."""
        realtime = AblyRealtime(**self.server.python_options(client_id, **options))
        self.open.push_async_callback(realtime.close)
        return realtime

    async def caught_up(self, *sessions: UIClientSession | UIAgentSession) -> None:
        """Wait until sessions have received all that was published before."""
        for session in sessions or (self.alice, self.agent):
            async with seen(session) as event_id:
                await self.mallory.put(names.CANCEL, {names.EVENT_ID: event_id, names.RUN_ID: "none"})

    def refused(self, reports: list[AITransportError]) -> list[str | None]:
        """List the clients that were refused."""
        return [error.client_id for error in reports if isinstance(error, NotAllowedError)]


@asynccontextmanager
async def seen(session: UIClientSession | UIAgentSession) -> AsyncGenerator[str]:
    """Wait until a session has received an event whose id is given."""
    event_id, arrived = str(uuid.uuid4()), anyio.Event()

    def listen(message: InboundMessage) -> None:
        if message.transport_headers.get(names.EVENT_ID) == event_id:
            arrived.set()

    remove = session.tree.on_message(listen)
    try:
        yield event_id
        await arrived.wait()
    finally:
        remove()


@asynccontextmanager
async def scene(
    *,
    trusted: frozenset[str] | None = AGENTS,
    policy: RunPolicy | None = None,
    mallory_may: Mapping[str, list[str]] | None = None,
) -> AsyncGenerator[Scene]:
    """Set the scene: every participant has a client of its own on one server."""
    with anyio.fail_after(30):
        async with LocalServer() as server, AsyncExitStack() as stack:
            clients: dict[str, AblyRealtime] = {}
            for client_id in ("alice", "agent", "mallory"):
                options = server.python_options(client_id)
                if client_id == "mallory" and mallory_may is not None:
                    token = server.token("mallory", capability=mallory_may)
                    options = server.python_options("mallory", token=token)
                clients[client_id] = AblyRealtime(**options)
                stack.push_async_callback(clients[client_id].close)
            trust = SessionOptions() if trusted is None else SessionOptions(trusted_agents=trusted)
            rules = AgentSessionOptions() if policy is None else AgentSessionOptions(policy=policy)
            if trusted is not None:
                rules["trusted_agents"] = trusted
            alice = ClientSession(clients["alice"], NAME, codec=CODEC, **trust)
            agent = AgentSession(clients["agent"], NAME, codec=CODEC, **rules)
            channel = open_channel(clients["mallory"], NAME)
            await channel.attach()
            stack.push_async_callback(channel.detach)
            told, agent_told = list[AITransportError](), list[AITransportError]()
            alice.on_error(told.append)
            agent.on_error(agent_told.append)
            await stack.enter_async_context(alice)
            await stack.enter_async_context(agent)
            yield Scene(server, alice, agent, Stranger(channel), stack, told, agent_told)


@asynccontextmanager
async def replying(stage: Scene) -> AsyncGenerator[tuple[UIClientRun, UIAgentRun]]:
    """Let Alice ask and the agent answer; the reply stands still in its middle for the body."""
    asked = await stage.alice.view.send(said("hi"))
    run = stage.agent.create_run(asked.to_invocation())
    source = Gated("one ", "two ")
    async with anyio.create_task_group() as tasks:

        async def work() -> None:
            async with run:
                await run.pipe(source.chunks())

        tasks.start_soon(work)
        await source.reached.wait()
        await asked.started
        await stage.caught_up(stage.alice)
        yield asked, run
        source.gate.set()
