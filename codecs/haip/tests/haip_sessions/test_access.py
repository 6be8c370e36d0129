"""Access: tokens, sessions of other clients, limits."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from ably_ai_transport_haip import HaipAuthenticationError
from ably_ai_transport_haip.client.config import TransportName
from ably_ai_transport_haip.protocol import new_id
from ably_ai_transport_haip.server import HaipServer, HaipServerOptions, HaipServerSession, JwtAuthenticator
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from ably_ai_transport.local.web.listener import WebListener
from tests.support.haip_stand import SECRET, TRANSPORTS, Inbox, Stand, parrot, standing, token
from tests.support.tcp_proxy import tcp_proxy

Json = dict[str, Any]


def unsigned(who: str) -> str:
    parts = ({"alg": "none", "typ": "JWT"}, {"sub": who, "exp": int(time.time()) + 60})
    return (
        ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
        + "."
    )


REFUSED: dict[str, Callable[[], str]] = {
    "none": lambda: "",
    "nonsense": lambda: "no token",
    "forged": lambda: token(secret="another secret, which is long enough for it as well as the first one"),
    "expired": lambda: token(exp=int(time.time()) - 10),
    "unsigned": lambda: unsigned("alice"),
    "another algorithm": lambda: token(algorithm="HS512"),
    "nobody's": lambda: token(""),
    "endless": lambda: token(exp=None),
}


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    async with standing(parrot, options=HaipServerOptions(max_frame_size=50_000)) as it:
        yield it


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
async def test_tokens_that_are_refused(
    stand: Stand, transport: TransportName, make: Callable[[], str]
) -> None:
    client = stand.client(transport, token=make())
    with pytest.raises(HaipAuthenticationError):
        await client.connect()
    assert not client.is_connected()
    assert len(stand.server) == 0


async def test_a_token_may_come_in_any_place(stand: Stand) -> None:
    address = f"ws://127.0.0.1:{stand.port}/anywhere"
    ways: list[Json] = [
        {"additional_headers": {"Authorization": f"Bearer {token()}"}},
        {"subprotocols": ["haip", f"token.{token()}"]},
    ]
    for way in ways:
        async with connect(address, proxy=None, **way) as socket:
            await socket.send(hai(new_id()))
            assert json.loads(await socket.recv())["type"] == "HAI"


@pytest.mark.parametrize("key", ["userId", "sub"])
async def test_whose_a_token_is(key: str) -> None:
    authenticate = JwtAuthenticator(SECRET)
    claims = {"sub": None, key: "carol"}
    assert (await authenticate(token(**claims))).id == "carol"  # type: ignore[arg-type]


async def test_a_token_that_is_fetched_for_each_connection(stand: Stand) -> None:
    fetched: list[str] = []

    async def fetch() -> str:
        fetched.append(token())
        return fetched[-1]

    async with stand.client("websocket", token=fetch, through_proxy=True) as client:
        inbox = Inbox(client)
        stand.proxy.cut()
        await inbox.until_up()
    assert len(fetched) == 2


def hai(session: str, **payload: object) -> str:
    said = {
        "haip_version": "1.1.2",
        "accept_major": [1],
        "accept_events": ["TEXT_MESSAGE_START", "TEXT_MESSAGE_PART", "TEXT_MESSAGE_END", "PING"],
        **payload,
    }
    return frame("HAI", said, session, 1)


def part(text: str, session: str, seq: int) -> str:
    return frame("TEXT_MESSAGE_PART", {"message_id": new_id(), "text": text}, session, seq)


@asynccontextmanager
async def socket_to(stand: Stand, who: str = "alice") -> AsyncGenerator[ClientConnection]:
    async with connect(f"ws://127.0.0.1:{stand.port}/?token={token(who)}", proxy=None) as socket:
        yield socket


def frame(kind: str, payload: Json, session: str, seq: int, channel: str = "USER") -> str:
    return json.dumps(
        {
            "id": new_id(),
            "session": session,
            "seq": str(seq),
            "ts": "1795000000000",
            "channel": channel,
            "type": kind,
            "payload": payload,
        }
    )


async def told(socket: ClientConnection) -> Json:
    with anyio.fail_after(10):
        return json.loads(await socket.recv())


async def refused(socket: ClientConnection) -> int:
    """Read to the end; return the code that the connection was closed with."""
    with anyio.fail_after(10):
        async for _ in reading(socket):
            pass
    assert socket.close_code is not None
    return socket.close_code


async def reading(socket: ClientConnection) -> AsyncIterator[object]:
    try:
        while True:
            yield await socket.recv()
    except ConnectionClosed:
        return


async def test_a_session_of_somebody_else_cannot_be_entered(stand: Stand) -> None:
    async with stand.client(who="alice") as alice:
        async with socket_to(stand, "mallory") as mallory:
            await mallory.send(hai(alice.session_id))
            assert (await told(mallory))["session"] != alice.session_id
        assert alice.is_connected()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_nobody_can_speak_in_a_session_of_somebody_else(stand: Stand, transport: TransportName) -> None:
    async with stand.client(transport, who="alice") as alice, httpx.AsyncClient(trust_env=False) as http:
        inbox = Inbox(alice)
        said = part("mine", alice.session_id, 2)
        for path in ("/haip/message", "/haip/sse", "/haip/stream"):
            answer = await http.post(
                f"http://127.0.0.1:{stand.port}{path}",
                content=said,
                headers={"Authorization": f"Bearer {token('mallory')}", "Content-Type": "application/json"},
            )
            assert answer.status_code == 404, path
        await alice.send_text_message("USER", "still mine")
        await inbox.until(1, "MESSAGE_END")
        assert inbox.text() == "still mine"


async def test_the_handshake_comes_first(stand: Stand) -> None:
    async with socket_to(stand) as socket:
        await socket.send(frame("PING", {}, new_id(), 1, "SYSTEM"))
        error = await told(socket)
        assert (error["type"], error["payload"]["code"]) == ("ERROR", "PROTOCOL_VIOLATION")
        assert await refused(socket) == 1008


async def test_who_says_nothing_is_sent_away() -> None:
    options = HaipServerOptions(handshake_timeout=0.05)
    async with standing(parrot, options=options) as stand, socket_to(stand) as socket:
        assert await refused(socket) == 1008


async def test_another_major_version_is_refused(stand: Stand) -> None:
    async with socket_to(stand) as socket:
        await socket.send(hai(new_id(), accept_major=[2]))
        assert (await told(socket))["payload"]["code"] == "VERSION_INCOMPATIBLE"
        assert await refused(socket) == 1008


async def test_a_frame_that_is_too_large_ends_the_connection_only(stand: Stand) -> None:
    async with socket_to(stand) as socket:
        session = new_id()
        await socket.send(hai(session))
        await told(socket)
        await socket.send(part("x" * 60_000, session, 2))
        assert (await told(socket))["payload"]["code"] == "PROTOCOL_VIOLATION"
        assert await refused(socket) == 1008
    async with stand.client() as client:
        assert client.is_connected()


async def test_who_sends_without_credits_is_told_and_in_the_end_sent_away() -> None:
    options = HaipServerOptions(receive_credits=2, max_flow_control_violations=3)

    async def deaf(session: HaipServerSession) -> None:
        await anyio.sleep_forever()

    async with standing(deaf, options=options) as stand, socket_to(stand) as socket:
        session = new_id()
        await socket.send(hai(session))
        assert (await told(socket))["payload"]["capabilities"]["flow_control"]["initial_credit_messages"] == 2
        for seq in range(2, 8):
            await socket.send(part("x", session, seq))
        codes = [(await told(socket))["payload"]["code"] for _ in range(4)]
        assert codes == ["FLOW_CONTROL_VIOLATION"] * 4
        assert await refused(socket) == 1008


async def test_there_are_only_so_many_sessions() -> None:
    async with standing(parrot, options=HaipServerOptions(max_sessions=1)) as stand, stand.client() as client:
        async with socket_to(stand) as socket:
            await socket.send(hai(new_id()))
            assert (await told(socket))["payload"]["code"] == "SERVER_ERROR"
        assert client.is_connected()


async def test_a_handler_that_fails_ends_its_session_only(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(session: HaipServerSession) -> None:
        async for message in session.messages():
            if message.payload.get("text") == "break":
                raise ValueError("broken")
            if message.type == "MESSAGE_PART":
                await session.send_text_message("AGENT", "fine")

    async with standing(broken) as stand, stand.client() as one, stand.client() as other:
        inbox, others = Inbox(one), Inbox(other)
        await one.send_text_message("USER", "break")
        [error] = await inbox.until(1, "ERROR")
        assert error.payload["code"] == "SERVER_ERROR"
        await inbox.until_down()
        await other.send_text_message("USER", "hello")
        await others.until(1, "MESSAGE_PART")
    assert "ValueError: broken" in caplog.text


async def test_a_client_that_is_silent_is_given_up() -> None:
    options = HaipServerOptions(heartbeat_interval=0.02)
    async with standing(parrot, options=options) as stand, socket_to(stand) as socket:
        await socket.send(hai(new_id()))
        assert await refused(socket) == 1000


async def test_health_and_figures(stand: Stand) -> None:
    async with stand.client("sse"), stand.client(), httpx.AsyncClient(trust_env=False) as http:
        address = f"http://127.0.0.1:{stand.port}"
        assert (await http.get(f"{address}/health")).json() == {"status": "ok", "haip_version": "1.1.2"}
        assert (await http.get(f"{address}/stats")).json() == {"sessions": 2, "connections": 2, "streams": 1}


async def test_the_application_lives_as_long_as_its_server_says() -> None:
    said, told = asyncio.Queue[Json](), asyncio.Queue[Json]()
    ended = asyncio.Event()

    async def note(session: HaipServerSession) -> None:
        await parrot(session)
        ended.set()

    server = HaipServer(JwtAuthenticator(SECRET), note)

    async def send(event: Any) -> None:  # noqa: ANN401 - an ASGI event
        await told.put(event)

    listener = WebListener(server, "127.0.0.1", 0)
    async with asyncio.TaskGroup() as tasks, tcp_proxy(listener.port) as proxy:
        living = tasks.create_task(server({"type": "lifespan"}, said.get, send))
        await said.put({"type": "lifespan.startup"})
        assert (await told.get())["type"] == "lifespan.startup.complete"
        await listener.start()
        async with Stand(server, listener.port, proxy).client(max_reconnect_attempts=0) as client:
            assert client.is_connected()
            await said.put({"type": "lifespan.shutdown"})
            assert (await told.get())["type"] == "lifespan.shutdown.complete"
            assert ended.is_set()
        await living
        await listener.stop()
