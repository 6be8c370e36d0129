"""Tests of history and rewind as ably-js reads them."""

from integration_tests.engines.server import Server
from integration_tests.plain_clients.js_ably import JsAbly


async def test_history_shows_each_message_once_in_its_latest_version(
    server: Server, binary: bool, channel: str
) -> None:
    async with JsAbly(server, binary=binary) as ably:
        await ably.connect("pub", client_id="pub")
        pub = ably.channel("pub", channel)
        [first] = await pub.publish({"name": "stream", "data": "to "})
        [second] = await pub.publish({"name": "note", "data": {"n": 1}})
        await pub.publish({"name": "gone", "data": "unseen", "extras": {"ephemeral": True}})
        assert first is not None
        await pub.append(first, "be ")
        last = await pub.append(first, "continued")
        [page] = await pub.history()

    assert [(m["serial"], m["action"], m["name"], m["data"]) for m in page] == [
        (second, "message.create", "note", {"n": 1}),
        (first, "message.update", "stream", "to be continued"),
    ]
    assert page[1]["version"]["serial"] == last


async def test_history_comes_in_pages(server: Server, binary: bool, channel: str) -> None:
    async with JsAbly(server, binary=binary) as ably:
        await ably.connect("pub", client_id="pub")
        pub = ably.channel("pub", channel)
        await pub.publish(*({"name": "n", "data": str(number)} for number in range(7)))
        backwards = await pub.history(limit=3)
        forwards = await pub.history(limit=3, direction="forwards")

    assert [[m["data"] for m in page] for page in backwards] == [["6", "5", "4"], ["3", "2", "1"], ["0"]]
    assert [[m["data"] for m in page] for page in forwards] == [["0", "1", "2"], ["3", "4", "5"], ["6"]]


async def test_history_until_the_attach_and_what_is_heard_make_up_everything(
    server: Server, binary: bool, channel: str
) -> None:
    async with JsAbly(server, binary=binary) as ably:
        for name in ("pub", "sub"):
            await ably.connect(name, client_id=name)
        pub, sub = ably.channel("pub", channel), ably.channel("sub", channel)
        await pub.publish({"name": "n", "data": "before"})
        await sub.subscribe()
        await pub.publish({"name": "n", "data": "after"})
        heard = await sub.heard()
        [page] = await sub.history(untilAttach=True)

    assert [m["data"] for m in page] == ["before"]
    assert [m["data"] for m in heard] == ["after"]


async def test_rewind_brings_the_latest_messages(server: Server, binary: bool, channel: str) -> None:
    async with JsAbly(server, binary=binary) as ably:
        for name in ("pub", "sub"):
            await ably.connect(name, client_id=name)
        pub = ably.channel("pub", channel)
        [first] = await pub.publish({"name": "n", "data": "a"})
        await pub.publish({"name": "n", "data": "b"})
        await pub.publish({"name": "n", "data": "c"})
        assert first is not None
        sub = ably.channel("sub", channel, params={"rewind": "2"})
        await sub.subscribe()
        await pub.publish({"name": "n", "data": "d"})

        assert [m["data"] for m in await sub.heard(3)] == ["b", "c", "d"]
