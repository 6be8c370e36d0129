"""Whatever comes from outside is taken or refused by name; a failure inside is an answer and a log record."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import httpx
import pytest

from ably_ai_transport.local import LocalServer
from ably_ai_transport.local.protocol import parse
from ably_ai_transport.local.protocol.frames import Action
from ably_ai_transport.local.protocol.refusals import RefusedError
from ably_ai_transport.local.storage.memory import MemoryStorage
from tests.local.apps import provision
from tests.local.raw_client import pack, raw_client

if TYPE_CHECKING:
    from ably_ai_transport.local.storage.contract import ChannelStorage, ConnectionRecord
    from tests.local.manual_clock import ManualClock

HUGE = "9" * 5000
HALF = "\ud83d"


def _shown(value: object) -> str:
    return str(value)[:40].encode("ascii", "replace").decode()


NOT_NUMBERS = [HUGE, "-1", "x", "1.5", "1e3", "0x10", "1_000", " 1", "\u0661", "9" * 17]


# The functions


@pytest.mark.parametrize("value", [0, 5, 10, 5.0])
def test_a_whole_number_within_its_bounds(value: float) -> None:
    assert parse.integer(value, "n", 0, 10) == value


@pytest.mark.parametrize(
    "value",
    [
        -1,
        11,
        5.5,
        True,
        False,
        None,
        "5",
        [],
        {},
        b"5",
        float("nan"),
        float("inf"),
        pytest.param(10**5000, id="huge"),
    ],
)
def test_what_is_no_such_number_is_named(value: object) -> None:
    with pytest.raises(RefusedError, match=r"^n must be a whole number from 0 to 10, not ") as caught:
        parse.integer(value, "n", 0, 10)
    assert caught.value.code == 40000
    assert len(caught.value.message) < 120


@pytest.mark.parametrize("text", [*NOT_NUMBERS, "", "-", "+1", "11"], ids=_shown)
def test_what_is_no_such_number_in_a_query_is_named(text: str) -> None:
    with pytest.raises(RefusedError, match=r"^n must be a whole number from 0 to 10, not ") as caught:
        parse.integer_of(text, "n", 0, 10)
    assert len(caught.value.message) < 120
    assert caught.value.message.isascii() or "…" in caught.value.message


@pytest.mark.parametrize("value", [5, None, b"a", ["a"], HALF, f"a{HALF}b", "a" * 11], ids=_shown)
def test_what_is_no_such_text_is_named(value: object) -> None:
    with pytest.raises(RefusedError, match=r"^t must ") as caught:
        parse.text(value, "t", 10)
    assert caught.value.message.encode()


# Connecting


@pytest.mark.parametrize("name", ["appendRollupWindow", "remainPresentFor", "heartbeatInterval"])
@pytest.mark.parametrize("value", NOT_NUMBERS, ids=_shown)
async def test_a_number_of_a_connection_is_one(server: LocalServer, name: str, value: str) -> None:
    async with raw_client(server, **cast("Any", {name: value})) as client:
        assert client.connected["action"] == Action.ERROR
        assert client.connected["error"]["code"] == 40000
        assert client.connected["error"]["message"].startswith(name)
        assert await client.closed() == 1000
    async with raw_client(server) as client:
        assert client.connected["action"] == Action.CONNECTED
    assert server.stats.connections == 0


@pytest.mark.parametrize("params", [{"echo": "maybe"}, {"format": "xml"}])
async def test_a_choice_of_a_connection_is_one_of_its_words(
    server: LocalServer, params: dict[str, str]
) -> None:
    async with raw_client(server, **cast("Any", params)) as client:
        assert client.connected["error"]["code"] == 40000


async def test_a_refused_query_leaves_no_connection_behind(
    timed_server: LocalServer, clock: ManualClock
) -> None:
    """Nothing can be resumed, and no timer is left."""
    for _ in range(5):
        async with raw_client(timed_server, "alice", remainPresentFor=HUGE) as client:
            assert client.connected["action"] == Action.ERROR
    timed_server.faults.drop("alice")
    async with raw_client(timed_server, "alice") as client:
        assert client.connected["action"] == Action.CONNECTED


# Frames


WRONG_FRAMES: list[object] = [
    {"action": []},
    {"action": {}},
    {"action": True},
    {"action": "15"},
    {"action": 1.5},
    {"action": 10**30},
    {"action": 10, "channel": "c", "flags": -1},
    {"action": 10, "channel": "c", "flags": 1e300},
    {"action": 10, "channel": "c", "flags": True},
    {"action": 15, "channel": "c", "msgSerial": -1, "messages": [{}]},
    {"action": 15, "channel": "c", "msgSerial": 2**53, "messages": [{}]},
    {"action": 15, "channel": "c", "msgSerial": True, "messages": [{}]},
    {"action": 15, "channel": "c", "messages": [{}]},
    {"action": 15, "channel": ["c"], "msgSerial": 0, "messages": [{}]},
    {"action": 0, "id": ["x"]},
    [],
    5,
    None,
]


@pytest.mark.parametrize("frame", WRONG_FRAMES, ids=lambda frame: json.dumps(frame)[:40])
async def test_a_frame_of_wrong_types_fails_its_connection(server: LocalServer, frame: object) -> None:
    async with raw_client(server) as client:
        await client.socket.send(json.dumps(frame))
        assert (await client.until(Action.ERROR))["error"]["code"] == 40000
        assert await client.closed() == 1000


async def test_a_number_of_thousands_of_digits_in_a_frame_fails_its_connection(server: LocalServer) -> None:
    for field in ("action", "flags", "msgSerial"):
        async with raw_client(server) as client:
            await client.socket.send(f'{{"action":15,"{field}":{HUGE}}}')
            assert (await client.until(Action.ERROR))["error"]["code"] == 40000


@pytest.mark.parametrize("action", [[], {}, "5", True, 1.5, -1, 10**20, 3, 4, 6])
async def test_a_message_with_an_action_that_is_none_is_refused(server: LocalServer, action: object) -> None:
    async with raw_client(server) as client:
        assert (await client.refused("c", {"action": action, "data": "x"}))["code"] == 40000
        await client.publish("c", {"data": "x"})


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"action": []}, 40000),
        ({"action": {}}, 40000),
        ({"action": True}, 40000),
        ({}, 40000),
        ({"action": 2, "clientId": 5}, 40012),
        ({"action": 2, "clientId": ["alice"]}, 40012),
        ({"action": 2, "clientId": HALF}, 40012),
    ],
    ids=_shown,
)
async def test_a_presence_message_of_wrong_types_is_refused(
    server: LocalServer, event: dict[str, Any], code: int
) -> None:
    async with raw_client(server, "alice") as client:
        await client.send({"action": 14, "channel": "c", "msgSerial": 0, "presence": [event]})
        assert (await client.answer())["error"]["code"] == code
        await client.send({"action": 14, "channel": "c", "msgSerial": 1, "presence": [{"action": 2}]})
        assert (await client.answer())["action"] == Action.ACK


async def test_whole_numbers_may_be_written_as_floats(server: LocalServer) -> None:
    """msgpack libraries of languages without integers write them so."""
    async with raw_client(server, format_="msgpack") as client:
        frame = {"action": 15.0, "channel": "c", "msgSerial": 0.0, "messages": [{"action": 0.0, "data": "x"}]}
        await client.socket.send(pack(frame))
        answer = await client.answer()
    assert (answer["action"], answer["msgSerial"]) == (Action.ACK, 0)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"rewind": HUGE}, 40003),
        ({"rewind": f"{HUGE}s"}, 40003),
        ({"rewind": "\u0661"}, 40003),
        ({"rewind": "-1"}, 40003),
        ({"rewind": -1}, 40000),
        ({"rewind": []}, 40000),
        ({"rewind": None}, 40000),
        ({"rewind": True}, 40000),
        ({"rewind": HALF}, 40000),
        ({"rewind": "2m", "rewindLimit": HUGE}, 40003),
        ({"rewind": "2m", "rewindLimit": "0"}, 40003),
        ({"modes": ["publish"]}, 40000),
        ({"modes": "everything"}, 40000),
        ({"occupancy": "all"}, 40000),
        ({"occupancy": "metrics.nobody"}, 40000),
    ],
    ids=_shown,
)
async def test_params_of_an_attach_that_make_no_sense_fail_the_channel(
    server: LocalServer, params: dict[str, Any], code: int
) -> None:
    async with raw_client(server) as client:
        await client.send({"action": Action.ATTACH, "channel": "c", "params": params})
        refused = await client.until(Action.ERROR)
        assert (refused["channel"], refused["error"]["code"]) == ("c", code)
        await client.attach("c")


@pytest.mark.parametrize("name", [HALF, f"[?rewind=1]{HALF}", "c" * 2049, ":c", "a\nb"], ids=_shown)
async def test_a_channel_name_that_is_none_fails_the_channel(server: LocalServer, name: str) -> None:
    async with raw_client(server) as client:
        await client.send({"action": Action.ATTACH, "channel": name})
        refused = await client.until(Action.ERROR)
        assert (refused["channel"], refused["error"]["code"]) == (name, 40010)
        assert (await client.refused(name, {"data": "x"}))["code"] == 40010
        await client.attach("c")


async def test_a_rewind_by_time_may_be_limited(server: LocalServer) -> None:
    async with raw_client(server) as client:
        for number in range(5):
            await client.publish("c", {"data": str(number)})
        attached = await client.attach("c", params={"rewind": "2m", "rewindLimit": "2"})
        assert attached["params"] == {"rewind": "2m", "rewindLimit": "2"}
        assert [message["data"] for message in await client.messages()] == ["3", "4"]


# REST


@pytest.mark.parametrize("name", ["limit", "start", "end", "cursor"])
@pytest.mark.parametrize("value", NOT_NUMBERS, ids=_shown)
async def test_a_number_of_a_request_is_one(rest: httpx.AsyncClient, name: str, value: str) -> None:
    for path in ("/channels/c/messages", "/channels/c/presence", "/channels", "/channels/c/presence/history"):
        if (name in ("start", "end")) is not path.endswith(("messages", "history")) and name != "limit":
            continue  # histories take serials as cursors, lists take no times
        response = await rest.get(path, params={name: value})
        assert (response.status_code, response.json()["error"]["code"]) == (400, 40003), path
        assert response.json()["error"]["message"].startswith(f"Invalid parameter: {name} ")


@pytest.mark.parametrize("version", [HUGE, "x", "-1", "", ".5"], ids=_shown)
async def test_a_version_of_the_protocol_is_a_number(rest: httpx.AsyncClient, version: str) -> None:
    body = {"channels": ["c"], "messages": {"data": "x"}}
    response = await rest.post("/messages", json=body, headers={"X-Ably-Version": version})
    assert (response.status_code, response.json()["error"]["code"]) == (400, 40000)
    assert "X-Ably-Version" in response.json()["error"]["message"]


@pytest.mark.parametrize("action", [[], {}, "5", True, 10**20])
async def test_a_message_over_rest_with_an_action_that_is_none(
    rest: httpx.AsyncClient, action: object
) -> None:
    for method, path in (("POST", "/channels/c/messages"), ("PATCH", "/channels/c/messages/x")):
        response = await rest.request(method, path, json={"action": action, "data": "x"})
        assert (response.status_code, response.json()["error"]["code"]) == (400, 40000)


async def test_a_number_of_thousands_of_digits_in_a_body_is_refused(
    rest: httpx.AsyncClient, server: LocalServer
) -> None:
    name = server.key.partition(":")[0]
    for path, field in (
        (f"/keys/{name}/requestToken", "ttl"),
        ("/channels/c/messages", "data"),
        ("/messages", "channels"),
    ):
        response = await rest.post(path, content=f'{{"{field}":{HUGE}}}')
        assert response.status_code == 400
        assert response.json()["error"]["code"] in (40000, 40003, 40013)


async def test_a_request_that_ends_before_its_body_is_no_failure(
    server: LocalServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        _, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(
            f"POST /channels/c/messages?key={quote(server.key)} HTTP/1.1\r\nHost: a\r\n"
            "Content-Length: 50\r\n\r\n[".encode()
        )
        await writer.drain()
        async with raw_client(server) as client:
            await client.publish("c", {"data": "x"})
            writer.close()
            await writer.wait_closed()
            await client.publish("c", {"data": "x"})
    assert caplog.records == []


# Failures inside


class _Broken(MemoryStorage):
    """A storage with a defect: it does not report it as a `StorageError`."""

    def channel(self, name: str) -> ChannelStorage:
        if name == "broken":
            raise ZeroDivisionError("a defect")
        return super().channel(name)


async def test_a_failure_inside_is_an_answer_and_a_log_record(caplog: pytest.LogCaptureFixture) -> None:
    before = asyncio.all_tasks()
    async with LocalServer(storage=_Broken()) as server:
        async with raw_client(server, "bystander") as bystander:
            await bystander.attach("c")
            for frame in (
                {"action": Action.ATTACH, "channel": "broken"},
                {"action": Action.MESSAGE, "channel": "broken", "msgSerial": 0, "messages": [{"data": "x"}]},
            ):
                caplog.clear()
                async with raw_client(server, "alice") as client:
                    await client.send(frame)
                    error = (await client.until(Action.ERROR))["error"]
                    assert (error["code"], error["statusCode"]) == (50000, 500)
                    assert "defect" not in error["message"]
                    assert await client.closed() == 1000
                [record] = caplog.records
                assert record.name == "ably_ai_transport.local"
                assert record.exc_info is not None
                assert isinstance(record.exc_info[1], ZeroDivisionError)
            caplog.clear()
            async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
                key = {"key": server.key}
                response = await http.post("/channels/broken/messages", params=key, json={"data": "x"})
                assert (response.status_code, response.json()["error"]["code"]) == (500, 50000)
                assert len(caplog.records) == 1
                assert (await http.get("/time")).status_code == 200
            await bystander.publish("c", {"data": "x"})
            assert server.stats.connections == 1
        assert server.stats.refusals[50000] == 1
    assert asyncio.all_tasks() == before


class _Forgetful(MemoryStorage):
    def __init__(self) -> None:
        super().__init__()
        self.known: set[str] = set()

    def save_connection(self, record: ConnectionRecord) -> None:
        self.known.add(record.id)
        raise ZeroDivisionError("a defect")

    def forget_connection(self, id_: str) -> None:
        self.known.remove(id_)


async def test_a_failure_while_connecting_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    storage = _Forgetful()
    async with LocalServer(storage=storage) as server:
        async with raw_client(server, "alice") as client:
            assert client.connected["error"]["code"] == 50000
            assert await client.closed() == 1000
        assert storage.known == set()
        server.faults.drop("alice")
    assert len(caplog.records) == 1


# Apps


async def test_only_what_a_browser_asks_for_first_makes_an_app() -> None:
    async with provision({}) as app:
        for kind in (
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "",
        ):
            response = await app.client.post("/apps", content=b"{}", headers={"Content-Type": kind})
            assert (response.status_code, response.json()["error"]["code"]) == (415, 40000)
        headers = {"Content-Type": "application/json; charset=utf-8"}
        assert (await app.client.post("/apps", content=b"{}", headers=headers)).status_code == 201
