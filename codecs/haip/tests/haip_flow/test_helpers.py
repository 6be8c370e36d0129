"""Flow-control helpers, and the strategies of the examples."""

import asyncio
import importlib.util
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import anyio
import pytest
from ably_ai_transport_haip import (
    FlowControlConfig,
    HaipClient,
    HaipConnectionError,
    HaipFlowControlError,
)
from ably_ai_transport_haip.flow import (
    ChannelCredits,
    ChannelManager,
    CreditAwareQueue,
    FlowControlMetrics,
    FlowControlMonitor,
    MockFlowControl,
)
from ably_ai_transport_haip.server import HaipServerOptions

from tests.support.haip_listener import Listener
from tests.support.haip_stand import Inbox, standing

EXAMPLE = Path(__file__).parents[4] / "examples" / "haip_flow_control.py"
FEW = FlowControlConfig(initial_credits=2, max_credits=1000)


@pytest.fixture
def strategies() -> ModuleType:
    spec = importlib.util.spec_from_file_location("haip_flow_control", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def talking(flow: FlowControlConfig = FEW) -> AsyncGenerator[tuple[HaipClient, Listener]]:
    listener = Listener()
    options = HaipServerOptions(receive_credits=1000)
    async with (
        standing(listener.listen, options=options) as stand,
        stand.client(flow_control=flow, on_exhausted="raise") as client,
    ):
        yield client, listener


async def say(client: HaipClient, text: str) -> None:
    await client.send_text_message("USER", text)


async def test_without_help_the_third_text_is_refused() -> None:
    async with talking() as (client, _):
        await say(client, "one")
        await say(client, "two")
        with pytest.raises(HaipFlowControlError, match="FLOW_CONTROL"):
            await say(client, "three")


async def test_the_example_of_the_guide() -> None:
    async with talking(FlowControlConfig(initial_credits=2, initial_credit_bytes=1024)) as (client, _):
        run_id = await client.start_run()
        await client.send_text_message("USER", "Message 1", "user", run_id)
        await client.send_text_message("USER", "Message 2", "user", run_id)
        with pytest.raises(HaipFlowControlError, match="FLOW_CONTROL"):
            await client.send_text_message("USER", "Message 3", "user", run_id)


async def test_a_cost_of_its_own() -> None:
    by_text = FlowControlConfig(
        initial_credits=2, message_cost=lambda message: int(message.type == "MESSAGE_START")
    )
    async with talking(by_text) as (client, _):
        await say(client, "x" * 5000)
        await say(client, "x" * 5000)
        with pytest.raises(HaipFlowControlError, match="FLOW_CONTROL"):
            await say(client, "x")


async def test_the_queue_sends_in_order_as_the_server_reads() -> None:
    # Fewer credits than the server gives at the start: it has no reason to grant more by itself.
    few = FlowControlConfig(initial_credits=3, initial_credit_bytes=2000)
    failed: list[Exception] = []

    async def break_down() -> None:
        raise ValueError("not sent")

    async with talking(few) as (client, listener):
        inbox = Inbox(client)
        async with CreditAwareQueue(client, failed.append) as queue:
            for n in range(100):
                queue.enqueue("USER", lambda n=n: say(client, f"{n} {'x' * 100}"))
            queue.enqueue("USER", break_down)
            with anyio.fail_after(10):
                await queue.join()
            assert [said.partition(" ")[0] for said in await listener.until(100)] == [
                str(n) for n in range(100)
            ]
            assert queue.get_queue_length("USER") == 0
            # One request for each grant, and no grant without a request.
            assert len(inbox.of("FLOW_UPDATE")) <= 100
        assert [str(error) for error in failed] == ["not sent"]


async def test_a_queue_without_credits_can_be_cleared() -> None:
    async with talking() as (client, listener):
        async with CreditAwareQueue(client) as queue:
            inbox = Inbox(client)
            await listener.until(0)
            await client.start_run()
            await inbox.until(1, "RUN_STARTED")
            await listener.session.pause_channel("USER")
            await inbox.until(1, "PAUSE_CHANNEL")
            queue.enqueue("USER", lambda: say(client, "never"))
            assert queue.get_queue_length("USER") == 1
            queue.clear_queue("USER")
            assert queue.get_queue_length("USER") == 0
            await queue.join()
        assert listener.said == []


async def test_a_queue_of_a_client_that_was_closed_is_emptied() -> None:
    failed: list[Exception] = []
    async with talking() as (client, listener):
        inbox = Inbox(client)
        await client.start_run()
        await inbox.until(1, "RUN_STARTED")
        await listener.session.pause_channel("USER")
        await inbox.until(1, "PAUSE_CHANNEL")
        async with CreditAwareQueue(client, failed.append) as queue:
            for _ in range(3):
                queue.enqueue("USER", lambda: say(client, "never"))
            await asyncio.sleep(0)
            await client.disconnect()
            with anyio.fail_after(10):
                await queue.join()
        assert [type(error) for error in failed] == [HaipConnectionError] * 3


async def test_a_paused_send_of_a_client_that_was_closed_fails() -> None:
    async with talking() as (client, listener):
        inbox = Inbox(client)
        with ChannelManager(client) as channels:
            await client.start_run()
            await inbox.until(1, "RUN_STARTED")
            await listener.session.pause_channel("USER")
            await inbox.until(1, "PAUSE_CHANNEL")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(client.disconnect())
                with anyio.fail_after(10), pytest.raises(HaipConnectionError):
                    await channels.send_with_channel_check("USER", lambda: say(client, "never"))


async def test_the_monitor_tells_of_grants() -> None:
    grants: list[tuple[str, int, int]] = []
    async with talking() as (client, listener):
        inbox = Inbox(client)

        def note(channel: str, messages: int, size: int) -> None:
            grants.append((channel, messages, size))

        with FlowControlMonitor(client, note) as monitor:
            assert monitor.state()["USER"].messages == 2
            await say(client, "one")
            await listener.until(1)
            assert monitor.state()["USER"].messages == 1
            await listener.session.send_flow_update("USER", 10, 100)
            await inbox.until(1, "FLOW_UPDATE")
            assert monitor.state()["USER"].messages == 11
        assert grants == [("USER", 10, 100)]
        assert monitor.granted == {"USER": ChannelCredits(10, 100)}


async def test_the_channel_manager_holds_back_what_is_paused() -> None:
    async with talking() as (client, listener):
        inbox = Inbox(client)
        with ChannelManager(client) as channels:
            await say(client, "one")
            await listener.until(1)
            await listener.session.pause_channel("USER")
            await inbox.until(1, "PAUSE_CHANNEL")
            assert channels.is_channel_paused("USER")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(channels.send_with_channel_check("USER", lambda: say(client, "two")))
                await listener.session.resume_channel("USER")
            assert not channels.is_channel_paused("USER")
            assert await listener.until(2) == ["one", "two"]


def test_the_mock_counts_as_a_client_does() -> None:
    flow = MockFlowControl()
    assert flow.consume_credits("USER", 1, 100)
    assert flow.get_credits("USER") == ChannelCredits(9, 1024 * 1024 - 100)
    for _ in range(10):
        flow.consume_credits("USER", 1)
    assert not flow.consume_credits("USER", 1)
    assert flow.get_credits("USER").messages == 0
    flow.add_credits("USER", 5, 100)
    assert flow.get_credits("USER") == ChannelCredits(5, 1024 * 1024)
    assert not flow.consume_credits("USER", 1, 2 * 1024 * 1024)
    assert flow.get_credits("AGENT").messages == 10


def test_the_metrics() -> None:
    metrics = FlowControlMetrics()
    metrics.record_credit_request()
    metrics.record_credit_received(20)
    metrics.record_message_blocked(0.5)
    metrics.record_message_blocked(1.5)
    figures = metrics.get_metrics()
    assert (figures.messages_blocked, figures.total_wait_time, figures.average_wait_time) == (2, 2.0, 1.0)
    assert figures.credit_utilization == 5
    metrics.reset()
    assert metrics.get_metrics().average_wait_time == 0


async def test_the_automatic_strategy_never_runs_out(strategies: ModuleType) -> None:
    async with talking() as (client, listener):
        automatic = strategies.AutomaticFlowControl(client)
        inbox = Inbox(client)
        for n in range(20):
            await automatic.ensure_credits("USER")
            # The answer to the request has to be there before the next text.
            if client.get_connection_state().credits["USER"] < 1:
                await inbox.until(len(inbox.of("FLOW_UPDATE")) + 1, "FLOW_UPDATE")
            await automatic.send_text_message("USER", str(n))
        assert await listener.until(20) == [str(n) for n in range(20)]
        assert inbox.of("FLOW_UPDATE")


async def test_the_conservative_strategy_asks_when_half_is_spent(strategies: ModuleType) -> None:
    # Of twenty that are granted, this client keeps six: more than half is spent at once.
    async with talking(FlowControlConfig(initial_credits=2, max_credits=6)) as (client, listener):
        inbox = Inbox(client)
        await say(client, "hello")
        await listener.until(1)
        async with strategies.ConservativeFlowControl(client, delay=0).running():
            await listener.session.send_flow_update("USER", 20)
            _, answer, *_ = await inbox.until(2, "FLOW_UPDATE")
            assert answer.payload["add_messages"] == 20


async def test_the_aggressive_strategy_asks_for_a_lot_at_once(strategies: ModuleType) -> None:
    listener = Listener()
    async with standing(listener.listen) as stand:
        client = stand.client(flow_control=FEW)
        inbox = Inbox(client)
        async with strategies.AggressiveFlowControl(client).running(), client:
            await inbox.until(1, "FLOW_UPDATE")
            assert client.get_connection_state().credits["USER"] >= 100


async def test_the_adaptive_strategy_asks_where_much_is_said(strategies: ModuleType) -> None:
    async with talking() as (client, listener):
        inbox = Inbox(client)
        await say(client, "hello")
        await listener.until(1)
        async with strategies.AdaptiveFlowControl(client, period=0.01, pause=60).running():
            for _ in range(10):
                await listener.session.send_text_message("AGENT", "x")
            [granted] = await inbox.until(1, "FLOW_UPDATE")
        assert granted.payload["channel"] == "AGENT"
        assert granted.payload["add_messages"] == 50
