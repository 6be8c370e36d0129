"""Owners: whose sessions are whose, and the end of connections with their tokens."""

import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import httpx
import pytest
from ably_ai_transport_haip import HaipAuthenticationError, HaipError
from ably_ai_transport_haip.client.config import TransportName
from ably_ai_transport_haip.protocol import HaipEventType, new_id
from ably_ai_transport_haip.server import HaipServerSession, JwtAuthenticator, Principal
from httpx_sse import aconnect_sse
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.haip_stand import SECRET, TRANSPORTS, Inbox, Stand, parrot, standing, token

Json = dict[str, Any]


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    async with standing(parrot) as it:
        yield it


def frame(kind: str, payload: Json, session: str, seq: str = "1", **more: object) -> str:
    flat = {"id": new_id(), "session": session, "seq": seq, "ts": "1", "channel": "SYSTEM", "type": kind}
    return json.dumps({**flat, "payload": payload, **more})


def hai(session: str, seq: str = "1", **payload: object) -> str:
    events = [event for event in HaipEventType if event is not HaipEventType.PING]
    said = {"haip_version": "1.1.2", "accept_major": [1], "accept_events": events, **payload}
    return frame("HAI", said, session, seq)


async def told(socket: ClientConnection, kind: str) -> Json:
    with anyio.fail_after(10):
        while (message := json.loads(await socket.recv()))["type"] != kind:
            pass
    return message


OTHERS: dict[str, Callable[[], str]] = {
    "tenant": lambda: token("alice", tenant="other", iss="here"),
    "issuer": lambda: token("alice", tenant="acme", iss="elsewhere"),
    "no tenant": lambda: token("alice", iss="here"),
    "subject": lambda: token("bob", tenant="acme", iss="here"),
    "tenant of another type": lambda: token("alice", tenant=["acme"], iss="here"),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
async def test_a_session_belongs_to_the_whole_owner(stand: Stand, other: Callable[[], str]) -> None:
    own = token("alice", tenant="acme", iss="here", exp=int(time.time()) + 90)
    address = f"ws://127.0.0.1:{stand.port}/"
    async with stand.client(token=token("alice", tenant="acme", iss="here")) as alice:
        await alice.send_text_message("USER", "a secret")
        async with connect(f"{address}?token={other()}", proxy=None) as socket:
            await socket.send(hai(alice.session_id, last_rx_seq="0"))
            greeting = await told(socket, "HAI")
            assert greeting["session"] != alice.session_id
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.post(
                f"http://127.0.0.1:{stand.port}/haip/message",
                content=frame("PING", {}, alice.session_id, "3"),
                headers={"Authorization": f"Bearer {other()}"},
            )
            assert answer.status_code == 404
        assert alice.is_connected()
        async with connect(f"{address}?token={own}", proxy=None) as socket:
            await socket.send(hai(alice.session_id, last_rx_seq="0"))
            assert (await told(socket, "HAI"))["session"] == alice.session_id


async def test_the_claims_that_identify_an_owner_can_be_chosen() -> None:
    authenticate = JwtAuthenticator(SECRET, identity_claims=["org"])
    one = await authenticate(token("alice", org=1, iss="a"))
    other = await authenticate(token("alice", org=1, iss="b"))
    elsewhere = await authenticate(token("alice", org="1", iss="a"))
    assert one.identity == other.identity
    assert one.identity != elsewhere.identity
    with pytest.raises(ValueError, match="identity_claims must be a list"):
        JwtAuthenticator(SECRET, identity_claims="tenant")


async def test_an_owner_of_another_type_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    def nobody(_: str) -> Any:  # noqa: ANN401 - a function of an application that returns the wrong type
        return None

    async with standing(parrot, authenticate=nobody) as stand:
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(f"http://127.0.0.1:{stand.port}/haip/sse")
        assert answer.status_code == 503
    assert "must be a Principal, not NoneType" in caplog.text


async def test_the_newest_token_of_an_owner_counts(stand: Stand) -> None:
    sessions: list[HaipServerSession] = []

    async def note(session: HaipServerSession) -> None:
        sessions.append(session)
        await parrot(session)

    session_id = new_id()
    async with standing(note) as noting:
        for role in ("reader", "writer"):
            address = f"ws://127.0.0.1:{noting.port}/?token={token(role=role)}"
            async with connect(address, proxy=None) as socket:
                await socket.send(hai(session_id))
                await told(socket, "HAI")
                assert sessions[0].principal.claims["role"] == role
    assert len(sessions) == 1


# Invalid handshakes


INVALID: dict[str, Callable[[str], str]] = {
    "no events": lambda session: frame("HAI", {"haip_version": "1", "accept_major": [1]}, session),
    "another major version": lambda session: hai(session, accept_major=[2]),
    "no number": lambda session: hai(session, seq="none", last_rx_seq="1"),
    "no handshake": lambda session: frame("PING", {}, session),
    "no JSON": lambda _: "{",
}


@pytest.mark.parametrize("make", INVALID.values(), ids=INVALID)
async def test_an_invalid_handshake_replaces_no_connection(stand: Stand, make: Callable[[str], str]) -> None:
    async with stand.client() as alice:
        inbox = Inbox(alice)
        async with connect(f"ws://127.0.0.1:{stand.port}/?token={token()}", proxy=None) as socket:
            await socket.send(make(alice.session_id))
            await told(socket, "ERROR")
        await alice.send_text_message("USER", "still here")
        await inbox.until(1, "MESSAGE_END")
        assert inbox.downs == []
    assert len(stand.server) == 1


async def test_after_an_invalid_handshake_a_valid_one_is_accepted(stand: Stand) -> None:
    async with connect(f"ws://127.0.0.1:{stand.port}/?token={token()}", proxy=None) as socket:
        session = new_id()
        await socket.send(frame("HAI", {}, session))
        assert (await told(socket, "ERROR"))["payload"]["code"] == "INVALID_MESSAGE"
        await socket.send(hai(session))
        assert (await told(socket, "HAI"))["session"] == session


@pytest.mark.parametrize("session", ["0190b5c0-7d4a-7000-8000-000000000000", "0" * 36, "x", ""])
async def test_a_session_id_that_the_schema_refuses_is_replaced(stand: Stand, session: str) -> None:
    async with connect(f"ws://127.0.0.1:{stand.port}/?token={token()}", proxy=None) as socket:
        await socket.send(hai(session))
        assert (await told(socket, "HAI"))["session"] != session


# The end of tokens


async def expiring(token: str) -> Principal:
    """Accept a token that ends soon: its text is the number of milliseconds."""
    if token == "again":
        raise HaipAuthenticationError("unable to accept token; it has expired")
    return Principal("alice", expires_at=time.time() + int(token) / 1000)


@pytest.fixture
async def brief() -> AsyncIterator[Stand]:
    async with standing(parrot, authenticate=expiring) as it:
        yield it


async def test_a_socket_ends_with_its_token(brief: Stand) -> None:
    async with connect(f"ws://127.0.0.1:{brief.port}/?token=500", proxy=None) as socket:
        await socket.send(hai(new_id()))
        error = await told(socket, "ERROR")
        assert error["payload"]["code"] == "TOKEN_EXPIRED"
        with anyio.fail_after(10), pytest.raises(ConnectionClosed):
            await socket.recv()
        assert (socket.close_code, socket.close_reason) == (1008, "the token has expired")


@pytest.mark.parametrize("path", ["/haip/sse", "/haip/stream"])
async def test_a_stream_ends_with_its_token(brief: Stand, path: str) -> None:
    headers = {"Authorization": "Bearer 500"}
    address = f"http://127.0.0.1:{brief.port}{path}"
    async with (
        httpx.AsyncClient(trust_env=False, timeout=20) as http,
        aconnect_sse(http, "GET", address, headers=headers) as stream,
    ):
        answer = await http.post(address, content=hai(new_id()), headers={**headers, "X-HAIP-Message": "1"})
        assert answer.status_code == 200
        seen = [event.data async for event in stream.aiter_sse()]
    assert seen[-1] == "[DONE]"
    assert json.loads(seen[-2])["payload"]["code"] == "TOKEN_EXPIRED"


async def test_a_connection_without_a_handshake_ends_with_its_token(brief: Stand) -> None:
    async with connect(f"ws://127.0.0.1:{brief.port}/?token=50", proxy=None) as socket:
        assert (await told(socket, "ERROR"))["payload"]["code"] == "TOKEN_EXPIRED"
        with anyio.fail_after(10), pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1008


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_client_with_a_token_function_goes_on_with_a_fresh_token(
    brief: Stand, transport: TransportName
) -> None:
    tokens = iter(["1000", "60000"])
    async with brief.client(transport, token=lambda: next(tokens)) as client:
        inbox = Inbox(client)
        await inbox.until_up()
        await client.send_text_message("USER", "still here")
        await inbox.until(1, "MESSAGE_END")
        assert inbox.text() == "still here"
        assert inbox.downs == ["the token has expired"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_client_without_a_fresh_token_gives_up(brief: Stand, transport: TransportName) -> None:
    tokens = iter(["1000"])
    async with brief.client(transport, token=lambda: next(tokens, "again")) as client:
        inbox = Inbox(client)
        await inbox.until_down()
        with anyio.fail_after(10), pytest.raises(HaipError, match="AUTHENTICATION_FAILED"):
            await client.send_text_message("USER", "never")
    assert any(isinstance(error, HaipAuthenticationError) for error in inbox.errors)


async def test_a_session_outlives_the_token(brief: Stand) -> None:
    session = new_id()
    for life in ("500", "60000"):
        async with connect(f"ws://127.0.0.1:{brief.port}/?token={life}", proxy=None) as socket:
            await socket.send(hai(session))
            assert (await told(socket, "HAI"))["session"] == session
            if life == "500":
                await told(socket, "ERROR")
    assert len(brief.server) == 1


def test_a_token_ends_when_its_claim_says_unless_told_otherwise() -> None:
    assert Principal("alice", {"exp": 5}).expires_at == 5
    assert Principal("alice", {"exp": 5}, expires_at=7.0).expires_at == 7
    assert Principal("alice").expires_at is None


async def test_the_leeway_counts_at_the_end_too() -> None:
    soon = int(time.time()) + 60
    for exp in (soon, str(soon), 10**400):
        principal = await JwtAuthenticator(SECRET, leeway=10)(token(exp=exp))
        assert principal.expires_at is not None
        assert principal.expires_at >= soon + 10
