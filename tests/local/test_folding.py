"""A subscriber that folds its deliveries gets the text in history, however often it is cut off."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.local.raw_client import RawClient, raw_client

if TYPE_CHECKING:
    import httpx

    from ably_ai_transport.local import LocalServer
    from tests.local.raw_client import Frame


class Folder:
    """A subscriber that keeps the text of each message, as AI sessions do."""

    def __init__(self) -> None:
        self.text: dict[str, str] = {}
        self.version: dict[str, str] = {}
        self.position: str | None = None
        self.repeats = 0

    def take(self, frames: list[Frame]) -> None:
        for frame in frames:
            if "channelSerial" not in frame:
                continue
            self.position = frame["channelSerial"]
            for message in frame.get("messages", ()):
                self.fold(message)

    def fold(self, message: Frame) -> None:
        serial, version = message["serial"], message["version"]["serial"]
        if version <= self.version.get(serial, ""):
            self.repeats += 1
            return
        self.version[serial] = version
        if message["action"] == 5:
            assert serial in self.text, "a delta is never the first contact"
            self.text[serial] += message["data"]
        else:
            self.text[serial] = message["data"]


async def read_some(client: RawClient, folder: Folder, rng: random.Random) -> None:
    """Read part of what is there, so that the cut comes in the middle."""
    for frame in (await client.settled())[: rng.randrange(1, 12)]:
        folder.take([frame])


@pytest.mark.parametrize("window", ["0", "40"])
@pytest.mark.parametrize("seed", range(4))
async def test_a_subscriber_that_is_cut_again_and_again(
    server: LocalServer, rest: httpx.AsyncClient, seed: int, window: str
) -> None:
    rng = random.Random(seed)  # noqa: S311
    folder = Folder()
    key = ""
    async with raw_client(server, "writer", appendRollupWindow=window, echo="false") as writer:
        serials = [await writer.publish("c", {"data": ""}) for _ in range(2)]
        for _ in range(8):
            async with raw_client(server, "reader", resume=key) as reader:
                key = reader.key
                position = {"channelSerial": folder.position} if folder.position else {}
                attached = await reader.attach("c", **position)
                folder.position = attached["channelSerial"]
                for _ in range(rng.randrange(5, 25)):
                    if rng.random() < 0.1:
                        serials.append(await writer.publish("c", {"data": "+"}))
                    word = f"<{rng.randrange(1000)}>"
                    await writer.post("c", {"action": 5, "serial": rng.choice(serials), "data": word})
                await writer.settled()
                await read_some(reader, folder, rng)
                server.faults.drop("reader")
                await reader.closed()
            for _ in range(rng.randrange(5)):
                await writer.post("c", {"action": 5, "serial": rng.choice(serials), "data": "."})
        await writer.send({"action": 12, "channel": "flushes what is rolled up"})
        await writer.settled()
        async with raw_client(server, "reader", resume=key) as reader:
            await reader.attach("c", channelSerial=folder.position)
            folder.take(await reader.settled())
    items = (await rest.get("/channels/c/messages?limit=1000")).json()
    stored = {item["serial"]: item["data"] for item in items}
    assert len(stored) == len(serials)
    # The first two were created before the reader came: it knows those that changed since.
    assert {s: stored[s] for s in folder.text} == folder.text
    assert set(serials[2:]) <= folder.text.keys()
