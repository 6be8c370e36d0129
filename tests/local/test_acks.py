from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ably_ai_transport.local import LocalServer, LocalServerOptions
from ably_ai_transport.local.protocol.frames import Action
from tests.local.raw_client import WireFormat, raw_client

if TYPE_CHECKING:
    from tests.local.raw_client import Frame


async def test_the_first_ack_carries_msg_serial_zero(server: LocalServer, wire_format: WireFormat) -> None:
    async with raw_client(server, format_=wire_format) as client:
        await client.post("c", {"data": "x"})
        ack = await client.answer()
    assert ack["msgSerial"] == 0
    assert ack["count"] == 1


async def test_count_is_of_frames_and_serials_are_of_messages(server: LocalServer) -> None:
    async with raw_client(server) as client:
        await client.post("c", {"data": "1"}, {"data": "2"}, {"data": "3"})
        ack = await client.answer()
    assert ack["count"] == 1
    (result,) = ack["res"]
    assert len(result["serials"]) == 3
    assert result["serials"] == sorted(set(result["serials"]))


async def test_the_ack_of_a_mutation_carries_the_version(server: LocalServer) -> None:
    async with raw_client(server) as client:
        await client.attach("c")
        serial = await client.publish("c", {"data": "x"})
        version = await client.append("c", serial, "y")
        assert version > serial
    async with raw_client(server) as late:
        await late.attach("c", params={"rewind": "1"})
        (message,) = await late.messages()
    assert message["version"]["serial"] == version


async def test_every_publish_gets_exactly_one_answer_in_order(server: LocalServer) -> None:
    async with raw_client(server, "alice") as client:
        for number in range(20):
            refused: Frame = {"clientId": "mallory"} if number % 5 == 0 else {}
            await client.post("c", {"data": str(number), **refused})
        answered: list[tuple[int, int]] = []
        while len(answered) < 20:
            frame = await client.answer()
            answered += [(frame["msgSerial"] + i, frame["action"]) for i in range(frame["count"])]
        assert await client.settled() == []
    assert [serial for serial, _ in answered] == list(range(20))
    assert [serial for serial, action in answered if action == Action.NACK] == [0, 5, 10, 15]


async def test_acks_held_back_are_merged_and_in_order(server: LocalServer) -> None:
    async with raw_client(server, "alice") as client:
        server.faults.hold_acks()
        for number in range(3):
            await client.post("c", {"data": str(number)})
        await client.post("c", {"data": "x", "clientId": "mallory"})
        await client.post("c", {"data": "4"})
        assert await client.settled() == []
        server.faults.release_acks()
        first, refused, last = [await client.answer() for _ in range(3)]
    assert (first["action"], first["msgSerial"], first["count"]) == (Action.ACK, 0, 3)
    assert len(first["res"]) == 3
    assert (refused["action"], refused["msgSerial"]) == (Action.NACK, 3)
    assert (last["action"], last["msgSerial"], last["count"]) == (Action.ACK, 4, 1)


@pytest.mark.parametrize("ack_first", [True, False])
async def test_the_order_of_ack_and_echo_can_be_chosen(ack_first: bool) -> None:
    async with (
        LocalServer(LocalServerOptions(ack_before_echo=ack_first)) as server,
        raw_client(server) as client,
    ):
        await client.attach("c")
        await client.post("c", {"data": "x"})
        actions = [frame["action"] for frame in await client.settled()]
    assert actions == ([Action.ACK, Action.MESSAGE] if ack_first else [Action.MESSAGE, Action.ACK])


async def test_a_publish_without_msg_serial_fails_the_connection(server: LocalServer) -> None:
    async with raw_client(server) as client:
        await client.send({"action": Action.MESSAGE, "channel": "c", "messages": [{"data": "x"}]})
        assert (await client.receive())["error"]["code"] == 40000


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([], 40000),
        ([{"action": 3}], 40000),
        ([{"action": 5, "data": "x"}], 40003),
        ([{"action": 5, "data": "x", "serial": "01-0@nobody:000"}], 40400),
        ([{"action": 0}, {"action": 5, "serial": "x"}], 40000),
        ([{"action": 1, "serial": "a"}, {"action": 1, "serial": "b"}], 40000),
        ([{"name": 5}], 40000),
        ([{"data": 5}], 40013),
        ([{"data": "?", "encoding": "base64"}], 40013),
        (["text"], 40000),
    ],
)
async def test_publishes_that_make_no_sense_are_refused(
    server: LocalServer, messages: list[Frame], code: int
) -> None:
    async with raw_client(server) as client:
        assert (await client.refused("c", *messages))["code"] == code
        await client.publish("c", {"data": "the connection goes on"})


@pytest.mark.parametrize("channel", ["", ":c", "[meta]c", "[?rewind=1]"])
async def test_bad_channel_names_are_refused(server: LocalServer, channel: str) -> None:
    async with raw_client(server) as client:
        assert (await client.refused(channel, {"data": "x"}))["code"] == 40010
        await client.send({"action": Action.ATTACH, "channel": channel})
        frame = await client.until(Action.ERROR)
        assert frame["channel"] == channel
        assert frame["error"]["code"] == 40010


@pytest.mark.parametrize("action", [Action.OBJECT, Action.ANNOTATION])
async def test_parts_of_ably_that_are_missing_are_refused(server: LocalServer, action: Action) -> None:
    async with raw_client(server) as client:
        await client.send({"action": action, "channel": "c", "msgSerial": 0})
        answer = await client.answer()
    assert answer["action"] == Action.NACK
    assert answer["error"]["code"] == 40000


@pytest.mark.parametrize("action", [1, 2, 5])
async def test_an_immutable_namespace_refuses_mutations(server: LocalServer, action: int) -> None:
    async with raw_client(server) as client:
        serial = await client.publish("immutable:c", {"data": "x"})
        error = await client.refused("immutable:c", {"action": action, "serial": serial, "data": "y"})
    assert error["code"] == 93002
    assert error["statusCode"] == 400
