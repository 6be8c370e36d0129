"""Flow control between clients and server sessions: slow readers, paused channels, ends of sessions."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import httpx
import pytest
from ably_ai_transport_haip import (
    FlowControlConfig,
    HaipChannel,
    HaipConnectionError,
    HaipEnvelope,
    HaipError,
    HaipEventType,
    HaipMessage,
)
from ably_ai_transport_haip.client.config import TransportName
from ably_ai_transport_haip.protocol import new_id
from ably_ai_transport_haip.server import HaipServerOptions, HaipServerSession
from httpx_sse import EventSource
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support.haip_stand import TRANSPORTS, Inbox, parrot, standing, token

FEW = 20


def part(text: str, channel: str = HaipChannel.USER) -> HaipMessage:
    payload = {"message_id": new_id(), "text": text}
    return HaipMessage(HaipEventType.MESSAGE_PART, payload, HaipEnvelope(channel=channel))


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> TransportName:
    return request.param


@pytest.mark.parametrize("on_exhausted", ["wait", "queue"])
async def test_a_plain_loop_to_a_server_that_echoes(on_exhausted: str) -> None:
    number = 2000
    options = HaipServerOptions(receive_credits=FEW)
    async with (
        standing(parrot, options=options) as stand,
        stand.client(on_exhausted=on_exhausted) as client,
    ):
        inbox = Inbox(client)
        for n in range(number):
            await client.send_message(part(str(n)))
        echoed = await inbox.until(number, "MESSAGE_PART")
        assert [message.payload["text"] for message in echoed] == [str(n) for n in range(number)]
        assert inbox.errors == []


async def test_a_server_that_reads_slowly_slows_its_client_down(transport: TransportName) -> None:
    number = 300
    sent = read = most = 0
    done = asyncio.Event()

    async def crawl(session: HaipServerSession) -> None:
        nonlocal read, most
        async for _ in session.messages():
            most = max(most, sent - read)
            read += 1
            await asyncio.sleep(0)
            if read == number:
                done.set()

    options = HaipServerOptions(receive_credits=FEW)
    async with standing(crawl, options=options) as stand, stand.client(transport) as client:
        inbox = Inbox(client)
        for n in range(number):
            await client.send_message(part(str(n)))
            sent += 1
        with anyio.fail_after(20):
            await done.wait()
        # One more may be counted as sent before its turn comes.
        assert most <= FEW + 1
        assert inbox.errors == []


async def test_a_client_that_reads_slowly_slows_its_server_down(transport: TransportName) -> None:
    number = 3000
    sent = read = most = 0

    async def pour(session: HaipServerSession) -> None:
        nonlocal sent
        async for _ in session.messages():
            for n in range(number):
                await session.send_message(part(str(n), HaipChannel.AGENT))
                sent += 1

    async with standing(pour) as stand, stand.client(transport) as client:
        inbox = Inbox(client)
        texts: list[object] = []
        messages = client.messages()
        await client.send_message(part("go"))
        with anyio.fail_after(30):
            async for message in messages:
                if message.type is HaipEventType.MESSAGE_PART:
                    most = max(most, sent - read)
                    read += 1
                    texts.append(message.payload["text"])
                    await asyncio.sleep(0)
                if read == number:
                    break
        assert texts == [str(n) for n in range(number)]
        # The window of a client: a thousand messages.
        assert most <= 1001
        assert inbox.errors == []


async def test_an_iterator_that_is_dropped_holds_nothing_back() -> None:
    number = 2500

    async def pour(session: HaipServerSession) -> None:
        async for _ in session.messages():
            for n in range(number):
                await session.send_message(part(str(n), HaipChannel.AGENT))

    async with standing(pour) as stand, stand.client() as client:
        inbox = Inbox(client)
        dropped, closed = client.messages(), client.messages()
        await client.send_message(part("go"))
        await inbox.until(1000, "MESSAGE_PART")
        assert len(inbox.of("MESSAGE_PART")) == 1000
        await closed.aclose()
        del dropped
        await inbox.until(number, "MESSAGE_PART")


async def test_credits_are_not_requested_on_a_paused_channel() -> None:
    async def pause(session: HaipServerSession) -> None:
        await session.pause_channel("USER")
        async for message in session.messages():
            if message.type is HaipEventType.MESSAGE_PART:
                await session.send_text_message("AGENT", str(message.payload["text"]))
            if message.payload.get("text") == "resume":
                await session.resume_channel("USER")

    flow = FlowControlConfig(initial_credits=2, on_exhausted="wait")
    async with standing(pause) as stand:
        client = stand.client(flow_control=flow)
        inbox = Inbox(client)
        async with client, asyncio.TaskGroup() as tasks:
            await inbox.until(1, "PAUSE_CHANNEL")
            for n in range(5):
                tasks.create_task(client.send_message(part(f"late {n}")))
            for n in range(20):
                await client.send_message(part(str(n), HaipChannel.AGENT))
            await inbox.until(20, "MESSAGE_PART")
            before = client.get_performance_metrics().messages_sent
            # A handshake, twenty texts, a request for every two of them, and nothing for USER.
            assert before <= 1 + 20 + 20
            assert not [m for m in inbox.of("FLOW_UPDATE") if m.payload["channel"] == "USER"]
            await client.send_message(part("resume", HaipChannel.AGENT))
            await inbox.until(26, "MESSAGE_PART")
        assert inbox.errors == []


@pytest.mark.parametrize("ending", ["refused", "over"])
async def test_senders_that_wait_for_credits_learn_that_the_session_has_ended(ending: str) -> None:
    going = asyncio.Event()

    async def stop(session: HaipServerSession) -> None:
        await session.pause_channel("USER")
        await going.wait()
        if ending == "refused":
            session.refuse(HaipError("enough", "PROTOCOL_VIOLATION"))
            await anyio.sleep_forever()

    options = HaipServerOptions(close_timeout=0.05)
    async with standing(stop, options=options) as stand, AsyncExitStack() as stack:
        client = stand.client(max_reconnect_attempts=0)
        inbox = Inbox(client)
        await stack.enter_async_context(client)
        await inbox.until(1, "PAUSE_CHANNEL")
        senders = [asyncio.create_task(client.send_text_message("USER", "never")) for _ in range(3)]
        await asyncio.sleep(0)
        going.set()
        with anyio.fail_after(10):
            results: list[Any] = await asyncio.gather(*senders, return_exceptions=True)
        assert [type(result) for result in results] == [HaipConnectionError] * 3
        if ending == "refused":
            assert {result.code for result in results} == {"PROTOCOL_ERROR"}
            assert all("enough" in str(result) for result in results)
        with pytest.raises(HaipConnectionError):
            await client.send_text_message("USER", "never")


async def test_a_handler_that_waits_for_credits_learns_that_its_session_has_ended() -> None:
    failed: list[HaipError] = []
    waiting, failing = asyncio.Event(), asyncio.Event()

    async def pour(session: HaipServerSession) -> None:
        async for message in session.messages():
            if message.type is not HaipEventType.MESSAGE_PART:
                continue
            try:
                async with asyncio.timeout(10):
                    while True:
                        waiting.set()
                        await session.send_message(part("x", HaipChannel.AGENT))
            except HaipError as error:
                failed.append(error)
                failing.set()
                raise

    options = HaipServerOptions(session_ttl=0.0)
    async with standing(pour, options=options) as stand:
        async with stand.client() as client:
            unread = client.messages()
            await client.send_message(part("go"))
            await waiting.wait()
        with anyio.fail_after(10):
            await failing.wait()
        del unread
    assert [(type(error), error.code) for error in failed] == [(HaipConnectionError, "CONNECTION_FAILED")]


async def test_a_loop_of_sends_to_a_client_that_has_left_fails_and_slows_nobody() -> None:
    failed: list[HaipError] = []
    going, failing = asyncio.Event(), asyncio.Event()

    async def pour(session: HaipServerSession) -> None:
        if session.principal.id != "bob":
            await parrot(session)
            return
        await going.wait()
        try:
            while True:
                # It costs no credits, so nothing else stops the loop.
                await session.call_tool("SYSTEM", "x" * 100)
        except HaipError as error:
            failed.append(error)
            failing.set()

    options = HaipServerOptions(max_replay_bytes=200_000)
    async with standing(pour, options=options) as stand, stand.client(who="alice") as alice:
        inbox = Inbox(alice)
        async with stand.client(who="bob") as bob:
            await bob.start_run()
        going.set()
        echoes = 0
        with anyio.fail_after(10):
            while not failing.is_set():
                await alice.send_message(part("still here"))
                echoes += 1
                await inbox.until(echoes, "MESSAGE_PART")
        assert echoes > 0
        async with httpx.AsyncClient() as http:
            health = await http.get(f"http://127.0.0.1:{stand.port}/health")
        assert health.json()["status"] == "ok"
    assert [type(error) for error in failed] == [HaipConnectionError]
    assert "the client has left" in str(failed[0])


# Limits in bytes


HELLO: dict[str, object] = {
    "haip_version": "1.1.2",
    "accept_major": [1],
    "accept_events": list(HaipEventType),
}


def frame(kind: str, payload: dict[str, object], seq: int, channel: str = "SYSTEM", **more: object) -> str:
    flat = {"id": new_id(), "session": new_id(), "seq": str(seq), "ts": "1", "channel": channel, "type": kind}
    return json.dumps({**flat, "payload": payload, **more})


def greedy(seq: int) -> str:
    return frame("TOOL_CALL", {"call_id": new_id(), "tool": "x" * 50_000}, seq)


def binary(seq: int) -> str:
    payload: dict[str, object] = {"message_id": new_id(), "mime": "audio/wav"}
    return frame("AUDIO_CHUNK", payload, seq, "AUDIO_IN", bin_len=200_000)


async def never_read(session: HaipServerSession) -> None:
    await anyio.sleep_forever()


@pytest.mark.parametrize(
    ("make", "first", "code"),
    [
        (greedy, 2, "FLOW_CONTROL_VIOLATION"),
        # Number 2 is missing.
        (greedy, 3, "SEQ_VIOLATION"),
        (binary, 2, "BINARY_FRAME_ERROR"),
    ],
    ids=["unread", "out of order", "binary"],
)
async def test_a_client_cannot_make_the_server_keep_more_bytes_than_allowed(
    make: Callable[[int], str], first: int, code: str
) -> None:
    options = HaipServerOptions(
        max_waiting_bytes=100_000, max_held_bytes=100_000, max_binary_size=100_000, close_timeout=0.05
    )
    codes: list[str] = []
    async with (
        standing(never_read, options=options) as stand,
        connect(f"ws://127.0.0.1:{stand.port}/?token={token()}") as socket,
    ):
        with contextlib.suppress(ConnectionClosed):
            await socket.send(frame("HAI", HELLO, 1))
            for n in range(4):
                await socket.send(make(first + n))
            with anyio.fail_after(10):
                while not codes:
                    said = json.loads(await socket.recv())
                    if said["type"] == "ERROR":
                        codes.append(said["payload"]["code"])
    assert codes == [code]


async def test_the_replay_log_has_a_limit_in_bytes() -> None:
    kinds: list[str] = []
    async with (
        standing(parrot, options=HaipServerOptions(max_replay_bytes=100_000)) as stand,
        connect(f"ws://127.0.0.1:{stand.port}/?token={token()}") as socket,
    ):
        await socket.send(frame("HAI", HELLO, 1))
        for n in range(5):
            # The pong repeats it.
            await socket.send(frame("PING", {"nonce": "x" * 40_000}, n + 2))
        await socket.send(frame("REPLAY_REQUEST", {"from_seq": "1"}, 7))
        with anyio.fail_after(10):
            while "REPLAY_TOO_OLD" not in kinds:
                said = json.loads(await socket.recv())
                kinds.append(said["payload"]["code"] if said["type"] == "ERROR" else said["type"])
    assert kinds == ["HAI", *["PONG"] * 5, "REPLAY_TOO_OLD"]


# Several frames in one request


async def test_a_request_may_bring_several_frames() -> None:
    async with standing(parrot) as stand, httpx.AsyncClient() as http, asyncio.timeout(10):
        url = f"http://127.0.0.1:{stand.port}/haip/stream"
        params = {"token": token(), "stream_id": "1"}
        lines = {"X-HAIP-Stream": "1", "Content-Type": "application/x-ndjson"}
        accept = {"Accept": "text/event-stream"}
        async with http.stream("GET", url, params=params, headers=accept) as response:
            frames = [frame("PING", {"nonce": str(n)}, n + 2) for n in range(3)]
            body = "\n".join([frame("HAI", HELLO, 1), *frames])
            taken = await http.post(url, params=params, headers=lines, content=body)
            assert taken.status_code == 200
            said: list[dict[str, Any]] = []
            async for event in EventSource(response).aiter_sse():
                said.append(json.loads(event.data))
                if len(said) == 4:
                    break
        assert said[0]["payload"]["capabilities"]["ndjson_requests"] is True
        assert [one["payload"].get("nonce") for one in said[1:]] == ["0", "1", "2"]


@pytest.mark.parametrize("transport", ["sse", "http-streaming"])
async def test_the_frames_of_a_text_are_one_request(transport: TransportName) -> None:
    posts = 0
    async with standing(parrot) as stand:
        count = httpx.AsyncClient.post

        def post(self: httpx.AsyncClient, url: str, **options: Any) -> Awaitable[httpx.Response]:  # noqa: ANN401
            nonlocal posts
            posts += 1
            return count(self, url, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(httpx.AsyncClient, "post", post)
            async with stand.client(transport) as client:
                inbox = Inbox(client)
                await client.send_text_message("USER", "x" * 20_000)
                await inbox.until(20, "MESSAGE_END")
                # The handshake, and the start, the parts and the end together.
                assert posts == 2
                assert inbox.text() == "x" * 20_000
