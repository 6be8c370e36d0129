"""Killing the server loses nothing that it has acknowledged and doubles nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from random import Random
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.local.crash import CHANNEL, ROOT, DataServer, data_server, survive

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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_at_any_moment_makes_no_loss_and_no_refusal(tmp_path: Path) -> None:
    """While a file is made, opened, written, compacted or closed."""
    program = [sys.executable, "-m", "tests.local.kill_storage", str(tmp_path / "data.sqlite")]
    done = subprocess.run(  # noqa: S603 - our own module
        [*program, str(KILLS * 20), "2026"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["stored"] > KILLS
