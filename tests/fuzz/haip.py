"""Targets: what strangers send over HAIP."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final, cast
from urllib.parse import quote_plus

import respx
from ably_ai_transport_haip import (
    HaipError,
    HaipEventType,
    HaipMessage,
    HaipTransport,
    HaipTransportConfig,
    HTTPStreamingTransport,
    SSETransport,
)
from ably_ai_transport_haip.protocol import Frame, HaipAuthenticationError, HaipPeer, PeerConfig
from ably_ai_transport_haip.server import (
    HaipServer,
    HaipServerSession,
    JwtAuthenticator,
    Principal,
    ServerTool,
)
from ably_ai_transport_haip.utils import parse_base64, parse_jwt, validate_message
from hypothesis import strategies as st

from tests.fuzz.asgi import request, settle, websocket
from tests.fuzz.local_tokens import sign
from tests.fuzz.target import BrokenPromiseError, Target
from tests.fuzz.values import Json, changed, changed_bytes, encode_json, read_json, texts, values
from tests.fuzz.vocabularies import OUTPUTS

_UUID: Final = "0b4ef5a5-3cc0-4b38-8b5c-0b8f3a5d2c11"
_SECRET: Final = "a secret of at least thirty-two bytes"
_NEVER: Final = 4_102_444_800
_INTERNAL: Final = 500

_HAI: Final[Json] = {
    "haip_version": "1.1.2",
    "accept_major": [1],
    "accept_events": [event.value for event in HaipEventType],
    "capabilities": {
        "binary_frames": True,
        "flow_control": {"initial_credit_messages": 10, "initial_credit_bytes": 1000},
        "max_concurrent_runs": 3,
    },
    "binary_frames": True,
    "max_concurrent_runs": 3,
    "last_rx_seq": "1",
}
_PAYLOADS: Final[tuple[tuple[str, Json], ...]] = (
    ("PING", {"nonce": "n"}),
    ("PONG", {"nonce": "n"}),
    ("RUN_STARTED", {"run_id": _UUID, "thread_id": "t", "metadata": {}}),
    ("RUN_FINISHED", {"status": "OK", "summary": "s"}),
    ("RUN_CANCEL", {"run_id": _UUID}),
    ("RUN_ERROR", {"code": "X", "message": "bad", "related_id": _UUID, "detail": {}}),
    ("TOOL_CANCEL", {"call_id": _UUID, "reason": "why"}),
    ("TOOL_CALL", {"call_id": _UUID, "tool": "echo", "params": {"a": 1}}),
    ("TOOL_LIST", {}),
    ("TOOL_SCHEMA", {"tool": "echo"}),
    ("FLOW_UPDATE", {"channel": "USER", "add_messages": 5, "add_bytes": 100}),
    ("PAUSE_CHANNEL", {"channel": "USER"}),
    ("RESUME_CHANNEL", {"channel": "USER"}),
    ("REPLAY_REQUEST", {"from_seq": "1", "to_seq": "2"}),
    *((one["type"], one["payload"]) for one in OUTPUTS["haip"]),
)


def _frame(kind: str, payload: Json, **more: object) -> Json:
    envelope: Json = {"id": _UUID, "session": _UUID, "seq": "SEQ", "ts": "1795000000000", "channel": "USER"}
    return {**envelope, "type": kind, "payload": payload, **more}


_HELLO: Final = _frame("HAI", _HAI, channel="SYSTEM")
FRAMES: Final[tuple[Json, ...]] = (
    _HELLO,
    *(_frame(kind, payload) for kind, payload in _PAYLOADS),
    _frame("AUDIO_CHUNK", {"message_id": _UUID, "mime": "a/b"}, bin_len=4, bin_mime="a/b", run_id=_UUID),
    _frame("MESSAGE_START", {"message_id": _UUID}, thread_id="t", ack="1", pv=1, crit=True),
)
"""Frames of a client. ``SEQ`` stands for the next sequence number."""

_frames: Final = st.lists(changed(FRAMES) | st.binary(max_size=8), min_size=1, max_size=10)


def _texts(value: list[Any], *, greets: bool = True) -> list[str | bytes]:
    """Write frames as a client sends them: a handshake first, and sequence numbers in order."""
    said: list[str | bytes] = []
    for frame in [_HELLO, *value] if greets else value:
        if isinstance(frame, bytes):
            said.append(frame)
            continue
        text = encode_json(frame).decode()
        said.append(text.replace('"seq": "SEQ"', f'"seq": "{len(said) + 1}"'))
    return said


def _check_sent(sent: object) -> None:
    """Check that a frame can be read by strict peers, and is one by the protocol."""
    if not isinstance(sent, str):
        return
    try:
        message = HaipMessage.from_wire(read_json(sent))
    except (ValueError, RecursionError, HaipError) as error:
        raise BrokenPromiseError("a frame was sent that strict readers refuse", sent[:300]) from error
    if message.type is not HaipEventType.HAI and not validate_message(message):
        raise BrokenPromiseError("a frame was sent that the schema refuses", sent[:300])


def _take_frames(value: list[Any]) -> None:
    for role in ("client", "server"):
        peer = HaipPeer(PeerConfig(role=cast("Any", role), clock=lambda: 1_795_000_000.0))
        peer.greet()
        outgoing: list[Frame] = []
        for said in _texts(value):
            if isinstance(said, str):
                peer.receive_text(said)
            else:
                peer.receive_binary(said)
            outgoing.extend(peer.take_outgoing())
        for frame in outgoing:
            _check_sent(frame.text)


def _take_bytes(value: list[bytes]) -> None:
    peer = HaipPeer(PeerConfig(role="server", clock=lambda: 1_795_000_000.0))
    for text in _texts([]):
        peer.receive_text(text)
    for data in value:
        peer.receive_text(data)
        peer.receive_text(data.decode(errors="replace"))
        peer.receive_binary(data)
    for frame in peer.take_outgoing():
        _check_sent(frame.text)


# The server


async def _echo(session: HaipServerSession) -> None:
    async for message in session.messages():
        if message.type == HaipEventType.MESSAGE_PART:
            await session.send_text_message("AGENT", str(message.payload["text"]))


def _echo_tool() -> ServerTool:
    return ServerTool("echo", lambda call: call.params)


@asynccontextmanager
async def _server() -> AsyncGenerator[HaipServer]:
    async with HaipServer(lambda token: Principal(token or "me"), _echo, tools=[_echo_tool()]) as server:
        yield server


async def _take_websocket(value: list[Any]) -> None:
    async with _server() as server:
        async with websocket(server, b"token=me") as socket, websocket(server, b"token=you") as bystander:
            for said in _texts(value):
                socket.send(said)
            for said in _texts([]):
                bystander.send(said)
            await settle(socket, bystander)
        if bystander.closed not in (None, 1000):
            raise BrokenPromiseError("a bystander was disconnected", bystander.closed)
        for sent in (*socket.received, *bystander.received):
            _check_sent(sent)


_PATHS: Final = (
    "/",
    "/haip",
    "/haip/sse",
    "/haip/connect",
    "/haip/stream",
    "/haip/message",
    "/haip/handshake",
    "/x",
)
_requests: Final = st.tuples(
    st.sampled_from(("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS")),
    st.sampled_from(_PATHS),
    st.dictionaries(st.sampled_from(("token", "stream_id", "stream", "session", "x")), texts, max_size=2),
    st.fixed_dictionaries(
        {},
        optional={
            "authorization": st.sampled_from(("Bearer me", "Bearer", "Basic x", "", "Bearer é")),
            "accept": st.sampled_from(("text/event-stream", "application/x-ndjson", "*/*")),
            "content-type": st.sampled_from(("application/json", "application/x-ndjson", "text/plain")),
            "x-haip-stream": texts,
            "x-haip-binary": st.just("1"),
            "x-haip-message": st.just("1"),
            "content-length": texts,
        },
    ),
    changed(FRAMES) | st.binary(max_size=20) | values,
)


async def _take_requests(value: list[Any]) -> None:
    async with _server() as server:
        for method, path, query, headers, body in value:
            text = "&".join(f"{name}={quote_plus(one, errors='replace')}" for name, one in query.items())
            reply = await request(
                server,
                method,
                path,
                query=text.encode(),
                headers={name: one.encode("latin-1", "replace") for name, one in headers.items()},
                body=body
                if isinstance(body, bytes)
                else b"".join(_as_bytes(one) for one in _texts([body], greets=False)),
            )
            if reply.status == _INTERNAL:
                raise BrokenPromiseError("a request was answered with 500", reply.body[:200])
            if reply.headers.get("content-type", "").startswith("application/json"):
                read_json(reply.body)


def _as_bytes(payload: str | bytes) -> bytes:
    return payload.encode() if isinstance(payload, str) else payload


# The client

_SAID: Final = encode_json(FRAMES[1]).decode()
_STREAMS: Final = [
    f"event: message\ndata: {_SAID}\n\nevent: haip-binary\ndata: AAEC\n\ndata: [DONE]\n\n".encode(),
    f"retry: 10\nid: 1\nevent: haip-message\ndata: {_SAID[:20]}\ndata: {_SAID[20:]}\n\n:\n\n".encode(),
    f"{_SAID}\n{_SAID}\ndata: {_SAID}\n[DONE]\n".encode(),
    "event: haip-binary\ndata: é\n\n".encode(),
]


async def _take_stream(value: tuple[str, str, bytes]) -> None:
    """A client reads the answer of a server to its end, whatever it holds."""
    kind, content_type, body = value
    config = HaipTransportConfig("http://haip.test/haip/sse", "token")
    transport: HaipTransport = SSETransport(config) if kind == "sse" else HTTPStreamingTransport(config)
    ended = asyncio.Event()

    def end(_: str) -> None:
        ended.set()

    transport.on("disconnect", end)
    with respx.mock() as router:
        router.get(host="haip.test").respond(200, headers={"content-type": content_type}, content=body)
        try:
            await transport.connect()
            await ended.wait()
        finally:
            await transport.disconnect()


# Tokens and small parsers

_HEADS: Final = ({"alg": "HS256", "typ": "JWT"}, {"alg": "none"})
_CLAIMS: Final = (
    {"sub": "me", "exp": _NEVER, "iss": "i", "aud": "a", "tenant": "t"},
    {"userId": "me", "exp": _NEVER},
)


async def _take_token(value: tuple[object, object]) -> None:
    for authenticate in (JwtAuthenticator(_SECRET), JwtAuthenticator(_SECRET, issuer="i", audience="a")):
        try:
            principal = await authenticate(sign(*value, _SECRET))
        except HaipAuthenticationError:
            continue
        if not principal.id:
            raise BrokenPromiseError("a token without an owner was accepted")


def _take_jwt(text: str) -> None:
    json.dumps(parse_jwt(text))


_TOKENS: Final = [sign(_HEADS[0], claims, _SECRET).encode() for claims in _CLAIMS]
_refused: Final = (HaipError,)

TARGETS: Final = (
    Target("haip.frames", _frames, _take_frames),
    Target(
        "haip.bytes",
        st.lists(changed_bytes([encode_json(frame) for frame in FRAMES]), min_size=1, max_size=3),
        _take_bytes,
    ),
    Target("haip.websocket", _frames, _take_websocket),
    Target("haip.requests", st.lists(_requests, min_size=1, max_size=4), _take_requests),
    Target("haip.tokens", st.tuples(changed(_HEADS, most=1), changed(_CLAIMS)), _take_token),
    Target(
        "haip.streams",
        st.tuples(
            st.sampled_from(("sse", "lines")),
            st.sampled_from(("text/event-stream", "application/x-ndjson", "")),
            changed_bytes(_STREAMS),
        ),
        _take_stream,
        _refused,
    ),
    Target("haip.parse_base64", texts, parse_base64, _refused),
    Target(
        "haip.parse_jwt",
        changed_bytes(_TOKENS).map(lambda data: data.decode("latin-1")) | texts,
        _take_jwt,
        _refused,
    ),
)
