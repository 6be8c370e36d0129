"""A data file with missing or damaged content is refused; its loss can be accepted."""

from __future__ import annotations

import os
import shutil
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from ably_ai_transport.local import (
    LocalServer,
    LocalServerOptions,
    StorageDamagedError,
    StorageUnusableError,
)
from ably_ai_transport.local.protocol.frames import Action, Flag, PresenceAction
from tests.local.raw_client import raw_client
from tests.local.reading import SUFFIXES, as_after_a_crash, readable, stored

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeAlias

    from tests.local.manual_clock import ManualClock

    Damage: TypeAlias = Callable[[Path, Random], None]

DAMAGES = int(os.environ.get("AIT_DAMAGES", "3"))
TIME_LIMIT = 20 + DAMAGES
COMPACTED_AFTER_MS = 600_000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data.sqlite"


def beside(data: Path, suffix: str) -> Path:
    return data.with_name(data.name + suffix)


async def fill(data: Path, clock: ManualClock, crash: Path | None = None) -> tuple[dict[str, Any], str]:
    """Fill a file with folded and fresh steps; returns what can be read, and a position.

    Args:
        data: The file.
        clock: The clock.
        crash: Where to put the files as a kill would leave them.
    """
    async with LocalServer(LocalServerOptions(data=data), clock=clock) as server:
        async with raw_client(server, "alice") as alice:
            enter = {"action": Action.PRESENCE, "channel": "c", "msgSerial": 0}
            alice.next_serial = 1
            await alice.send({**enter, "presence": [{"action": PresenceAction.ENTER, "data": "here"}]})
            await alice.answer()
            for channel in ("c", "other"):
                for number in range(6):
                    serial = await alice.publish(channel, {"data": f"{number};", "extras": {"n": number}})
                    for piece in range(4):
                        await alice.append(channel, serial, f"{piece};" * 20)
                if channel == "c":
                    clock.advance(COMPACTED_AFTER_MS)
        async with raw_client(server) as client:
            serial = await client.publish("c", {"data": "fresh"})
            await client.append("c", serial, "est")
        found = await readable(server)
        if crash is not None:
            as_after_a_crash(data, crash)
    return found, serial.rpartition(":")[0]


async def test_a_killed_server_and_a_stopped_one_leave_sound_files(
    data: Path, tmp_path: Path, clock: ManualClock
) -> None:
    before, _ = await fill(data, clock, tmp_path / "crash")
    assert [beside(data, suffix).exists() for suffix in SUFFIXES] == [True, False, False]
    assert [beside(tmp_path / "crash" / data.name, suffix).exists() for suffix in SUFFIXES] == [True] * 3
    for _ in range(2):
        assert await stored(tmp_path / "crash" / data.name, clock) == before
        assert await stored(data, clock) == before


def cut(path: Path, random: Random) -> None:
    os.truncate(path, random.randrange(path.stat().st_size))


def flip(path: Path, random: Random) -> None:
    content = bytearray(path.read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)


def scribble(path: Path, random: Random) -> None:
    """Overwrite a stretch, as a lost sector does."""
    content = bytearray(path.read_bytes())
    start = random.randrange(len(content))
    end = min(start + 512, len(content))
    content[start:end] = bytes(end - start)
    path.write_bytes(content)


def delete(path: Path, random: Random) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "suffix", "is_crash"),
    [
        *[(damage, suffix, True) for damage in (cut, flip, scribble, delete) for suffix in SUFFIXES],
        *[(damage, "", False) for damage in (cut, flip, scribble)],
    ],
)
async def test_no_damage_goes_unnoticed(
    data: Path, tmp_path: Path, clock: ManualClock, damage: Damage, suffix: str, *, is_crash: bool
) -> None:
    random = Random(f"{damage.__name__}{suffix}{is_crash}")  # noqa: S311 - places, no secrets
    before, _ = await fill(data, clock, tmp_path / "crash")
    sound = tmp_path / "crash" / data.name if is_crash else data
    for number in range(1 if damage is delete else DAMAGES):
        where = tmp_path / f"try-{number}"
        copy = as_after_a_crash(sound, where)
        damage(beside(copy, suffix), random)
        left = {path.name for path in where.iterdir()}
        try:
            assert await stored(copy, clock) == before, "damage that harms nothing"
        except StorageUnusableError:
            assert left <= {path.name for path in where.iterdir()}
            async with LocalServer(LocalServerOptions(data=copy, accept_loss=True), clock=clock) as server:
                await readable(server)
            await stored(copy, clock)
        shutil.rmtree(where)


async def test_a_missing_log_is_told_and_can_be_put_back(
    data: Path, tmp_path: Path, clock: ManualClock
) -> None:
    before, _ = await fill(data, clock, tmp_path / "crash")
    crash = tmp_path / "crash" / data.name
    log = beside(crash, "-wal")
    kept = log.read_bytes()
    os.truncate(log, len(kept) - 5000)
    with pytest.raises(StorageDamagedError, match=r"last 1 of 63 steps .*2026-.* UTC.*--accept-loss"):
        await stored(crash, clock)
    assert log.read_bytes() == kept[:-5000]
    log.write_bytes(kept)
    assert await stored(crash, clock) == before


async def test_a_loss_that_is_accepted(
    data: Path, tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    before, position = await fill(data, clock, tmp_path / "crash")
    crash = tmp_path / "crash" / data.name
    log = beside(crash, "-wal")
    os.truncate(log, log.stat().st_size - 5000)
    damaged = {suffix: beside(crash, suffix).read_bytes() for suffix in SUFFIXES}
    options = LocalServerOptions(data=crash, accept_loss=True)
    async with LocalServer(options, clock=clock) as server, raw_client(server) as client:
        after = await readable(server)
        lost = {serial for serial in before if before[serial] != after.get(serial)} - {"c", "other"}
        assert len(lost) == 1, "the message whose last append is gone"
        [[*_, version]] = [after[serial] for serial in lost]
        assert version["data"] == "fresh"
        resumed = await client.attach("c", channelSerial=position)
        assert resumed["error"]["code"] == 90003
        assert not resumed["flags"] & Flag.RESUMED
        assert await client.publish("c", {"data": "new"}) > max(before.keys() - {"c", "other"})
        key = server.key
    for suffix in SUFFIXES:
        assert beside(crash, f".damaged{suffix}").read_bytes() == damaged[suffix]
    assert "it is kept as" in caplog.text.lower()
    async with LocalServer(LocalServerOptions(data=crash), clock=clock) as server:
        assert server.key == key
        assert [m["data"] for m in (await readable(server))["c"][0]][:2] == ["new", "fresh"]


async def test_without_a_loss_nothing_is_set_aside(data: Path, tmp_path: Path, clock: ManualClock) -> None:
    before, _ = await fill(data, clock, tmp_path / "crash")
    crash = tmp_path / "crash" / data.name
    async with LocalServer(LocalServerOptions(data=crash, accept_loss=True), clock=clock) as server:
        assert await readable(server) == before
    assert list(crash.parent.iterdir()) == [crash]
