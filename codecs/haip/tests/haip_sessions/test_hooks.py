"""Listeners and hooks: plain and coroutine functions, and the exceptions that they raise."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from ably_ai_transport_haip import (
    FlowControlConfig,
    HaipAuthenticationError,
    HaipConnectionError,
    HaipMessage,
    create_haip_client,
)
from ably_ai_transport_haip.client.config import TransportName
from ably_ai_transport_haip.flow import ChannelManager, CreditAwareQueue, FlowControlMonitor
from ably_ai_transport_haip.server import HaipServer, HaipServerSession, Principal, ServerTool, ToolCall

from ably_ai_transport.local.web.listener import WebListener
from tests.support.haip_stand import TRANSPORTS, Inbox, parrot, standing, token


async def test_a_coroutine_listener_runs() -> None:
    async with standing(parrot) as stand, stand.client() as alice:
        heard, done = list[str](), anyio.Event()

        async def listen(message: HaipMessage) -> None:
            await anyio.lowlevel.checkpoint()
            heard.append(message.type)
            if message.type == "MESSAGE_END":
                done.set()

        alice.on("message", listen)
        await alice.send_text_message("USER", "Hello")
        with anyio.fail_after(20):
            await done.wait()
        assert [kind for kind in heard if kind.startswith("MESSAGE")] == [
            "MESSAGE_START",
            "MESSAGE_PART",
            "MESSAGE_END",
        ]


async def test_listeners_are_removed() -> None:
    async with standing(parrot) as stand, stand.client() as alice:
        heard = {name: list[HaipMessage]() for name in ("always", "once", "off", "twice", "unsubscribed")}
        inbox = Inbox(alice)
        alice.on("message", heard["always"].append)
        alice.once("message", heard["once"].append)
        off = heard["off"].append
        alice.on("message", off)
        alice.off("message", off)
        for _ in range(2):
            alice.on("message", heard["twice"].append)
        # Bound methods are equal, not identical.
        alice.off("message", heard["twice"].append)
        unsubscribe = alice.once("message", heard["unsubscribed"].append)
        unsubscribe()
        unsubscribe()
        await alice.send_text_message("USER", "Hello")
        await inbox.until(1, "MESSAGE_END")
        number = len(inbox.messages)
        assert number > 1
        assert {name: len(messages) for name, messages in heard.items()} == {
            "always": number,
            "once": 1,
            "off": 0,
            "twice": number,
            "unsubscribed": 0,
        }
        alice.off("message", off)
        alice.off("error", print)
        with pytest.raises(ValueError, match="event 'nonsense' is unknown"):
            alice.off("nonsense", print)
        with pytest.raises(ValueError, match="event 'nonsense' is unknown"):
            alice.once("nonsense", print)


async def test_a_listener_that_removes_itself() -> None:
    async with standing(parrot) as stand, stand.client() as alice:
        inbox, heard = Inbox(alice), list[HaipMessage]()

        def listen(message: HaipMessage) -> None:
            heard.append(message)
            alice.off("message", listen)

        alice.on("message", listen)
        await alice.send_text_message("USER", "Hello")
        await inbox.until(1, "MESSAGE_END")
        assert len(heard) == 1


async def test_a_listener_of_one_call_may_be_a_coroutine_function() -> None:
    async with standing(parrot) as stand, stand.client() as alice:
        heard, done = list[HaipMessage](), anyio.Event()

        async def listen(message: HaipMessage) -> None:
            await anyio.lowlevel.checkpoint()
            heard.append(message)
            done.set()

        alice.once("message", listen)
        inbox = Inbox(alice)
        await alice.send_text_message("USER", "Hello")
        await inbox.until(1, "MESSAGE_END")
        await done.wait()
        assert len(heard) == 1


@pytest.mark.parametrize("is_coroutine", [False, True])
async def test_an_exception_of_a_listener_is_logged_and_reported(
    is_coroutine: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with standing(parrot) as stand, stand.client() as alice:
        errors, reported = list[Exception](), anyio.Event()

        def report(error: Exception) -> None:
            errors.append(error)
            reported.set()

        def fail(_: HaipMessage) -> None:
            raise ValueError("a listener that fails")

        async def fail_later(message: HaipMessage) -> None:
            fail(message)

        alice.on("message", fail_later if is_coroutine else fail)
        alice.on("error", report)
        inbox = Inbox(alice)
        await alice.send_text_message("USER", "Hello")
        with anyio.fail_after(20):
            await reported.wait()
        await inbox.until(1, "MESSAGE_END")
        assert str(errors[0]) == "a listener that fails"
        failed = [record for record in caplog.records if record.exc_info is not None]
        assert {record.name for record in failed} == {"ably_ai_transport_haip.client"}


async def test_a_listener_that_cannot_be_is_refused() -> None:
    client = create_haip_client(url="ws://localhost:1", token="")
    with pytest.raises(ValueError, match="event 'mesage' is unknown"):
        client.on("mesage", print)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
    with pytest.raises(ValueError, match="NoneType is not callable"):
        client.on("message", None)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]


async def fetched() -> str:
    await anyio.lowlevel.checkpoint()
    return token()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("fetch", [token, fetched], ids=["plain", "coroutine"])
async def test_a_function_that_returns_tokens(transport: TransportName, fetch: Callable[[], Any]) -> None:
    async with standing(parrot) as stand, stand.client(transport, token=fetch) as alice:
        assert alice.is_connected()


async def test_a_function_that_fails_to_return_a_token(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> str:
        raise LookupError("the vault is locked with key hunter2")

    async with standing(parrot) as stand:
        with pytest.raises(HaipConnectionError, match="LookupError was raised") as raised:
            await stand.client(token=fail).connect()
        assert "hunter2" not in str(raised.value)
        assert "LookupError: the vault" in caplog.text
        with pytest.raises(HaipAuthenticationError, match="returned int, not text"):
            await stand.client(token=lambda: 5).connect()


async def test_a_tool_may_be_a_plain_function() -> None:
    def add(call: ToolCall) -> object:
        return call.params["a"] + call.params["b"]

    async with standing(parrot, tools=[ServerTool("add", add)]) as stand, stand.client() as alice:
        inbox = Inbox(alice)
        await alice.call_tool("AGENT", "add", {"a": 1, "b": 2})
        [done] = await inbox.until(1, "TOOL_DONE")
        assert (done.payload["status"], done.payload["result"]) == ("OK", 3)


async def test_a_tool_whose_result_is_no_json() -> None:
    async with (
        standing(parrot, tools=[ServerTool("nan", lambda _: float("nan"))]) as stand,
        stand.client() as alice,
    ):
        inbox = Inbox(alice)
        await alice.call_tool("AGENT", "nan")
        [done] = await inbox.until(1, "TOOL_DONE")
        assert (done.payload["status"], done.payload["result"]) == ("ERROR", {"error": "ValueError"})


async def test_authentication_by_a_plain_function_and_by_one_that_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def authenticate(said: str) -> Principal:
        if said == "down":
            raise OSError("the key server at 10.0.0.1 is down")
        return Principal(said)

    server = HaipServer(authenticate, parrot)
    listener = WebListener(server, "127.0.0.1", 0)
    async with server:
        await listener.start()
        try:
            for url, transport in (("ws", "websocket"), ("http", "sse")):
                fields: Any = {"url": f"{url}://127.0.0.1:{listener.port}/haip/sse", "transport": transport}
                async with create_haip_client(**fields, token="alice") as alice:
                    assert alice.is_connected()
                with pytest.raises(HaipConnectionError, match="try again later") as raised:
                    await create_haip_client(**fields, token="down").connect()
                assert "10.0.0.1" not in str(raised.value)
            assert caplog.text.count("OSError: the key server") == 2
        finally:
            await server.__aexit__(None, None, None)
            await listener.stop()


async def test_senders_that_wait_for_credits_learn_that_the_client_is_closed() -> None:
    async def mute(session: HaipServerSession) -> None:
        async for message in session.messages():
            if message.type == "MESSAGE_START":
                return

    flow = FlowControlConfig(initial_credits=1, max_credits=1, on_exhausted="wait")
    async with standing(mute) as stand:
        alice = stand.client(flow_control=flow)
        await alice.connect()

        async def talk() -> None:
            while True:
                await alice.send_text_message("USER", "Hello")

        with anyio.fail_after(20), pytest.raises(HaipConnectionError):
            await talk()
        await alice.disconnect()


async def test_hooks_of_the_flow_control_helpers_may_be_coroutine_functions() -> None:
    async with standing(parrot) as stand:
        flow = FlowControlConfig(initial_credits=3, on_exhausted="raise")
        async with stand.client(flow_control=flow) as alice:
            granted, failed = anyio.Event(), anyio.Event()

            async def on_grant(channel: str, messages: int, size: int) -> None:
                await anyio.lowlevel.checkpoint()
                granted.set()

            async def on_error(error: Exception) -> None:
                await anyio.lowlevel.checkpoint()
                assert str(error) == "a send that fails"
                failed.set()

            def fail() -> None:
                raise ValueError("a send that fails")

            with FlowControlMonitor(alice, on_grant), ChannelManager(alice) as channels:
                async with CreditAwareQueue(alice, on_error) as queue:
                    queue.enqueue("USER", fail)
                    queue.enqueue("USER", lambda: alice.send_text_message("USER", "Hello"))
                    with anyio.fail_after(20):
                        await queue.join()
                        await failed.wait()
                await channels.send_with_channel_check("USER", lambda: None)
                await alice.send_flow_update("USER", 10)
                with anyio.fail_after(20):
                    await granted.wait()
