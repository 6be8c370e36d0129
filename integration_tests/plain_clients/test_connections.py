"""Tests of ably-js on broken connections and on refusals."""

import pytest

from ably_ai_transport.local import LocalServer
from integration_tests.engines.server import Server
from integration_tests.js_process import JsError
from integration_tests.plain_clients.js_ably import JsAbly


async def connect_pair(ably: JsAbly) -> None:
    for name in ("pub", "sub"):
        await ably.connect(name, client_id=name)
        await ably.turn(name, "connected")


async def test_nothing_is_missed_while_a_connection_is_down(
    local_server: LocalServer, binary: bool, channel: str
) -> None:
    async with JsAbly(local_server, binary=binary) as ably:
        await connect_pair(ably)
        pub, sub = ably.channel("pub", channel), ably.channel("sub", channel)
        await sub.subscribe()
        await sub.attach()
        [serial] = await pub.publish({"name": "stream", "data": "one "})
        assert serial is not None
        await sub.heard()
        before = await ably.connection("sub")
        local_server.faults.refuse_connections(on=True)
        local_server.faults.drop("sub")
        await ably.turn("sub", "disconnected")
        await pub.append(serial, "two ")
        await pub.append(serial, "three ")
        await pub.publish({"name": "note", "data": "meanwhile"})
        local_server.faults.refuse_connections(on=False)
        await ably.turn("sub", "connected")
        missed = await sub.heard(2)
        await pub.append(serial, "four")
        [after] = await sub.heard()

        assert (await ably.connection("sub"))["connectionId"] == before["connectionId"]
        assert (await sub.changed())["resumed"] is True
        assert [(m["action"], m["data"]) for m in missed] == [
            ("message.update", "one two three "),
            ("message.create", "meanwhile"),
        ]
        assert (after["action"], after["data"]) == ("message.append", "four")
        assert not sub.unheard()


async def test_a_publish_whose_answer_was_lost_is_not_doubled(
    local_server: LocalServer, binary: bool, channel: str
) -> None:
    async with JsAbly(local_server, binary=binary) as ably:
        await connect_pair(ably)
        pub, sub = ably.channel("pub", channel), ably.channel("sub", channel)
        await sub.subscribe()
        local_server.faults.cut_before_ack(channel)
        [serial] = await pub.publish({"name": "n", "data": "once"})
        await pub.publish({"name": "n", "data": "next"})
        heard = await sub.heard(2)

    assert [m["data"] for m in heard] == ["once", "next"]
    assert heard[0]["serial"] == serial


async def test_a_connection_that_the_server_forgot_begins_anew(
    local_server: LocalServer, binary: bool, channel: str
) -> None:
    async with JsAbly(local_server, binary=binary) as ably:
        await connect_pair(ably)
        sub = ably.channel("sub", channel)
        await sub.subscribe()
        before = await ably.connection("sub")
        local_server.faults.forget("sub")
        local_server.faults.drop("sub")
        await ably.turn("sub", "disconnected")
        await ably.turn("sub", "connected")
        await ably.channel("pub", channel).publish({"name": "n", "data": "still heard"})

        assert (await ably.connection("sub"))["connectionId"] != before["connectionId"]
        assert [m["data"] for m in await sub.heard()] == ["still heard"]


async def test_a_gap_that_cannot_be_filled_is_told(
    local_server: LocalServer, binary: bool, channel: str
) -> None:
    async with JsAbly(local_server, binary=binary) as ably:
        await connect_pair(ably)
        pub, sub = ably.channel("pub", channel), ably.channel("sub", channel)
        await sub.attach()
        local_server.faults.refuse_connections(on=True)
        local_server.faults.drop("sub")
        await ably.turn("sub", "disconnected")
        await pub.publish({"name": "n", "data": "lost"})
        local_server.faults.trim(channel)
        local_server.faults.refuse_connections(on=False)
        change = await sub.changed()

        assert change["resumed"] is False
        assert change["error"]["code"] == 90003


async def test_a_refused_publish_leaves_the_next_ones_alone(
    local_server: LocalServer, binary: bool, channel: str
) -> None:
    async with JsAbly(local_server, binary=binary) as ably:
        await connect_pair(ably)
        sub = ably.channel("sub", channel)
        await sub.subscribe()
        local_server.faults.nack(channel, skip=1, code=50000)
        requests = [
            await ably.start(
                "publish", client="pub", channel=channel, messages=[{"name": "n", "data": str(number)}]
            )
            for number in range(3)
        ]
        assert await requests[0].result()
        with pytest.raises(JsError) as refused:
            await requests[1].result()
        assert await requests[2].result()

        assert refused.value.code == 50000
        assert [m["data"] for m in await sub.heard(2)] == ["0", "2"]


async def test_a_channel_that_was_detached_attaches_again(
    local_server: LocalServer, binary: bool, channel: str
) -> None:
    async with JsAbly(local_server, binary=binary) as ably:
        await connect_pair(ably)
        pub, sub = ably.channel("pub", channel), ably.channel("sub", channel)
        await sub.subscribe()
        await sub.attach()
        local_server.faults.detach(channel)
        await sub.changed()
        await pub.publish({"name": "n", "data": "heard"})

        assert [m["data"] for m in await sub.heard()] == ["heard"]


async def test_wrong_credentials_fail_the_connection(server: Server, binary: bool) -> None:
    async with JsAbly(server, binary=binary) as ably:
        said = await ably.connect("bad", key="app.key:wrong")

    assert said["state"] == "failed"
    assert said["error"]["code"] == 40101


async def test_a_token_opens_what_it_names(server: Server, binary: bool, channel: str) -> None:
    token = server.token("reader", capability={channel: ["subscribe", "history"]})
    async with JsAbly(server, binary=binary) as ably:
        said = await ably.connect("reader", token=token)
        own, other = ably.channel("reader", channel), ably.channel("reader", "elsewhere")
        await own.subscribe()
        with pytest.raises(JsError) as publishing:
            await own.publish({"name": "n", "data": "x"})
        with pytest.raises(JsError) as attaching:
            await other.attach()

    assert said["clientId"] == "reader"
    assert publishing.value.code == 40160
    assert attaching.value.code == 40160


async def test_presence_tells_who_is_there(server: Server, binary: bool, channel: str) -> None:
    async with JsAbly(server, binary=binary) as ably:
        await connect_pair(ably)
        pub, sub = ably.channel("pub", channel), ably.channel("sub", channel)
        await sub.watch_presence()
        await pub.enter({"role": "agent"})
        came = (await ably.event("presence", client="sub"))["member"]
        members = await sub.members()
        await pub.leave()
        left = (await ably.event("presence", client="sub"))["member"]

        assert (came["action"], came["clientId"], came["data"]) == ("enter", "pub", {"role": "agent"})
        assert [(m["clientId"], m["data"]) for m in members] == [("pub", {"role": "agent"})]
        assert (left["action"], left["clientId"]) == ("leave", "pub")
        assert await sub.members() == []
