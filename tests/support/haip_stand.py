"""A server, clients over any transport, and a proxy that can cut their connections."""

import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import anyio
import jwt
from ably_ai_transport_haip import FlowControlConfig, HaipClient, HaipMessage, create_haip_client
from ably_ai_transport_haip.client.config import TransportName
from ably_ai_transport_haip.server import (
    Authenticate,
    HaipServer,
    HaipServerOptions,
    HaipServerSession,
    JwtAuthenticator,
    ServerTool,
    SessionHandler,
)

from ably_ai_transport.local.web.listener import WebListener
from tests.support.tcp_proxy import TcpProxy, tcp_proxy

SECRET: Final = "a secret that is long enough for every algorithm that tests sign with"
TRANSPORTS: Final[tuple[TransportName, ...]] = ("websocket", "sse", "http-streaming")
_PATHS: Final[dict[TransportName, str]] = {
    "websocket": "ws://127.0.0.1:{}/haip/websocket",
    "sse": "http://127.0.0.1:{}/haip/sse",
    "http-streaming": "http://127.0.0.1:{}/haip/stream",
}


def token(who: str = "alice", *, secret: str = SECRET, algorithm: str = "HS256", **claims: object) -> str:
    said = {"sub": who, "exp": int(time.time()) + 60, **claims}
    said = {name: value for name, value in said.items() if value is not None}
    return cast("Any", jwt).encode(said, secret, algorithm=algorithm)


class Stand:
    """The server and its addresses."""

    def __init__(self, server: HaipServer, port: int, proxy: TcpProxy) -> None:
        self.server = server
        self.port = port
        self.proxy = proxy

    def client(
        self,
        transport: TransportName = "websocket",
        *,
        who: str = "alice",
        on_exhausted: str = "wait",
        through_proxy: bool = False,
        **options: Any,  # noqa: ANN401 - fields of the configuration
    ) -> HaipClient:
        port = self.proxy.port if through_proxy else self.port
        flow: Any = options.pop("flow_control", FlowControlConfig(on_exhausted=cast("Any", on_exhausted)))
        fields: dict[str, Any] = {
            "url": _PATHS[transport].format(port),
            "token": token(who),
            "transport": transport,
            "flow_control": flow,
            "reconnect_delay": 0.01,
            "connect_timeout": 5.0,
            "max_reconnect_attempts": 100,
            **options,
        }
        return create_haip_client(**fields)


@asynccontextmanager
async def standing(
    handler: SessionHandler,
    *,
    tools: Iterable[ServerTool] = (),
    options: HaipServerOptions | None = None,
    authenticate: Authenticate | None = None,
) -> AsyncGenerator[Stand]:
    accept = authenticate or JwtAuthenticator(SECRET)
    server = HaipServer(accept, handler, tools=tools, options=options)
    listener = WebListener(server, "127.0.0.1", 0)
    async with server, tcp_proxy(listener.port) as proxy:
        await listener.start()
        try:
            yield Stand(server, listener.port, proxy)
        finally:
            await server.__aexit__(None, None, None)
            await listener.stop()


class Inbox:
    """The messages and events of a client, and waits for them."""

    def __init__(self, client: HaipClient) -> None:
        self.messages: list[HaipMessage] = []
        self.errors: list[Exception] = []
        self.binary: list[bytes] = []
        self.downs: list[str] = []
        self.ups = 0
        self._news = anyio.Event()
        client.on("message", self._take)
        client.on("error", self.errors.append)
        client.on("binary", self._take_binary)
        client.on("disconnect", self._take_down)
        client.on("connect", self._take_up)

    def _take(self, message: HaipMessage) -> None:
        self.messages.append(message)
        self._tell()

    def _take_binary(self, data: bytes) -> None:
        self.binary.append(data)
        self._tell()

    def _take_up(self) -> None:
        self.ups += 1
        self._tell()

    def _take_down(self, reason: str) -> None:
        self.downs.append(reason)
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    def of(self, *kinds: str) -> list[HaipMessage]:
        return [message for message in self.messages if message.type in kinds]

    async def until(self, number: int, *kinds: str) -> list[HaipMessage]:
        """Wait for a number of messages of some types; return all messages of these types."""
        with anyio.fail_after(20):
            while len(self.of(*kinds)) < number:
                await self._news.wait()
        return self.of(*kinds)

    async def until_binary(self, number: int) -> list[bytes]:
        with anyio.fail_after(20):
            while len(self.binary) < number:
                await self._news.wait()
        return self.binary

    async def until_down(self, number: int = 1) -> None:
        with anyio.fail_after(20):
            while len(self.downs) < number:
                await self._news.wait()

    async def until_up(self, number: int = 1) -> None:
        with anyio.fail_after(20):
            while self.ups < number:
                await self._news.wait()

    def texts(self) -> list[str]:
        """Return the texts; the messages of each must be in order."""
        open_: dict[object, str] = {}
        ended: dict[object, str] = {}
        for message in self.of("MESSAGE_START", "MESSAGE_PART", "MESSAGE_END"):
            id_ = message.payload["message_id"]
            match message.type:
                case "MESSAGE_START":
                    assert id_ not in open_
                    assert id_ not in ended
                    open_[id_] = ""
                case "MESSAGE_PART":
                    open_[id_] += str(message.payload["text"])
                case _:
                    ended[id_] = open_.pop(id_)
        return [*ended.values(), *open_.values()]

    def text(self) -> str:
        return "".join(str(message.payload["text"]) for message in self.of("MESSAGE_PART"))


async def parrot(session: HaipServerSession) -> None:
    """Repeat what the client sends."""
    async for frame in session.frames():
        if isinstance(frame, bytes):
            await session.send_binary(frame)
            continue
        envelope, payload = frame.envelope, frame.payload
        match frame.type:
            case "MESSAGE_PART":
                await session.send_text_message(
                    "AGENT", str(payload["text"]), "parrot", envelope.run_id, envelope.thread_id
                )
            case "AUDIO_CHUNK":
                data = frame.binary or b""
                await session.send_audio_chunk(
                    "AUDIO_OUT", str(payload["message_id"]), str(payload["mime"]), data
                )
            case "TOOL_DONE":
                status, result = payload.get("status"), payload.get("result")
                await session.send_text_message("AGENT", f"done: {status} {result}")
            case _:
                pass
