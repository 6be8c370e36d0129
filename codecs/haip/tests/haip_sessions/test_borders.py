"""Bad input is refused where it arrives, with an error that says why."""

import contextlib
import json
import math
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from ably_ai_transport_haip import (
    FlowControlConfig,
    HaipClientConfig,
    HaipError,
    HaipEventType,
    HaipMessage,
    HaipProtocolError,
    SSETransportOptions,
    WebSocketTransportOptions,
    create_haip_client,
)
from ably_ai_transport_haip.client.config import TransportName, TransportOptions
from ably_ai_transport_haip.protocol import new_id
from ably_ai_transport_haip.server import HaipServerOptions, JwtAuthenticator
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support.haip_stand import Stand, parrot, standing, token


def wrong(value: object) -> Any:  # noqa: ANN401 - an argument of the wrong type
    return value


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: HaipClientConfig(url=wrong(5), token=""), "url is int"),
        (lambda: HaipClientConfig(url="ws://a", token=wrong(5)), "token is int"),
        (lambda: HaipClientConfig(url="ws://a", token="", transport=wrong("pigeon")), "known are websocket"),
        (lambda: HaipClientConfig(url="ws://a", token="", max_concurrent_runs=0), "is less than 1"),
        (lambda: HaipClientConfig(url="ws://a", token="", reconnect_delay=-1), "is negative"),
        (lambda: HaipClientConfig(url="ws://a", token="", connect_timeout=0), "is not positive"),
        (lambda: FlowControlConfig(on_exhausted=wrong("panic")), "is not one of raise, queue, wait"),
        (lambda: FlowControlConfig(max_credits={"USER": -1}), "max_credits is negative"),
        (lambda: HaipServerOptions(max_sessions=-1), "max_sessions is negative"),
        (lambda: HaipServerOptions(heartbeat_interval=0), "heartbeat_interval is not positive"),
        (lambda: JwtAuthenticator("k" * 32, algorithms="HS256"), "must be a list"),
        (lambda: JwtAuthenticator("k" * 32, leeway=-1), "leeway is negative"),
    ],
)
def test_configurations_that_are_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize(
    ("transport", "options", "takes"),
    [
        ("websocket", SSETransportOptions(), "WebSocketTransportOptions, not SSETransportOptions"),
        ("sse", WebSocketTransportOptions(), "SSETransportOptions, not WebSocketTransportOptions"),
        (
            "http-streaming",
            SSETransportOptions(),
            "HTTPStreamingTransportOptions, not SSETransportOptions",
        ),
    ],
)
def test_options_of_another_transport(
    transport: TransportName, options: TransportOptions, takes: str
) -> None:
    with pytest.raises(HaipError, match=takes):
        create_haip_client(url="http://localhost", token="t", transport=transport, options=options)


async def test_arguments_that_are_refused() -> None:
    async with standing(parrot) as stand, stand.client() as alice:
        run_id = await alice.start_run()
        sends: list[tuple[str, Callable[[], Any]]] = [
            ("it is int, not text", lambda: alice.send_text_message("USER", 5)),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
            ("the data are str", lambda: alice.send_binary("text")),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
            ("result is no JSON", lambda: alice.complete_tool("AGENT", new_id(), "OK", math.nan)),
            ("result is no JSON", lambda: alice.complete_tool("AGENT", new_id(), "OK", object())),
            ("summary is int", lambda: alice.finish_run(run_id, "OK", 5)),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
            ("its payload is no JSON", lambda: alice.start_run(None, {"a": math.inf})),
            ("channel must be", lambda: alice.send_text_message("a b", "text")),
            ("thread_id must be", lambda: alice.start_run("t" * 129)),
            (
                "'PING' is no HaipEventType",
                lambda: alice.send_message(HaipMessage("PING", {})),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
            ),
        ]
        for said, send in sends:
            with pytest.raises(HaipProtocolError, match=said):
                await send()
        # A run that was not announced is not open.
        assert [run.id for run in alice.get_active_runs()] == [run_id]


async def exchange(stand: Stand, *frames: str) -> list[dict[str, Any]]:
    """Send frames as they are after a handshake, then a ping; return the replies up to its pong."""
    last = frame("PING", {"nonce": "the last"}, seq=str(len(frames) + 2))
    replies = list[dict[str, Any]]()
    async with connect(f"ws://127.0.0.1:{stand.port}/?token={token()}") as socket:
        for text in (frame("HAI", HELLO, seq="1"), *frames, last):
            await socket.send(text)
        with anyio.fail_after(20), contextlib.suppress(ConnectionClosed):
            while not replies or replies[-1]["payload"].get("nonce") != "the last":
                replies.append(json.loads(await socket.recv()))
    return replies


HELLO: dict[str, object] = {
    "haip_version": "1.1.2",
    "accept_major": [1],
    "accept_events": [event for event in HaipEventType if event != "PING"],
}


def frame(kind: str, payload: dict[str, object], *, seq: str, **more: object) -> str:
    flat = {
        "id": new_id(),
        "session": new_id(),
        "seq": seq,
        "ts": "1",
        "channel": "SYSTEM",
        "type": kind,
        "payload": payload,
    }
    return json.dumps({**flat, **more})


async def test_a_sequence_number_of_thousands_of_digits() -> None:
    async with standing(parrot) as stand:
        replies = await exchange(stand, frame("RUN_STARTED", {}, seq="9" * 5000, run_id=new_id()))
        assert [r["payload"]["code"] for r in replies if r["type"] == "ERROR"] == ["SEQ_VIOLATION"]


async def test_half_a_surrogate_pair_is_answered() -> None:
    async with standing(parrot) as stand:
        replies = await exchange(stand, frame("PING", {"nonce": "a\ud800"}, seq="2"))
        assert "a\ufffd" in [reply["payload"].get("nonce") for reply in replies]


async def test_a_first_message_that_is_nested_too_deeply() -> None:
    async with (
        standing(parrot) as stand,
        connect(f"ws://127.0.0.1:{stand.port}/?token={token()}") as socket,
    ):
        await socket.send("[" * 100_000)
        assert json.loads(await socket.recv())["payload"]["code"] == "PROTOCOL_VIOLATION"


async def test_a_run_whose_id_is_refused_is_not_open() -> None:
    async with standing(parrot, options=HaipServerOptions(max_concurrent_runs=1)) as stand:
        good = new_id()
        replies = await exchange(
            stand,
            frame("RUN_STARTED", {}, seq="2", run_id="no UUID"),
            frame("RUN_STARTED", {}, seq="3", run_id=good),
        )
        assert [r["payload"]["code"] for r in replies if r["type"] == "ERROR"] == ["INVALID_MESSAGE"]
        assert [r["run_id"] for r in replies if r["type"] == "RUN_STARTED"] == [good]


async def test_a_run_that_ends_without_a_status() -> None:
    async with standing(parrot) as stand:
        run_id = new_id()
        replies = await exchange(
            stand,
            frame("RUN_STARTED", {}, seq="2", run_id=run_id),
            frame("RUN_FINISHED", {"status": None}, seq="3", run_id=run_id),
        )
        assert [reply["type"] for reply in replies] == ["HAI", "RUN_STARTED", "PONG"]
