"""Killing the server loses nothing that it has acknowledged and doubles nothing."""

from __future__ import annotations

import os
from random import Random
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.local.crash import CHANNEL, DataServer, data_server, survive

if TYPE_CHECKING:
    from pathlib import Path

    from tests.local.raw_client import WireFormat

KILLS = int(os.environ.get("AIT_KILLS", "2"))
STEPS = 400
TIME_LIMIT = 20 + 5 * KILLS


async def history(server: DataServer) -> list[str]:
    """Return what all messages hold, oldest first."""
    texts: list[str] = []
    path: str | None = f"/channels/{CHANNEL}/messages?direction=forwards&limit=100&key={server.key}"
    url = f"http://127.0.0.1:{server.port}"
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        while path is not None:
            response = await client.get(path)
            texts += [message["data"] for message in response.json()]
            following = response.links.get("next", {}).get("url")
            path = f"/channels/{CHANNEL}/{following}&key={server.key}" if following else None
    return texts


@pytest.mark.parametrize("format_", ["json", "msgpack"])
async def test_a_server_that_is_killed_loses_nothing(tmp_path: Path, format_: WireFormat) -> None:
    random = Random(20_26)  # noqa: S311 - moments, no secrets
    with data_server(tmp_path / "data.sqlite") as server:
        publisher, follower = await survive(server, kills=KILLS, steps=STEPS, format_=format_, random=random)
        assert server.starts == KILLS + 1
        assert publisher.acknowledged == STEPS * (KILLS + 1)
        assert await history(server) == publisher.texts, "what is stored"
        assert list(follower.texts.values()) == publisher.texts, "what was delivered"
        assert follower.lost == 0, "each attach continued"
