"""Channel names of any kind, in the URLs that ably-js makes of them."""

import pytest

from ably_ai_transport.local import LocalServer
from integration_tests.plain_clients.js_ably import JsAbly

NAMES = [".", "..", "../..", "a/../b", "a/b", "%", "%2e%2e", "a b", "a+b", "a?b#c", "é😀", "\\", "messages"]


async def test_history_is_found_whatever_the_name_of_the_channel(server: LocalServer, binary: bool) -> None:
    async with JsAbly(server, binary=binary) as ably:
        await ably.connect("pub", client_id="pub")
        for name in NAMES:
            channel = ably.channel("pub", name)
            [serial] = await channel.publish({"name": "n", "data": "a"})
            assert serial is not None
            await channel.append(serial, "b")
            await channel.publish({"name": "n", "data": "c"})
            pages = await channel.history(limit=1)
            assert [[m["data"] for m in page] for page in pages] == [["c"], ["ab"]], name
            assert (await channel.message(serial))["data"] == "ab", name
            assert [m["data"] for m in await channel.versions(serial)] == ["a", "ab"], name


@pytest.mark.parametrize("metric", ["metrics", "metrics.subscribers"])
async def test_occupancy_is_heard(server: LocalServer, binary: bool, metric: str) -> None:
    async with JsAbly(server, binary=binary) as ably:
        for name in ("one", "two"):
            await ably.connect(name, client_id=name)
        watcher = ably.channel("one", "watched", params={"occupancy": metric})
        await watcher.subscribe()
        [first] = await watcher.heard()
        assert (first["action"], first["name"]) == ("meta", "[meta]occupancy")
        assert first["data"]["metrics"]["subscribers"] == 1
        assert len(first["data"]["metrics"]) == (8 if metric == "metrics" else 1)
        await ably.channel("two", "watched").attach()
        [second] = await watcher.heard()
        assert second["data"]["metrics"]["subscribers"] == 2
