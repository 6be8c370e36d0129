"""Tests of limits: the server refuses only the request that exceeds one."""

from __future__ import annotations

import gc
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest

from ably_ai_transport.local import Limits, LocalServer, LocalServerOptions, Namespace
from ably_ai_transport.local.protocol.frames import Action, PresenceAction
from ably_ai_transport.local.storage.memory import Step
from tests.local.raw_client import raw_client

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.local.manual_clock import ManualClock
    from tests.local.raw_client import WireFormat


def limited(clock: ManualClock | None = None, **limits: Any) -> AbstractAsyncContextManager[LocalServer]:  # noqa: ANN401
    return LocalServer(LocalServerOptions(limits=Limits(**limits)), clock=clock)


async def test_a_message_may_be_so_large(wire_format: WireFormat) -> None:
    # TO3l8: name, clientId, data and extras count, of all messages of a publish together.
    async with limited(max_message_size=1000) as server, raw_client(server, format_=wire_format) as client:
        await client.publish("c", {"data": "x" * 1000})
        fitting = {"name": "n" * 10, "data": "é" * 490, "extras": {"a": 1}}
        too_large = [
            [{"data": "x" * 1001}],
            [fitting, {"data": "x" * 20}],
            [{"data": "é" * 501}],
            [{"name": "n" * 500, "data": "x" * 501}],
            [{"data": "x", "extras": {"e": "x" * 1000}}],
        ]
        await client.publish("c", fitting)
        for messages in too_large:
            error = await client.refused("c", *messages)
            assert (error["code"], error["statusCode"]) == (40009, 413)
        await client.publish("c", {"data": "still here"})


async def test_binary_data_counts_as_what_it_is() -> None:
    async with (
        limited(max_message_size=1000) as server,
        raw_client(server, format_="msgpack") as binary,
        raw_client(server) as text,
    ):
        await binary.publish("c", {"data": b"\xff" * 1000})
        await text.publish("c", {"data": "AAAA" * 333, "encoding": "base64"})
        assert (await binary.refused("c", {"data": b"\xff" * 1001}))["code"] == 40009


async def test_a_frame_that_is_too_large_ends_its_connection_only() -> None:
    async with limited(max_frame_size=5000) as server, raw_client(server) as bystander:
        for size in (5001, 100_000):
            async with raw_client(server) as client:
                await client.post("c", {"data": "x" * size})
                if size < 20_000:
                    assert (await client.until(Action.ERROR))["error"]["code"] == 40009
                await client.closed()
        await bystander.publish("c", {"data": "x"})


async def test_a_body_may_be_so_large() -> None:
    async with (
        limited(max_frame_size=5000) as server,
        httpx.AsyncClient(base_url=server.url, params={"key": server.key}, trust_env=False) as rest,
    ):
        response = await rest.post("/channels/c/messages", json={"data": "x" * 6000})
        assert (response.status_code, response.json()["error"]["code"]) == (413, 40009)
        assert (await rest.post("/channels/c/messages", json={"data": "x"})).status_code == 201


async def test_a_connection_may_publish_so_fast(clock: ManualClock) -> None:
    async with (
        limited(clock, connection_rate=10) as server,
        raw_client(server) as client,
        raw_client(server) as other,
    ):
        await client.publish("c", {"data": "x"})
        clock.advance(500)
        await client.publish("c", *[{"data": "x"}] * 9)
        error = await client.refused("d", {"data": "x"})
        assert (error["code"], error["statusCode"]) == (42911, 429)
        assert "nonfatal" in error["message"]
        await other.publish("c", {"data": "x"})
        clock.advance(499)
        assert (await client.refused("c", {"data": "x"}))["code"] == 42911
        clock.advance(1)
        await client.publish("c", {"data": "x"})
        assert (await client.refused("c", {"data": "x"}))["code"] == 42911
        assert server.stats.refusals == {42911: 3}


async def test_a_batch_larger_than_the_rate_passes_after_a_quiet_second(clock: ManualClock) -> None:
    async with limited(clock, connection_rate=5) as server, raw_client(server) as client:
        batch = [{"data": "x"}] * 6
        await client.publish("c", {"data": "x"})
        assert (await client.refused("c", *batch))["code"] == 42911
        clock.advance(1000)
        await client.publish("c", *batch)
        assert (await client.refused("c", {"data": "x"}))["code"] == 42911


async def test_presence_counts(clock: ManualClock) -> None:
    async with limited(clock, connection_rate=3) as server, raw_client(server, "alice") as client:

        async def present(*actions: PresenceAction) -> Any:  # noqa: ANN401
            events = [{"action": action} for action in actions]
            serial = client.next_serial
            client.next_serial += 1
            await client.send(
                {"action": Action.PRESENCE, "channel": "c", "msgSerial": serial, "presence": events}
            )
            return await client.answer()

        for actions in ([PresenceAction.ENTER], [PresenceAction.UPDATE, PresenceAction.UPDATE]):
            assert (await present(*actions))["action"] == Action.ACK
        assert (await present(PresenceAction.LEAVE))["error"]["code"] == 42911
        assert (await client.refused("c", {"data": "x"}))["code"] == 42911
        clock.advance(1000)
        assert (await present(PresenceAction.LEAVE))["action"] == Action.ACK


async def test_appends_within_a_roll_up_window_count_once(clock: ManualClock) -> None:
    """Although the server delivers each of them."""
    async with (
        limited(clock, connection_rate=4, channel_rate=4) as server,
        raw_client(server) as client,
        raw_client(server) as subscriber,
    ):
        await subscriber.attach("c")
        serial = await client.publish("c", {"data": ""})
        for _ in range(2):
            # The first append after a quiet window is a message of its own.
            for piece in "abcdef":
                await client.append("c", serial, piece)
            clock.advance(40)
        assert [m["data"] for m in await subscriber.messages()] == ["", *"abcdef" * 2]
        append = {"action": 5, "serial": serial, "data": "g"}
        clock.advance(40)
        assert (await client.refused("c", append))["code"] == 42913
        clock.advance(920)
        await client.publish("c", append)


async def test_a_client_without_a_roll_up_window_pays_for_each_append(clock: ManualClock) -> None:
    async with (
        limited(clock, connection_rate=4) as server,
        raw_client(server, appendRollupWindow="0") as client,
        raw_client(server, appendRollupWindow="500") as slow,
    ):
        serial = await client.publish("c", {"data": ""})
        for piece in "abc":
            await client.append("c", serial, piece)
        assert (await client.refused("c", {"action": 5, "serial": serial, "data": "d"}))["code"] == 42911
        for _ in range(3):
            for piece in "abcdefgh":
                await slow.post("c", {"action": 5, "serial": serial, "data": piece})
            await slow.settled()
            clock.advance(499)
        assert server.stats.refusals == {42911: 1}


async def test_a_refused_append_of_a_rolled_up_stream_leaves_the_others(clock: ManualClock) -> None:
    options = LocalServerOptions(append_rollup_window_ms=40, limits=Limits(connection_rate=2))
    async with LocalServer(options, clock=clock) as server, raw_client(server) as client:
        await client.attach("c")
        serial = await client.publish("c", {"data": ""})
        for piece in "abc":
            await client.post("c", {"action": 5, "serial": serial, "data": piece})
        assert [f["action"] for f in await client.settled()] == [
            Action.MESSAGE,
            Action.MESSAGE,
            Action.ACK,
            Action.NACK,
            Action.NACK,
        ]
        clock.advance(1000)
        await client.append("c", serial, "d")
        assert [m["data"] for m in await client.messages()] == ["d"]


async def test_a_refused_publish_leaves_its_connection_as_it_is(clock: ManualClock) -> None:
    async with limited(clock, connection_rate=10, channel_rate=1) as server, raw_client(server) as client:
        await client.attach("c")
        await client.publish("c", {"data": "1"})
        for _ in range(20):
            assert (await client.refused("c", {"data": "2"}))["code"] == 42913
        # What the channel refused does not count for the connection.
        for number in range(9):
            await client.publish(f"d{number}", {"data": "x"})
        clock.advance(1000)
        await client.publish("c", {"data": "3"})
        assert [m["data"] for m in await client.messages()] == ["1", "3"]


async def test_a_connection_keeps_its_rate_over_a_restart(clock: ManualClock, tmp_path: Path) -> None:
    options = LocalServerOptions(data=tmp_path / "data.sqlite", limits=Limits(connection_rate=1))
    async with LocalServer(options, clock=clock) as server:
        async with raw_client(server, "alice") as client:
            await client.publish("c", {"data": "x"})
        await server.restart()
        async with raw_client(server, "alice", resume=client.key) as resumed:
            assert resumed.id == client.id
            resumed.next_serial = 1
            await resumed.publish("c", {"data": "x"})
            assert (await resumed.refused("c", {"data": "x"}))["code"] == 42911


async def test_a_channel_may_be_published_on_so_fast(clock: ManualClock) -> None:
    async with limited(clock, channel_rate=5) as server, raw_client(server) as one, raw_client(server) as two:
        for client in (one, two, one, two, one):
            await client.publish("c", {"data": "x"})
        error = await two.refused("c", {"data": "x"})
        assert (error["code"], error["statusCode"]) == (42913, 429)
        await two.publish("d", {"data": "x"})
        clock.advance(1000)
        await two.publish("c", {"data": "x"})


async def test_rest_counts_for_its_channel(clock: ManualClock) -> None:
    async with (
        limited(clock, channel_rate=3) as server,
        raw_client(server) as client,
        httpx.AsyncClient(base_url=server.url, params={"key": server.key}, trust_env=False) as rest,
    ):
        serial = await client.publish("c", {"data": "x"})
        assert (await rest.post("/channels/c/messages", json=[{"data": "x"}] * 2)).status_code == 201
        append = {"action": 5, "data": "x"}
        for refused in (
            await rest.post("/channels/c/messages", json={"data": "x"}),
            await rest.patch(f"/channels/c/messages/{quote(serial, safe='')}", json=append),
        ):
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, 42913)
        batch = {"channels": ["c", "d"], "messages": {"data": "x"}}
        outcomes = (await rest.post("/messages", json=batch, headers={"X-Ably-Version": "3"})).json()
        assert [outcome.get("error", {}).get("code") for outcome in outcomes["results"]] == [42913, None]
        assert (await client.refused("c", {"data": "x"}))["code"] == 42913
        assert server.stats.refusals == {42913: 4}
        assert server.stats.snapshot()["refusals"] == 4


async def test_a_client_is_told_its_rate() -> None:
    for limits, rate in ((Limits(), 1_000_000), (Limits(connection_rate=7), 7), (Limits.ably(), 50)):
        async with LocalServer(LocalServerOptions(limits=limits)) as server, raw_client(server) as client:
            assert client.connected["connectionDetails"]["maxInboundRate"] == rate


@pytest.mark.parametrize("rate", [0, -1])
def test_a_rate_of_nothing_is_no_limit_of_a_server(rate: int) -> None:
    with pytest.raises(ValueError, match="connection_rate must be at least 1"):
        Limits(connection_rate=rate)
    with pytest.raises(ValueError, match="channel_rate must be at least 1"):
        Limits(channel_rate=rate)


async def test_the_limits_of_ably(clock: ManualClock) -> None:
    async with LocalServer(LocalServerOptions(limits=Limits.ably()), clock=clock) as server:
        async with raw_client(server) as client:
            for number in range(200):
                await client.attach(str(number))
            await client.send({"action": Action.ATTACH, "channel": "200"})
            assert (await client.until(Action.ERROR))["error"]["code"] == 90010
            answers: list[Any] = []
            for serial in range(201):
                clock.advance(20)
                events = [{"action": PresenceAction.ENTER, "clientId": str(serial)}]
                await client.send(
                    {"action": Action.PRESENCE, "channel": "0", "msgSerial": serial, "presence": events}
                )
                answers.append(await client.answer())
            assert {answer["action"] for answer in answers[:200]} == {Action.ACK}
            assert answers[200]["error"]["code"] == 91003
        async with raw_client(server) as client:
            await client.publish("c", {"data": "x" * 65_536})
            assert (await client.refused("c", {"data": "x" * 65_537}))["code"] == 40009
            await client.publish("c", *[{"data": "x"}] * 49)
            assert (await client.refused("d", {"data": "x"}))["code"] == 42911


async def test_rates_are_not_limited_unless_it_is_asked_for(
    timed_server: LocalServer,
) -> None:
    async with raw_client(timed_server) as client:
        for _ in range(300):
            await client.post("c", {"data": "x"})
        answered = 0
        while answered < 300:
            answer = await client.answer()
            assert answer["action"] == Action.ACK
            answered += answer["count"]


async def test_there_may_be_so_many_connections() -> None:
    async with limited(max_connections=2) as server, raw_client(server) as one, raw_client(server):
        async with raw_client(server) as third:
            # Not an ERROR: the SDK tries again.
            assert third.connected["action"] == Action.DISCONNECTED
            assert (third.connected["error"]["code"], third.connected["error"]["statusCode"]) == (80021, 429)
        await one.send({"action": Action.CLOSE})
        await one.closed()
        async with raw_client(server) as third:
            assert third.connected["action"] == Action.CONNECTED


async def test_there_may_be_so_many_channels() -> None:
    async with limited(max_channels=2) as server, raw_client(server) as client:
        await client.attach("a")
        await client.publish("b", {"data": "x"})
        error = await client.refused("c", {"data": "x"})
        assert (error["code"], error["statusCode"]) == (40114, 403)
        await client.send({"action": Action.ATTACH, "channel": "c"})
        frame = await client.until(Action.ERROR)
        assert (frame["channel"], frame["error"]["code"]) == ("c", 40114)
        await client.publish("a", {"data": "x"})


async def test_a_connection_may_attach_so_many_channels() -> None:
    async with limited(max_attachments=2) as server, raw_client(server) as client:
        await client.attach("a")
        await client.attach("b")
        await client.attach("b")
        await client.send({"action": Action.ATTACH, "channel": "c"})
        assert (await client.until(Action.ERROR))["error"]["code"] == 90010
        await client.send({"action": Action.DETACH, "channel": "a"})
        await client.until(Action.DETACHED)
        await client.attach("c")


async def test_a_channel_holds_so_many_messages() -> None:
    async with limited(max_history=3) as server, raw_client(server) as client:
        serial = await client.publish("c", {"data": "1"}, {"data": "2"})
        error = await client.refused("c", {"data": "3"}, {"data": "4"})
        assert (error["code"], "limit 3" in error["message"]) == (40112, True)
        await client.publish("c", {"data": "3"})
        assert (await client.refused("c", {"data": "4"}))["code"] == 40112
        await client.append("c", serial, "appends go on")
        await client.publish("d", {"data": "1"})


async def test_the_server_holds_so_many_bytes() -> None:
    async with limited(max_memory=100_000) as server, raw_client(server) as client:
        serial = await client.publish("c", {"data": "x" * 40_000})
        append = {"action": 5, "serial": serial}
        await client.publish("c", {**append, "data": "x"})
        assert (await client.refused("c", {**append, "data": "x" * 20_000}))["code"] == 40112
        assert (await client.refused("d", {"data": "x" * 20_000}))["code"] == 40112
        assert (await client.refused("d", {"extras": {"a": ["x"] * 1000}}))["code"] == 40112
        await client.publish("c", {**append, "data": "x"})


async def test_what_channels_no_longer_hold_is_free_again(clock: ManualClock) -> None:
    async with limited(clock, max_memory=300_000) as server, raw_client(server) as client:
        serial = await client.publish("c", {"data": ""})
        for _ in range(2):
            code = 0
            while not code:
                await client.post("c", {"action": 5, "serial": serial, "data": "x"})
                code = (await client.answer()).get("error", {}).get("code", 0)
            assert code == 40112
            # The steps that subscribers could resume from are most of it.
            clock.advance(2 * server.options.retention_ms)
            await client.settled()
        await client.publish("c", {"data": "x" * 10_000})


@pytest.mark.parametrize("text", ["x" * 1000, "é" * 500, "🎉" * 250])
async def test_a_message_is_measured_in_bytes(wire_format: WireFormat, text: str) -> None:
    too_large = [
        {"data": text + "x"},
        {"name": text + "x"},
        {"id": text + "x"},
        {"extras": {"a": text}},
        {"data": {"a": text}},
        {"clientId": text + "x"},
    ]
    async with (
        limited(max_message_size=1000) as server,
        raw_client(server, format_=wire_format) as client,
        httpx.AsyncClient(base_url=server.url, params={"key": server.key}, trust_env=False) as rest,
    ):
        for message in ({"data": text}, {"name": text}, {"id": text}, {"clientId": text}):
            await client.publish("c", message)
        for message in too_large:
            assert (await client.refused("c", message))["code"] == 40009
            response = await rest.post("/channels/c/messages", json=message)
            assert (response.status_code, response.json()["error"]["code"]) == (413, 40009)


async def test_a_change_may_be_so_large(wire_format: WireFormat) -> None:
    async with limited(max_message_size=1000) as server, raw_client(server, format_=wire_format) as client:
        serial = await client.publish("c", {"data": "x"})
        for version in ({"description": "é" * 501}, {"metadata": {"a": "é" * 500}}):
            change = {"action": 1, "serial": serial, "version": version}
            assert (await client.refused("c", change))["code"] == 40009
        version = {"description": "é" * 100, "metadata": {"a": "é" * 100}}
        await client.publish("c", {"action": 1, "serial": serial, "data": "é" * 200, "version": version})


async def test_numbers_of_msgpack_count_as_in_json() -> None:
    """Five bytes of msgpack may be twenty of JSON."""
    async with limited(max_message_size=1000) as server, raw_client(server, format_="msgpack") as client:
        frame = (
            b"\x84\xa6action\x0f\xa7channel\xa1c\xa9msgSerial\x00\xa8messages\x91\x81\xa6extras\xdc\x00\x48"
        )
        await client.socket.send(frame + b"\xca\x00\x80\x00\x01" * 72)
        assert (await client.answer())["error"]["code"] == 40009


@pytest.mark.parametrize(
    "event", [{"data": "é" * 501}, {"extras": {"a": "é" * 500}}, {"clientId": "é" * 501}]
)
async def test_a_presence_event_may_be_so_large(wire_format: WireFormat, event: dict[str, object]) -> None:
    async with limited(max_message_size=1000) as server, raw_client(server, format_=wire_format) as client:
        for number, (sent, code) in enumerate(((event, 40009), ({"clientId": "a", "data": "é" * 499}, None))):
            events = [{"action": PresenceAction.ENTER, "clientId": "alice", **sent}]
            await client.send(
                {"action": Action.PRESENCE, "channel": "c", "msgSerial": number, "presence": events}
            )
            assert (await client.answer()).get("error", {}).get("code") == code


async def test_a_frame_holds_so_many_presence_events(server: LocalServer) -> None:
    async with raw_client(server, "alice") as client:
        events = [{"action": PresenceAction.UPDATE}] * 1001
        await client.send({"action": Action.PRESENCE, "channel": "c", "msgSerial": 0, "presence": events})
        assert (await client.answer())["error"]["code"] == 40009


async def test_large_members_are_told_in_several_frames(server: LocalServer, wire_format: WireFormat) -> None:
    async with raw_client(server, format_=wire_format) as client, raw_client(server) as late:
        for number in range(12):
            events = [{"action": PresenceAction.ENTER, "clientId": f"{number}", "data": "x" * 60_000}]
            await client.send(
                {"action": Action.PRESENCE, "channel": "c", "msgSerial": number, "presence": events}
            )
            assert (await client.answer())["action"] == Action.ACK
        await late.attach("c")
        pages = [frame for frame in await late.settled() if frame["action"] == Action.SYNC]
        assert all(len(json.dumps(page)) < 2**19 for page in pages)
        told = [member["clientId"] for page in pages for member in page["presence"]]
        assert told == [str(number) for number in range(12)]
        cursors = [page["channelSerial"].partition(":")[2] for page in pages]
        assert (all(cursors[:-1]), cursors[-1], len(cursors)) == (True, "", 3)


async def test_so_many_connections_can_be_resumed() -> None:
    async with limited(max_connections=2) as server:
        keys: list[str] = []
        for _ in range(3):
            async with raw_client(server) as client:
                keys.append(client.key)
                await client.cut()
        codes: list[int | None] = []
        for key in keys:
            async with raw_client(server, resume=key) as client:
                codes.append(client.connected.get("error", {}).get("code"))
                await client.send({"action": Action.CLOSE})
                await client.closed()
        assert codes == [80008, None, None]


async def test_a_frame_is_measured_in_bytes() -> None:
    async with limited(max_frame_size=5000) as server:
        for text, fits in (("🎉" * 1200, True), ("🎉" * 1300, False)):
            async with raw_client(server) as client:
                await client.socket.send(json.dumps({"action": 0, "text": text}, ensure_ascii=False))
                await client.send({"action": Action.HEARTBEAT, "id": "x"})
                frame = await client.receive()
                assert frame["action"] == (Action.HEARTBEAT if fits else Action.ERROR)
                if not fits:
                    assert frame["error"]["code"] == 40009


async def test_a_consumer_may_be_so_slow(clock: ManualClock) -> None:
    async with limited(clock, max_queued_bytes=1000) as server, raw_client(server) as publisher:
        async with raw_client(server, "slow") as slow:
            await slow.attach("c")
            server.faults.delay(1)
            for _ in range(5):
                await publisher.publish("c", {"data": "x" * 300})
            clock.advance(1000)
            assert (await slow.until(Action.DISCONNECTED))["error"]["code"] == 80003
            await slow.closed()
        assert await publisher.settled() == []


async def test_namespaces_have_rules() -> None:
    options = LocalServerOptions(
        mutable_messages=False,
        namespaces=(Namespace(id="open"), Namespace(id="shut", mutable_messages=False)),
    )
    async with LocalServer(options) as server, raw_client(server) as client:
        for channel, mutable in (("open:c", True), ("open", True), ("shut:c", False), ("c", False)):
            serial = await client.publish(channel, {"data": "a"})
            if mutable:
                await client.append(channel, serial, "b")
            else:
                error = await client.refused(channel, {"action": 5, "serial": serial, "data": "b"})
                assert error["code"] == 93002


@pytest.mark.parametrize("name", ["", ":c", "[x", "[filter=abc]c", "a\nb"])
async def test_names_that_no_channel_can_have(server: LocalServer, name: str) -> None:
    async with raw_client(server) as client:
        assert (await client.refused(name, {"data": "x"}))["code"] == 40010
        await client.send({"action": Action.ATTACH, "channel": name})
        frame = await client.until(Action.ERROR)
        assert (frame["channel"], frame["error"]["code"]) == (name, 40010)


def steps_held() -> int:
    gc.collect()
    return sum(isinstance(held, Step) for held in gc.get_objects())


async def test_what_channels_keep_for_those_who_resume_is_forgotten_in_time(
    timed_server: LocalServer, clock: ManualClock
) -> None:
    """Also where nothing is published any more, as in most conversations."""
    before = steps_held()
    async with raw_client(timed_server) as client:
        for channel in ("a", "b"):
            serial = await client.publish(channel, {"data": ""})
            for _ in range(100):
                await client.append(channel, serial, "x")
        assert steps_held() == before + 202
        clock.advance(timed_server.options.retention_ms / 2)
        await client.settled()
        await client.publish("b", {"data": "later"})
        assert steps_held() == before + 203
        for _ in range(3):
            clock.advance(timed_server.options.retention_ms)
            await client.settled()
        assert steps_held() == before
