from __future__ import annotations

import asyncio
import sqlite3
import stat
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ably_ai_transport.local import LocalServer, LocalServerOptions, StorageError, StorageUnusableError
from ably_ai_transport.local.auth.capability import EVERYTHING
from ably_ai_transport.local.auth.credentials import Identity
from ably_ai_transport.local.protocol.frames import Action, Flag, PresenceAction
from ably_ai_transport.local.protocol.messages import Submission, parse_submission
from ably_ai_transport.local.storage.sqlite import SqliteContent
from tests.local.raw_client import raw_client
from tests.local.reading import readable, stored

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from tests.local.manual_clock import ManualClock

COMPACTED_AFTER_MS = 600_000
MORE_THAN_ONE_COMPACTION = 2100


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data.sqlite"


@asynccontextmanager
async def serving(data: Path, clock: ManualClock | None = None) -> AsyncGenerator[LocalServer]:
    async with LocalServer(LocalServerOptions(data=data), clock=clock) as server:
        yield server


async def get(server: LocalServer, path: str) -> Any:  # noqa: ANN401 - JSON
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        response = await client.get(path, params={"key": server.key})
    assert response.status_code == 200, response.text
    return response.json()


async def test_messages_outlive_the_server(data: Path) -> None:
    async with serving(data) as server, raw_client(server, "alice", format_="msgpack") as alice:
        text = await alice.publish("c", {"name": "n", "data": "a", "extras": {"x": [1, None]}})
        await alice.append("c", text, "b")
        await alice.append("c", text, "c")
        await alice.publish(
            "c", {"action": 1, "serial": text, "data": "U", "version": {"description": "why"}}
        )
        gone = await alice.publish("c", {"data": b"\x00\xff"})
        await alice.publish("c", {"action": 2, "serial": gone})
        before = await get(server, "/channels/c/messages")
        versions = await get(server, f"/channels/c/messages/{text}/versions")
    assert [item["action"] for item in versions] == [0, 1, 1]
    for _ in range(2):
        async with serving(data) as server:
            assert await get(server, "/channels/c/messages") == before
            assert await get(server, f"/channels/c/messages/{text}/versions") == versions


async def test_a_stream_goes_on_after_a_restart(data: Path) -> None:
    async with serving(data) as server, raw_client(server) as client:
        serial = await client.publish("c", {"data": "a"})
        await client.append("c", serial, "b")
    async with serving(data) as server, raw_client(server) as client:
        await client.append("c", serial, "c")
        [message] = await get(server, "/channels/c/messages")
    assert (message["action"], message["data"]) == (1, "abc")


async def test_serials_ascend_over_a_restart(data: Path, clock: ManualClock) -> None:
    async with serving(data, clock) as server, raw_client(server) as client:
        first = await client.publish("c", {"data": "1"})
    clock.time -= 60_000
    async with serving(data, clock) as server, raw_client(server) as client:
        second = await client.publish("c", {"data": "2"})
        assert [item["data"] for item in await get(server, "/channels/c/messages")] == ["2", "1"]
    assert second > first


async def test_the_key_is_kept_unless_one_is_given(data: Path) -> None:
    async with serving(data) as server:
        key = server.key
    async with serving(data) as server:
        assert server.key == key
    async with LocalServer(LocalServerOptions(data=data, keys=("app.key:secret",))) as server:
        assert server.key == "app.key:secret"
    async with serving(data) as server:
        assert server.key == key


async def test_a_connection_is_resumed_after_a_restart(data: Path) -> None:
    # RTN15b, RTN19a: the same connectionId, and a publish that is sent again gets its first answer.
    async with serving(data) as server, raw_client(server, "alice") as first:
        serial = await first.publish("c", {"data": "a"})
        version = await first.append("c", serial, "b")
        await first.post("c", {"data": "x"}, {"data": "y"})
        batch = await first.answer()
    async with (
        serving(data) as server,
        raw_client(server, "alice", resume=first.key) as second,
    ):
        assert (second.id, "error" in second.connected) == (first.id, False)
        assert second.key != first.key
        assert await second.publish("c", {"data": "a"}) == serial
        assert await second.append("c", serial, "b") == version
        await second.post("c", {"data": "x"}, {"data": "y"})
        assert (await second.answer())["res"] == batch["res"]
        assert [m["data"] for m in await get(server, "/channels/c/messages")] == ["y", "x", "ab"]
        await second.publish("c", {"data": "new"})
        assert len(await get(server, "/channels/c/messages")) == 4


async def test_a_publish_that_comes_twice_at_once_happens_once(data: Path) -> None:
    # The Python SDK does that after a failed attempt to reconnect.
    async with serving(data) as server, raw_client(server) as client:
        await client.publish("c", {"data": "first"})
        for serial in (1, 2, 3, 1, 2, 3):
            client.next_serial = serial
            await client.post("c", {"data": str(serial)})
        frames = await client.settled()
        assert {frame["action"] for frame in frames} == {Action.ACK}
        assert [m["data"] for m in await get(server, "/channels/c/messages")] == ["3", "2", "1", "first"]


async def test_a_resume_long_after_the_restart_makes_a_new_connection(data: Path, clock: ManualClock) -> None:
    async with serving(data, clock) as server, raw_client(server, "alice") as first:
        await first.publish("c", {"data": "a"})
    async with serving(data, clock) as server:
        clock.advance(server.options.connection_state_ttl_ms)
        async with raw_client(server, "alice", resume=first.key) as late:
            assert late.id != first.id
            assert late.connected["error"]["code"] == 80008


async def test_a_follower_goes_on_after_a_restart(data: Path) -> None:
    async with serving(data) as server, raw_client(server) as publisher, raw_client(server) as follower:
        await follower.attach("c")
        serial = await publisher.publish("c", {"data": "a"})
        [frame] = [f for f in await follower.settled() if f["action"] == Action.MESSAGE]
        await publisher.append("c", serial, "b")
        await publisher.publish("c", {"data": "second"})
    async with serving(data) as server, raw_client(server) as follower:
        attached = await follower.attach("c", channelSerial=frame["channelSerial"])
        assert attached["flags"] & Flag.RESUMED
        missed = await follower.messages()
        assert [(m["action"], m["data"]) for m in missed] == [(1, "ab"), (0, "second")]


async def test_an_empty_channel_can_be_resumed_after_a_restart(data: Path) -> None:
    async with serving(data) as server, raw_client(server) as follower:
        attached = await follower.attach("c")
    async with serving(data) as server, raw_client(server) as follower, raw_client(server) as publisher:
        await publisher.publish("c", {"data": "a"})
        again = await follower.attach("c", channelSerial=attached["channelSerial"])
        assert again["flags"] & Flag.RESUMED
        assert [m["data"] for m in await follower.messages()] == ["a"]


async def test_a_message_id_is_remembered_over_a_restart(data: Path) -> None:
    # RSL1k5
    async with serving(data) as server, raw_client(server) as client:
        serial = await client.publish("c", {"id": "mine:0", "data": "a"})
    async with serving(data) as server, raw_client(server) as client:
        assert await client.publish("c", {"id": "mine:0", "data": "a"}) == serial
        assert len(await get(server, "/channels/c/messages")) == 1


async def test_rolled_up_appends_are_answered_again_after_a_restart(data: Path, clock: ManualClock) -> None:
    async with serving(data, clock) as server, raw_client(server, appendRollupWindow="40") as first:
        serial = await first.publish("c", {"data": "a"})
        for piece in "bcd":
            await first.post("c", {"action": 5, "serial": serial, "data": piece})
        await first.settled()
        clock.advance(40)
        answers = [f for f in await first.settled() if f["action"] == Action.ACK]
        results = [result for answer in answers for result in answer["res"]]
    async with (
        serving(data, clock) as server,
        raw_client(server, resume=first.key, appendRollupWindow="40") as second,
    ):
        assert second.id == first.id
        second.next_serial = 2
        again: list[object] = []
        for piece in "cd":
            await second.post("c", {"action": 5, "serial": serial, "data": piece})
            again += (await second.answer())["res"]
        assert again == results[-2:]
        [message] = await get(server, "/channels/c/messages")
    assert message["data"] == "abcd"


async def test_presence_over_a_restart(data: Path, clock: ManualClock) -> None:
    enter = {"action": Action.PRESENCE, "channel": "c", "msgSerial": 0}
    async with (
        serving(data, clock) as server,
        raw_client(server, "alice") as alice,
        raw_client(server, "bob") as bob,
    ):
        for client in (alice, bob):
            await client.send({**enter, "presence": [{"action": PresenceAction.ENTER, "data": "1"}]})
            await client.answer()
    async with serving(data, clock) as server:
        async with raw_client(server, "alice", resume=alice.key):
            clock.advance(server.options.presence_grace_ms)
            [member] = await get(server, "/channels/c/presence")
            assert (member["clientId"], member["data"]) == ("alice", "1")
        past = await get(server, "/channels/c/presence/history")
    assert [(event["action"], event["clientId"]) for event in past] == [(3, "bob"), (2, "bob"), (2, "alice")]


async def test_steps_are_folded_into_their_messages_in_time(data: Path, clock: ManualClock) -> None:
    async with serving(data, clock) as server, raw_client(server) as client:
        serial = await client.publish("c", {"data": "a"})
        await client.append("c", serial, "b")
        clock.advance(1000)
        await client.append("c", serial, "c")
        kept = server.options.retention_ms + server.options.connection_state_ttl_ms
        clock.advance(kept - 500)
        await client.append("c", serial, "d")
        expected = await get(server, f"/channels/c/messages/{serial}")
    with sqlite3.connect(data) as db:
        steps = db.execute("SELECT count(*) FROM steps").fetchone()
        messages = db.execute("SELECT count(*) FROM messages").fetchone()
    db.close()
    assert (steps, messages) == ((2,), (1,)), "what has just been appended can still be resumed from"
    async with serving(data, clock) as server, raw_client(server) as client:
        assert await get(server, f"/channels/c/messages/{serial}") == expected
        assert expected["data"] == "abcd"
        attached = await client.attach("c", channelSerial=serial.rpartition(":")[0])
        assert attached["error"]["code"] == 90003
        assert not attached["flags"] & Flag.RESUMED


async def test_a_server_on_a_file_can_be_entered_again(data: Path) -> None:
    server = LocalServer(LocalServerOptions(data=data))
    for number in range(3):
        async with server:
            assert len(await get(server, "/channels/c/messages")) == number
            async with raw_client(server) as client:
                await client.publish("c", {"data": str(number)})


def test_only_its_owner_may_read_the_file(data: Path) -> None:
    async def serve() -> None:
        async with serving(data):
            pass

    asyncio.run(serve())
    assert stat.S_IMODE(data.stat().st_mode) == 0o600


async def test_two_servers_cannot_share_a_file(data: Path) -> None:
    async with serving(data):
        with pytest.raises(StorageUnusableError, match="another server has it open"):
            async with serving(data):
                pass


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("PRAGMA user_version = 99; PRAGMA application_id = 1094863961", "version 99"),
        ("CREATE TABLE notes (id)", "another program's"),
        (None, "not a database"),
    ],
)
def test_a_file_that_is_not_ours_is_left_alone(data: Path, content: str | None, reason: str) -> None:
    if content is None:
        data.write_bytes(b"no database at all" * 100)
    else:
        db = sqlite3.connect(data)
        db.executescript(content)
        db.close()
    before = data.read_bytes()

    async def serve() -> None:
        async with serving(data):
            pass

    with pytest.raises(StorageUnusableError, match=reason):
        asyncio.run(serve())
    assert data.read_bytes() == before


async def test_a_file_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(StorageUnusableError, match="No such file"):
        async with serving(tmp_path / "missing" / "data.sqlite"):
            pass


async def test_answers_of_connections_that_nobody_resumes_are_not_read(
    data: Path, clock: ManualClock
) -> None:
    async with serving(data, clock) as server:
        async with raw_client(server) as gone:
            await gone.publish("c", {"data": "x"})
            gone_id = gone.id
        clock.advance(server.options.connection_state_ttl_ms + 1)
        async with raw_client(server) as here:
            await here.publish("c", {"data": "y"})
            here_id = here.id
            server.faults.drop()
    storage = SqliteContent(data, kept_ms=10**9).app()
    storage.open()
    try:
        assert storage.results(gone_id) == {}
        assert list(storage.results(here_id)) == [0]
    finally:
        storage.close()


@pytest.mark.parametrize("name", ["half \ud83d", "nul \0 and ..", "\udcff:x"])
async def test_names_of_any_characters(data: Path, name: str) -> None:
    """Some of them are refused before; the file can hold them all."""

    def published(server: LocalServer) -> list[object]:
        storage = server._engine.storage  # type: ignore[reportPrivateUsage] - no client gets such a name in
        return [message.wire() for message in storage.channel(name).messages()]

    async with serving(data) as server:
        engine = server._engine  # type: ignore[reportPrivateUsage] - no client gets such a name in
        identity = Identity(server.key.partition(":")[0], None, EVERYTHING)
        engine.publish(name, identity, [parse_submission({"name": "n", "data": "a"})])
        before = published(server)
    async with serving(data) as server:
        assert published(server) == before
    assert len(before) == 1


async def test_content_without_a_binary_form_is_refused_alone(data: Path) -> None:
    """A value that got past all checks fails its own publish, not its group, and not the next start."""

    def with_huge(message: Any) -> Submission:  # noqa: ANN401 - JSON
        huge: Any = {"n": 2**64}
        submission = parse_submission(message)
        submission.extras = huge
        return submission

    async with serving(data) as server, raw_client(server) as client:
        serial = await client.publish("c", {"data": "a"})
        engine = server._engine  # type: ignore[reportPrivateUsage] - no client gets such a value in
        identity = Identity(server.key.partition(":")[0], None, EVERYTHING)
        messages: list[Any] = [
            {"data": "x"},
            {"action": 1, "serial": serial, "data": "x"},
            {"action": 5, "serial": serial, "data": "x"},
        ]
        for message in messages:
            with pytest.raises(StorageError, match="no binary form"):
                engine.publish("c", identity, [with_huge(message)])
        await client.append("c", serial, "b")
        before = await readable(server)
    assert [message["data"] for message in before["c"][0]] == ["ab"]
    assert await stored(data) == before


async def test_presence_does_not_stop_the_compaction(data: Path, clock: ManualClock) -> None:
    frame = {"action": Action.PRESENCE, "channel": "c"}
    async with serving(data, clock) as server, raw_client(server, "alice") as client:
        while client.next_serial < MORE_THAN_ONE_COMPACTION:
            event = {"action": PresenceAction.UPDATE, "data": str(client.next_serial)}
            await client.send({**frame, "presence": [event], "msgSerial": client.next_serial})
            client.next_serial += 1
        message = await client.publish("c", {"data": "a"})
        for _ in range(3):
            clock.advance(COMPACTED_AFTER_MS)
            await client.append("c", message, "b")
    with sqlite3.connect(data) as db:
        assert db.execute("SELECT count(*) FROM steps WHERE kind < 2").fetchone() == (1,)
        assert db.execute("SELECT count(*) FROM presence").fetchone() == (MORE_THAN_ONE_COMPACTION,)
    db.close()
    async with serving(data, clock) as server:
        past = await get(server, "/channels/c/presence/history")
        updates = [event["data"] for event in past if event["action"] == PresenceAction.UPDATE]
        assert updates[0] == str(MORE_THAN_ONE_COMPACTION - 1)
