"""The fixtures for users' tests, and the page that shows them."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from ably import AblyRealtime
from ably.types.message import Message

from ably_ai_transport.local import Faults, LocalServer
from ably_ai_transport.testing import MemoryHub
from ably_ai_transport.testing.plugin import AblyClientFactory

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def test_the_page(tmp_path: Path) -> None:
    """The page's files are written out, and a separate pytest runs them."""
    for block in re.findall(r"```python\n(# (\S+\.py)\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        code, name = block
        (tmp_path / name).write_text(code, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\npythonpath = .\n", encoding="utf-8")
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


class Inbox:
    """Waits for so many messages."""

    def __init__(self) -> None:
        self.data: list[object] = []
        self._news = asyncio.Event()

    def take(self, message: Message) -> None:
        self.data.append(cast("Any", message).data)
        self._news.set()

    async def wait_for(self, count: int) -> list[object]:
        async with asyncio.timeout(10):
            while len(self.data) < count:
                self._news.clear()
                await self._news.wait()
        return self.data


def channel_of(client: AblyRealtime) -> Any:  # noqa: ANN401 - the SDK has no types here
    return cast("Any", client).channels.get("c")


async def subscribed(client: AblyRealtime) -> Inbox:
    inbox = Inbox()
    await channel_of(client).subscribe(inbox.take)
    return inbox


@pytest.mark.parametrize("binary", [False, True])
async def test_a_frame_that_is_cut_arrives_after_the_resume(
    ably_client: AblyClientFactory, ably_faults: Faults, binary: bool
) -> None:
    alice = ably_client("alice", disconnected_retry_timeout=50, use_binary_protocol=binary)
    inbox = await subscribed(alice)
    channel = channel_of(ably_client("bob"))
    ably_faults.cut_mid_frame("alice")
    for i in range(3):
        await channel.publish("n", str(i))
    assert await inbox.wait_for(3) == ["0", "1", "2"]


async def test_a_server_that_is_restarted(ably_server: LocalServer, ably_client: AblyClientFactory) -> None:
    alice: Any = ably_client("alice", disconnected_retry_timeout=50)
    inbox = await subscribed(alice)
    before = ably_server.url, ably_server.key
    is_back = asyncio.ensure_future(alice.connection.once_async("connected"))
    await asyncio.sleep(0)
    await ably_server.restart()
    assert (ably_server.url, ably_server.key) == before
    await asyncio.wait_for(is_back, 10)
    await channel_of(alice).attach()
    await channel_of(ably_client("bob")).publish("n", "after")
    assert await inbox.wait_for(1) == ["after"]


async def test_frames_are_seen_after_a_restart_too(
    ably_server: LocalServer, ably_client: AblyClientFactory
) -> None:
    seen: list[str] = []
    ably_server.on_frame(lambda direction, label, frame: seen.append(direction))
    await ably_server.restart()
    await channel_of(ably_client("alice")).publish("n", "x")
    assert {"c2s", "s2c"} <= set(seen)


def test_channels_in_memory(memory_hub: MemoryHub) -> None:
    assert memory_hub.messages("nothing") == []
