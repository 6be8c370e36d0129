"""Everything that clients can read of a server, and files as a crash would leave them."""

from __future__ import annotations

import contextlib
import resource
import shutil
from typing import TYPE_CHECKING, Any

import httpx

from ably_ai_transport.local import LocalServer, LocalServerOptions
from ably_ai_transport.local.protocol.frames import Action
from tests.local.raw_client import raw_client

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tests.local.manual_clock import ManualClock

SUFFIXES = ("", "-wal", "-mark")


async def readable(server: LocalServer, *, since: str | None = None) -> dict[str, Any]:
    """Return all that can be read over REST, and over a websocket with a rewind and a resume."""
    found: dict[str, Any] = {}
    async with (
        httpx.AsyncClient(base_url=server.url, trust_env=False) as rest,
        raw_client(server) as client,
    ):

        async def get(path: str) -> Any:  # noqa: ANN401 - JSON
            response = await rest.get(path, params={"key": server.key, "by": "id", "limit": "1000"})
            assert response.status_code == 200, response.text
            return response.json()

        for channel in await get("/channels"):
            path = f"/channels/{channel}"
            messages = await get(f"{path}/messages")
            for message in messages:
                found[message["serial"]] = await get(f"{path}/messages/{message['serial']}/versions")
            await client.attach(channel, params={"rewind": "100"})
            rewound = [f for f in await client.settled() if f["action"] == Action.MESSAGE]
            await client.send({"action": Action.DETACH, "channel": channel})
            await client.until(Action.DETACHED)
            # The last frame of a rewind carries the position of the channel, which a restart moves.
            found[channel] = (
                messages,
                await get(f"{path}/presence"),
                await get(f"{path}/presence/history"),
                [frame["messages"] for frame in rewound],
            )
            if since is not None:
                await client.attach(channel, channelSerial=since)
                frames = [
                    f for f in await client.settled() if f["action"] in (Action.MESSAGE, Action.PRESENCE)
                ]
                found[channel] += ([{**frame, "id": ""} for frame in frames],)
    return {name: content for name, content in found.items() if content not in (([], [], [], []), [])}


def as_after_a_crash(data: Path, where: Path) -> Path:
    """Copy the files of a running server: what a kill would leave."""
    where.mkdir()
    for suffix in SUFFIXES:
        source = data.with_name(data.name + suffix)
        if source.exists():
            shutil.copy2(source, where / source.name)
    return where / data.name


async def stored(data: Path, clock: ManualClock | None = None, *, since: str | None = None) -> dict[str, Any]:
    """Return all that can be read of a server on a data file."""
    async with LocalServer(LocalServerOptions(data=data), clock=clock) as server:
        return await readable(server, since=since)


@contextlib.contextmanager
def full_disk(data: Path) -> Generator[None]:
    """Let files not grow any more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = data.with_name(f"{data.name}-wal")
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
