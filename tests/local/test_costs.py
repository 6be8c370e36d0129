"""What a client costs depends on what it does itself, not on what the app holds."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from ably_ai_transport.local.auth.capability import Capability
from ably_ai_transport.local.core.channel import Channel
from ably_ai_transport.local.protocol.frames import Action, PresenceAction
from tests.local.raw_client import RawClient, raw_client

if TYPE_CHECKING:
    from ably_ai_transport.local import LocalServer
    from tests.local.manual_clock import ManualClock


async def announce(client: RawClient, channel: str, action: PresenceAction, **fields: object) -> None:
    event = {"action": action, **fields}
    await client.send(
        {
            "action": Action.PRESENCE,
            "channel": channel,
            "msgSerial": client.next_serial,
            "presence": [event],
        }
    )
    client.next_serial += 1
    assert (await client.answer())["action"] == Action.ACK


async def test_the_end_of_a_connection_touches_its_own_channels_only(
    timed_server: LocalServer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with raw_client(timed_server, "other") as other:
        for number in range(50):
            await other.attach(f"other-{number}")
            await announce(other, f"other-{number}", PresenceAction.ENTER)
        left: list[str] = []
        leave = Channel.leave

        def count(channel: Channel, connection_id: str) -> object:
            left.append(channel.name)
            return leave(channel, connection_id)

        async with raw_client(timed_server, "alice") as alice:
            await alice.attach("quiet")
            for name in ("a", "b", "left", "detached"):
                await alice.attach(name)
                await announce(alice, name, PresenceAction.ENTER)
            await announce(alice, "left", PresenceAction.LEAVE)
            await alice.send({"action": Action.DETACH, "channel": "detached"})
            await alice.until(Action.DETACHED)
            monkeypatch.setattr(Channel, "leave", count)
            timed_server.faults.drop("alice")
            await alice.closed()
        clock.advance(timed_server.options.presence_grace_ms)
        assert sorted(left) == ["a", "b"]
        async with raw_client(timed_server, "bob") as bob:
            await announce(bob, "a", PresenceAction.ENTER)
            left.clear()
            await bob.send({"action": Action.CLOSE})
            await bob.until(Action.CLOSED)
        assert left == ["a"]


async def test_members_of_several_names_leave_together(timed_server: LocalServer) -> None:
    async with raw_client(timed_server) as watcher:
        await watcher.attach("c")
        async with raw_client(timed_server) as client:
            for name in ("one", "two"):
                await announce(client, "c", PresenceAction.ENTER, clientId=name)
            await announce(client, "c", PresenceAction.LEAVE, clientId="one")
            await client.send({"action": Action.CLOSE})
            await client.until(Action.CLOSED)
        frames = [frame["presence"] for frame in await watcher.settled()]
    assert [(event["action"], event["clientId"]) for [event] in frames] == [
        (PresenceAction.ENTER, "one"),
        (PresenceAction.ENTER, "two"),
        (PresenceAction.LEAVE, "one"),
        (PresenceAction.LEAVE, "two"),
    ]


def test_a_capability_does_not_remember_every_channel() -> None:
    """That of a key serves its users for as long as the server runs."""
    capability = Capability({"*": ["subscribe"], "ns:*": ["publish"]})
    tracemalloc.start()
    try:
        for number in range(5_000):
            assert capability.allows(f"ns:{number}", "publish")
        before, _ = tracemalloc.get_traced_memory()
        for number in range(5_000, 50_000):
            assert capability.allows(f"ns:{number}", "publish")
            assert not capability.allows(f"other:{number}", "publish")
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 100_000
