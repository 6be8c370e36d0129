"""Messages that grow by appends until they no longer fit a frame."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from ably import AblyRealtime

from ably_ai_transport.local import Limits, LocalServer, LocalServerOptions
from ably_ai_transport.local.protocol.frames import Action, PresenceAction
from tests.local.raw_client import raw_client

if TYPE_CHECKING:
    from tests.local.raw_client import WireFormat

PIECE = 60_000
LIMIT = Limits().max_accumulated_size
SDK_READS = 2**20
TIME_LIMIT = 60


async def test_an_append_that_makes_its_message_undeliverable_is_refused(server: LocalServer) -> None:
    async with raw_client(server) as agent, raw_client(server) as late:
        serial = await agent.publish("c", {"data": ""})
        text = ""
        while len(text) + PIECE + 2 <= LIMIT:
            text += "x" * PIECE
            await agent.append("c", serial, "x" * PIECE)
        error = await agent.refused("c", {"action": 5, "serial": serial, "data": "y" * PIECE})
        assert (error["code"], error["statusCode"]) == (40009, 413)
        assert f"limit is {LIMIT} bytes" in error["message"]
        error = await agent.refused("c", {"action": 5, "serial": serial, "data": "z"})
        assert error["code"] == 40009, "what comes after a gap is refused, too"
        await agent.append("c", serial, "", extras={"status": "complete"})
        await late.attach("c", params={"rewind": "1"})
        [message] = await late.messages()
        assert (message["data"], message["extras"]) == (text, {"status": "complete"})
        await agent.publish("c", {"action": 1, "serial": serial, "data": "short"})
        await agent.append("c", serial, "er")


@pytest.mark.parametrize(("piece", "size"), [("\n", 2), ("\x01", 6), ("é", 2), (b"\x00" * 3, 4)])
async def test_sizes_are_those_of_a_json_frame(
    piece: str | bytes, size: int, wire_format: WireFormat
) -> None:
    limits = Limits(max_accumulated_size=100 + 10 * size)
    if isinstance(piece, bytes) and wire_format == "json":
        pytest.skip("bytes travel in msgpack")
    async with (
        LocalServer(LocalServerOptions(limits=limits)) as server,
        raw_client(server, format_=wire_format) as agent,
    ):
        serial = await agent.publish("c", {"data": piece * 0})
        taken = 0
        while taken < 200:
            await agent.post("c", {"action": 5, "serial": serial, "data": piece})
            if (await agent.answer())["action"] == Action.NACK:
                break
            taken += 1
        assert 10 <= taken <= 10 + 100 // size


async def test_the_python_sdk_reads_the_largest_message(server: LocalServer) -> None:
    """With all that comes with it: the SDK closes the connection on a larger frame, again and again."""
    async with raw_client(server, format_="msgpack") as agent:
        serial = await agent.publish("c", {"name": "n" * 1000, "data": "", "extras": {"x": "y" * 55_000}})
        text = "x" * (LIMIT - 10)
        for start in range(0, len(text), PIECE):
            await agent.append("c", serial, text[start : start + PIECE])
        client: Any = AblyRealtime(**server.python_options(client_id="late", use_binary_protocol=False))
        arrived = asyncio.Event()
        try:
            channel = client.channels.get("[?rewind=1]c")
            got: list[str] = []

            def take(message: Any) -> None:  # noqa: ANN401 - the SDK has no types
                got.append(message.data)
                arrived.set()

            await channel.subscribe(take)
            connections = server.stats.connections_opened
            await agent.append("c", serial, "!")
            while len(got) < 2:
                arrived.clear()
                await arrived.wait()
            assert got == [text, "!"]
            assert server.stats.connections_opened == connections
        finally:
            await client.close()


async def test_a_backlog_and_a_sync_come_in_frames_that_can_be_read(server: LocalServer) -> None:
    async with raw_client(server, "alice") as agent, raw_client(server) as late:
        start = (await agent.attach("c"))["channelSerial"]
        await agent.post("c", {"data": "a"}, {"data": "b"}, {"data": "c"})
        serials = (await agent.answer())["res"][0]["serials"]
        for serial in serials:
            for _ in range(10):
                await agent.append("c", serial, "x" * PIECE)
        for name in range(12):
            frame = {"action": Action.PRESENCE, "channel": "c", "msgSerial": agent.next_serial}
            agent.next_serial += 1
            async with raw_client(server, f"member-{name}") as member:
                event = {"action": PresenceAction.ENTER, "data": "p" * PIECE}
                await member.send({**frame, "msgSerial": 0, "presence": [event]})
                await member.answer()
        sizes: list[int] = []
        await late.send({"action": Action.ATTACH, "channel": "c", "channelSerial": start})
        members = 0
        messages: list[str] = []
        while True:
            payload = await late.socket.recv()
            sizes.append(len(payload))
            received = json.loads(payload)
            members += len(received.get("presence", ())) if received["action"] == Action.SYNC else 0
            messages += [message["serial"] for message in received.get("messages", ())]
            if received["action"] == Action.SYNC and received["channelSerial"].endswith(":"):
                break
        assert members == 12
        assert messages == serials
        assert max(sizes) < SDK_READS
