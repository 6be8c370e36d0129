"""The samples of the SDK's reference and of its flow-control guide, in Python, against our server.

Each class is a sample as an application would translate it; where a sample prints or waits for a time, it
keeps what it would print, and the time is an argument.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from ably_ai_transport_haip import (
    FlowControlConfig,
    HaipClient,
    HaipFlowControlError,
    HaipMessage,
    create_haip_client,
)
from ably_ai_transport_haip.flow import CreditAwareQueue, FlowControlMetrics, MockFlowControl
from ably_ai_transport_haip.server import HaipServerOptions

from tests.support.haip_listener import Listener
from tests.support.haip_stand import Inbox, standing, token

CHANNELS = ("USER", "AGENT", "SYSTEM")
MIB = 1024 * 1024


@asynccontextmanager
async def guide(
    flow_control: FlowControlConfig, options: HaipServerOptions | None = None
) -> AsyncGenerator[tuple[HaipClient, Listener]]:
    server = Listener()
    async with standing(server.listen, options=options) as stand:
        client = create_haip_client(
            url=f"ws://127.0.0.1:{stand.port}",
            token=token(),
            transport="websocket",
            flow_control=flow_control,
        )
        async with client:
            await server.is_open.wait()
            yield client, server


BASIC = FlowControlConfig(
    initial_credits=10,
    initial_credit_bytes=MIB,
    max_credits=100,
    max_credit_bytes=10 * MIB,
)
ADVANCED = FlowControlConfig(
    initial_credits={"USER": 20, "AGENT": 10, "SYSTEM": 5},
    initial_credit_bytes={"USER": 2 * MIB, "AGENT": 5 * MIB, "SYSTEM": MIB},
    max_credits={"USER": 50, "AGENT": 25, "SYSTEM": 10},
    max_credit_bytes={"USER": 10 * MIB, "AGENT": 20 * MIB, "SYSTEM": 5 * MIB},
)


def test_a_client_is_created() -> None:
    client = create_haip_client(
        url="ws://localhost:8080",
        token="your-jwt-token",
        transport="websocket",
    )
    assert not client.is_connected()


@pytest.mark.parametrize(
    ("flow_control", "messages", "size"),
    [
        (BASIC, (10, 10, 10), (MIB, MIB, MIB)),
        (ADVANCED, (20, 10, 5), (2 * MIB, 5 * MIB, MIB)),
    ],
    ids=["basic", "advanced"],
)
async def test_the_state_of_a_configuration(
    flow_control: FlowControlConfig, messages: tuple[int, ...], size: tuple[int, ...]
) -> None:
    async with guide(flow_control) as (client, _):
        state = client.get_connection_state()
        assert tuple(state.credits.get(channel) for channel in CHANNELS) == messages
        assert tuple(state.byte_credits.get(channel) for channel in CHANNELS) == size
        assert (state.connected, state.handshake_completed) == (True, True)


class FlowControlMonitor:
    def __init__(self, client: HaipClient) -> None:
        self._client = client
        self.logged: list[object] = []
        client.on("message", self._take)

    def _take(self, message: HaipMessage) -> None:
        if message.type == "FLOW_UPDATE":
            payload = message.payload
            self.logged.append((payload["channel"], payload.get("add_messages"), payload.get("add_bytes")))

    def log_flow_state(self) -> None:
        state = self._client.get_connection_state()
        self.logged.append({channel: state.credits.get(channel) for channel in CHANNELS})


async def test_the_monitor() -> None:
    async with guide(BASIC) as (client, server):
        monitor, inbox = FlowControlMonitor(client), Inbox(client)
        await server.session.send_flow_update("USER", 5, 10)
        await inbox.until(1, "FLOW_UPDATE")
        monitor.log_flow_state()
        assert monitor.logged == [("USER", 5, 10), {"USER": 15, "AGENT": 10, "SYSTEM": 10}]


@pytest.mark.parametrize(
    ("arguments", "granted"),
    [
        ((10,), {"add_messages"}),
        ((0, MIB), {"add_bytes"}),
        ((10, MIB), {"add_messages", "add_bytes"}),
    ],
)
async def test_more_credits_are_requested(arguments: tuple[int, ...], granted: set[str]) -> None:
    async with guide(BASIC) as (client, server):
        inbox = Inbox(client)
        # Credits that were spent and read are granted again.
        for n in range(3):
            await client.send_text_message("USER", str(n) * 100, "user")
        await server.until(3)
        before = client.get_connection_state()
        await client.send_flow_update("USER", *arguments)
        [update, *_] = await inbox.until(1, "FLOW_UPDATE")
        after = client.get_connection_state()
        assert update.payload["channel"] == "USER"
        assert granted <= update.payload.keys()
        if "add_messages" in granted:
            assert after.credits["USER"] > before.credits["USER"]
        if "add_bytes" in granted:
            assert after.byte_credits["USER"] > before.byte_credits["USER"]


class AutomaticFlowControl:
    message_threshold = 5
    byte_threshold = 512 * 1024

    def __init__(self, client: HaipClient, answered: Callable[[], Awaitable[object]]) -> None:
        self._client = client
        self._answered = answered

    async def send_text_message(self, channel: str, text: str, author: str, run_id: str) -> str:
        await self.ensure_credits(channel)
        return await self._client.send_text_message(channel, text, author, run_id)

    async def ensure_credits(self, channel: str) -> None:
        state = self._client.get_connection_state()
        message_credits = state.credits.get(channel) or 0
        byte_credits = state.byte_credits.get(channel) or 0
        if message_credits < self.message_threshold:
            needed = max(10, self.message_threshold - message_credits)
            await self._client.send_flow_update(channel, needed)
            await self._answered()
        if byte_credits < self.byte_threshold:
            needed = max(MIB, self.byte_threshold - byte_credits)
            await self._client.send_flow_update(channel, 0, needed)


async def test_credits_are_managed_automatically() -> None:
    async with guide(BASIC) as (client, server):
        inbox = Inbox(client)

        async def answered() -> None:
            await inbox.until(len(inbox.of("FLOW_UPDATE")) + 1, "FLOW_UPDATE")

        flow_control = AutomaticFlowControl(client, answered)
        run_id = await client.start_run()
        for n in range(30):
            await flow_control.send_text_message("USER", str(n), "user", run_id)
        assert await server.until(30) == [str(n) for n in range(30)]


async def test_a_channel_is_paused_and_resumed() -> None:
    async with guide(BASIC) as (client, server):
        inbox = Inbox(client)
        await client.pause_channel("USER")
        await client.send_text_message("AGENT", "paused")
        await server.until(1)
        sending = asyncio.create_task(server.session.send_text_message("USER", "Hello"))
        await server.session.send_text_message("AGENT", "not paused")
        await inbox.until(1, "MESSAGE_END")
        assert inbox.texts() == ["not paused"]
        await client.resume_channel("USER")
        await inbox.until(2, "MESSAGE_END")
        await sending
        assert inbox.texts() == ["not paused", "Hello"]


class ChannelManager:
    def __init__(self, client: HaipClient) -> None:
        self._paused: set[str] = set()
        self._queued: dict[str, list[Callable[[], Awaitable[object]]]] = {}
        client.on("message", self._take)

    async def _take(self, message: HaipMessage) -> None:
        channel = str(message.payload.get("channel"))
        if message.type == "PAUSE_CHANNEL":
            self._paused.add(channel)
        elif message.type == "RESUME_CHANNEL":
            self._paused.discard(channel)
            for send in self._queued.pop(channel, []):
                await send()

    def is_channel_paused(self, channel: str) -> bool:
        return channel in self._paused

    async def send_with_channel_check(self, channel: str, send: Callable[[], Awaitable[object]]) -> None:
        if self.is_channel_paused(channel):
            self._queued.setdefault(channel, []).append(send)
            return
        await send()


async def test_the_channel_manager() -> None:
    async with guide(BASIC) as (client, server):
        manager, inbox = ChannelManager(client), Inbox(client)
        run_id = await client.start_run()

        async def hello() -> None:
            await client.send_text_message("USER", "Hello", "user", run_id)

        await manager.send_with_channel_check("USER", hello)
        await server.until(1)
        await server.session.pause_channel("USER")
        await inbox.until(1, "PAUSE_CHANNEL")
        # The listener is a coroutine function, which runs in a task of its own.
        await anyio.lowlevel.checkpoint()
        await manager.send_with_channel_check("USER", hello)
        assert manager.is_channel_paused("USER")
        await server.session.resume_channel("USER")
        assert await server.until(2) == ["Hello", "Hello"]


async def test_the_queue() -> None:
    async with (
        guide(FlowControlConfig(initial_credits=3)) as (client, server),
        CreditAwareQueue(client) as queue,
    ):
        run_id = await client.start_run()

        def sends(text: str) -> Callable[[], Awaitable[object]]:
            return lambda: client.send_text_message("USER", text, "user", run_id)

        queue.enqueue("USER", sends("Message 1"))
        queue.enqueue("USER", sends("Message 2"))
        assert queue.get_queue_length("USER") in (1, 2)
        await server.until(1)
        await server.session.send_flow_update("USER", 10)
        assert await server.until(2) == ["Message 1", "Message 2"]
        await queue.join()
        assert queue.get_queue_length("USER") == 0
        queue.clear_queue("USER")


class ConservativeFlowControl:
    def __init__(self, client: HaipClient, delay: float) -> None:
        self._client = client
        self._delay = delay
        client.on("message", self._take)

    async def _take(self, message: HaipMessage) -> None:
        granted = message.payload.get("add_messages")
        if message.type != "FLOW_UPDATE" or not isinstance(granted, int):
            return
        channel = str(message.payload["channel"])
        await asyncio.sleep(self._delay)
        if (self._client.get_connection_state().credits.get(channel) or 0) <= granted / 2:
            await self._client.send_flow_update(channel, granted)


async def test_the_conservative_strategy() -> None:
    flow = FlowControlConfig(initial_credits=6, max_credits=6)
    async with guide(flow, HaipServerOptions(receive_credits=40)) as (client, server):
        ConservativeFlowControl(client, 0)
        inbox = Inbox(client)
        for n in range(2):
            await client.send_text_message("USER", str(n))
        await server.until(2)
        await server.session.send_flow_update("USER", 20)
        # Six of the twenty may be used, less than half: it asks for more.
        await inbox.until(2, "FLOW_UPDATE")


class AggressiveFlowControl:
    def __init__(self, client: HaipClient) -> None:
        self._client = client
        client.on("connect", self._ask)

    async def _ask(self) -> None:
        for channel in CHANNELS:
            await self._client.send_flow_update(channel, 100, 10 * MIB)


async def test_the_aggressive_strategy() -> None:
    server = Listener()
    async with standing(server.listen) as stand:
        client = create_haip_client(url=f"ws://127.0.0.1:{stand.port}", token=token())
        AggressiveFlowControl(client)
        inbox = Inbox(client)
        async with client:
            run_id = await client.start_run()
            await inbox.until(1, "RUN_STARTED")
            await client.send_text_message("USER", "Hello", "user", run_id)
            assert await server.until(1) == ["Hello"]
        assert inbox.errors == []


class AdaptiveFlowControl:
    def __init__(self, client: HaipClient) -> None:
        self._client = client
        self.rates: dict[str, float] = {}
        self._asked: dict[str, float] = {}
        client.on("message", self._take)

    def _take(self, message: HaipMessage) -> None:
        # The channel is in the envelope: the schema has none in the payload.
        channel = message.envelope.channel
        if message.type == "MESSAGE_START" and channel is not None:
            self.rates[channel] = (self.rates.get(channel) or 0) * 0.9 + 0.1

    async def request_adaptive_credits(self, now: float) -> list[str]:
        asked: list[str] = []
        for channel in CHANNELS:
            rate = self.rates.get(channel) or 0
            if rate > 0.5 and now - self._asked.get(channel, 0) > 10:
                await self._client.send_flow_update(channel, min(50, math.floor(rate * 100)))
                self._asked[channel] = now
                asked.append(channel)
        return asked


async def test_the_adaptive_strategy() -> None:
    async with guide(BASIC) as (client, server):
        adaptive, inbox = AdaptiveFlowControl(client), Inbox(client)
        assert await adaptive.request_adaptive_credits(100) == []
        for n in range(10):
            await server.session.send_text_message("AGENT", str(n))
        await inbox.until(10, "MESSAGE_END")
        assert adaptive.rates["AGENT"] == pytest.approx(1 - 0.9**10)
        assert await adaptive.request_adaptive_credits(100) == ["AGENT"]
        assert await adaptive.request_adaptive_credits(105) == []
        assert await adaptive.request_adaptive_credits(120) == ["AGENT"]
        assert inbox.errors == []


def test_the_mock() -> None:
    mock_flow_control = MockFlowControl()
    can_send = mock_flow_control.consume_credits("USER", 1, 100)
    assert can_send is True
    for _ in range(10):
        mock_flow_control.consume_credits("USER", 1)
    can_send_more = mock_flow_control.consume_credits("USER", 1)
    assert can_send_more is False


async def test_credit_limits_are_respected() -> None:
    flow = FlowControlConfig(initial_credits=2, initial_credit_bytes=1024)
    async with guide(flow) as (client, _):
        # The guide calls its run "run-1"; the schema wants a UUID.
        run_id = await client.start_run()
        state = client.get_connection_state()
        assert (state.credits["USER"], state.byte_credits["USER"]) == (2, 1024)
        await client.send_text_message("USER", "Message 1", "user", run_id)
        await client.send_text_message("USER", "Message 2", "user", run_id)
        with pytest.raises(HaipFlowControlError, match="FLOW_CONTROL"):
            await client.send_text_message("USER", "Message 3", "user", run_id)


def test_the_metrics() -> None:
    flow_metrics = FlowControlMetrics()
    flow_metrics.record_credit_request()
    flow_metrics.record_credit_received(10)
    flow_metrics.record_message_blocked(2)
    flow_metrics.record_message_blocked(4)
    metrics = flow_metrics.get_metrics()
    assert (metrics.credit_requests, metrics.credit_received, metrics.messages_blocked) == (1, 10, 2)
    assert (metrics.average_wait_time, metrics.total_wait_time, metrics.credit_utilization) == (3, 6, 10)
    flow_metrics.reset()
    assert flow_metrics.get_metrics().credit_utilization == 0
