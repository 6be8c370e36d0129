"""Values that JSON and msgpack can both carry are stored as they are; others are refused, and nothing is."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import httpx
import msgpack
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ably_ai_transport.local import LocalServer, LocalServerOptions
from ably_ai_transport.local.protocol.frames import Action, PresenceAction
from ably_ai_transport.local.protocol.values import MAX_DEPTH
from tests.local.raw_client import RawClient, WireFormat, pack, raw_client, unpack

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from tests.local.raw_client import Frame

EXAMPLES = int(os.environ.get("AIT_FUZZ", "15"))
TIME_LIMIT = 60
_msgpack = cast("Any", msgpack)


def nested(depth: int) -> Any:  # noqa: ANN401 - lists in lists
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


def packed(value: object) -> bytes:
    """Return msgpack of any value, half surrogate pairs included."""
    return _msgpack.packb(value, unicode_errors="surrogatepass")


async def send(client: RawClient, frame: Frame) -> None:
    await client.socket.send(json.dumps(frame) if client.format == "json" else packed(frame))


async def publish(client: RawClient, message: Frame, channel: str = "c") -> Frame:
    """Publish any message and return the ACK or NACK."""
    frame = {"action": 15, "channel": channel, "msgSerial": client.next_serial, "messages": [message]}
    client.next_serial += 1
    await send(client, frame)
    answer = await client.answer()
    assert answer["msgSerial"] == frame["msgSerial"]
    return answer


def rest_of(server: LocalServer) -> httpx.AsyncClient:
    name, _, secret = server.key.partition(":")
    return httpx.AsyncClient(base_url=server.url, auth=(name, secret), trust_env=False)


async def stored_in(rest: httpx.AsyncClient, path: str = "c/messages") -> list[Any]:
    """Return what is stored; it is the same in both formats."""
    found: list[Any] = []
    for format_ in ("json", "msgpack"):
        params = {"direction": "forwards", "limit": "1000", "format": format_}
        response = await rest.get(f"/channels/{path}", params=params)
        assert response.status_code == 200, response.text
        found.append(json.loads(response.content) if format_ == "json" else unpack(response.content))
    assert found[0] == found[1]
    return found[0]


UNFIT = [
    pytest.param(float("nan"), id="NaN"),
    pytest.param(float("inf"), id="infinity"),
    pytest.param([[{"a": -float("inf")}]], id="infinity, nested"),
    pytest.param(nested(MAX_DEPTH + 1), id="just too deep"),
    pytest.param(nested(900), id="deep"),
]
UNFIT_IN_MSGPACK = [
    pytest.param({"a": b"\xff"}, id="binary"),
    pytest.param({1: "x"}, id="a number as key"),
    pytest.param({None: "x"}, id="null as key"),
    pytest.param({b"a": "x"}, id="binary as key"),
    pytest.param({"a": {b"a": "x"}}, id="binary as key, nested"),
    pytest.param({"a": _msgpack.ExtType(5, b"x")}, id="extension"),
    pytest.param([_msgpack.Timestamp(1, 2)], id="timestamp"),
]


@pytest.mark.parametrize("value", UNFIT)
async def test_values_that_a_format_lacks_are_refused(
    server: LocalServer, rest: httpx.AsyncClient, wire_format: WireFormat, value: object
) -> None:
    await refused_everywhere(server, rest, wire_format, value)


@pytest.mark.parametrize("value", UNFIT_IN_MSGPACK)
async def test_values_that_json_lacks_are_refused(
    server: LocalServer, rest: httpx.AsyncClient, value: object
) -> None:
    await refused_everywhere(server, rest, "msgpack", value)


async def refused_everywhere(
    server: LocalServer, rest: httpx.AsyncClient, format_: WireFormat, value: object
) -> None:
    async with raw_client(server, "alice", format_=format_) as client:
        serial = await client.publish("c", {"data": "before"})
        version = {"metadata": {"value": value}}
        for message in (
            {"data": "x", "extras": value},
            {"data": "x", "extras": {"headers": {"n": value}}},
            {"data": {"n": value}},
            {"action": 1, "serial": serial, "data": "x", "version": version},
            {"action": 5, "serial": serial, "data": "x", "extras": {"n": value}},
        ):
            answer = await publish(client, message)
            assert (answer["action"], answer["error"]["code"]) == (Action.NACK, 40000)
        for event in ({"data": {"n": value}}, {"extras": value}):
            frame = {
                "action": Action.PRESENCE,
                "channel": "c",
                "msgSerial": client.next_serial,
                "presence": [{"action": PresenceAction.ENTER, **event}],
            }
            client.next_serial += 1
            await send(client, frame)
            answer = await client.answer()
            assert (answer["action"], answer["error"]["code"]) == (Action.NACK, 40000)
        # The connection lives, and so do the messages of other frames.
        await client.publish("c", {"data": "after"})
    body = json.dumps if format_ == "json" else packed
    headers = {"Content-Type": f"application/{'json' if format_ == 'json' else 'x-msgpack'}"}
    message = {"data": "x", "extras": {"n": value}}
    for path, content, code in (
        ("/channels/c/messages", message, 40000),
        ("/messages", {"channels": ["c"], "messages": [message]}, 40020),
    ):
        response = await rest.post(path, content=body(content), headers=headers)
        assert (response.status_code, response.json()["error"]["code"]) == (400, code)
    assert [message["data"] for message in await stored_in(rest)] == ["before", "after"]
    assert await stored_in(rest, "c/presence/history") == []


@pytest.mark.parametrize("depth", [100, 500, 1000, 20_000])
async def test_a_frame_that_nests_deep_is_answered(
    server: LocalServer, rest: httpx.AsyncClient, wire_format: WireFormat, depth: int
) -> None:
    """Whatever its decoder can do: with a NACK, and nothing else is lost."""
    async with raw_client(server, format_=wire_format) as client:
        if wire_format == "json":
            deep = '{"a":' * depth + "1" + "}" * depth
            frame: str | bytes = (
                '{"action":15,"channel":"c","messages":[{"data":"a ]}\\"[{ b"},{"extras":'
                + deep
                + '}],"msgSerial":0}'
            )
        else:
            deep = b"\x81\xa1a" * depth + b"\x01"
            message = b"\x82\xa4data\xa1x\xa6extras" + deep
            frame = b"\x84\xa6action\x0f\xa7channel\xa1c\xa8messages\x92" + pack({"data": "a"}) + message
            frame += b"\xa9msgSerial\x00"
        await client.socket.send(frame)
        client.next_serial = 1
        await client.post("c", {"data": "after"})
        first, second = await client.answer(), await client.answer()
    assert (first["action"], first["msgSerial"], first["error"]["code"]) == (Action.NACK, 0, 40000)
    assert (second["action"], second["msgSerial"]) == (Action.ACK, 1)
    assert [message["data"] for message in await stored_in(rest)] == ["after"]


@pytest.mark.parametrize("number", [10**20, 2**64, -(2**63) - 1, 10**300])
async def test_numbers_beyond_64_bits_become_floats(
    server: LocalServer, rest: httpx.AsyncClient, number: int
) -> None:
    """JavaScript writes 1e20 as 100000000000000000000."""
    async with raw_client(server, "alice") as client, raw_client(server, format_="msgpack") as subscriber:
        await subscriber.attach("c")
        serial = await client.publish("c", {"data": "x", "extras": {"headers": {"n": number}}})
        await client.publish(
            "c", {"action": 1, "serial": serial, "data": "y", "version": {"metadata": {"n": number}}}
        )
        created, updated = await subscriber.messages()
    assert created["extras"] == {"headers": {"n": float(number)}}
    assert updated["version"]["metadata"] == {"n": float(number)}
    (stored,) = await stored_in(rest)
    assert stored["extras"] == {"headers": {"n": float(number)}}


@pytest.mark.parametrize("digits", [400, 5000])
async def test_numbers_that_no_float_holds_are_refused(
    server: LocalServer, rest: httpx.AsyncClient, digits: int
) -> None:
    async with raw_client(server) as client:
        await client.socket.send(
            '{"action":15,"channel":"c","msgSerial":0,"messages":[{"extras":' + "9" * digits + "}]}"
        )
        assert (await client.answer())["error"]["code"] == 40000
        client.next_serial = 1
        await client.publish("c", {"data": "after"})
    assert len(await stored_in(rest)) == 1


async def test_half_a_surrogate_pair_is_stored_as_javascript_writes_it(
    server: LocalServer, rest: httpx.AsyncClient, wire_format: WireFormat
) -> None:
    half, whole = "a\ud83db", "a\ufffdb"
    message = {"id": half, "name": half, "clientId": half, "data": half, "extras": {half: [half, "😀"]}}
    async with raw_client(server, format_=wire_format) as client:
        await publish(client, message)
    (stored,) = await stored_in(rest)
    assert {key: stored[key] for key in message} == {
        **dict.fromkeys(("id", "name", "clientId", "data"), whole),
        "extras": {whole: [whole, "😀"]},
    }


async def test_a_long_encoding_is_refused(server: LocalServer) -> None:
    async with raw_client(server) as client:
        assert (await client.refused("c", {"data": "x", "encoding": "e/" * 1000}))["code"] == 40000
        await client.publish("c", {"data": "x", "encoding": "json/utf-8/cipher+aes-256-cbc/base64"[:28]})


async def test_a_poisoned_update_does_not_end_a_data_file(tmp_path: Path) -> None:
    options = LocalServerOptions(data=tmp_path / "data.sqlite")
    async with LocalServer(options) as server, rest_of(server) as rest:
        async with raw_client(server) as client:
            serial = await client.publish("c", {"data": "x"})
            version = {"metadata": {"n": 10**25}}
            await client.publish("c", {"action": 1, "serial": serial, "data": "y", "version": version})
        before = await stored_in(rest)
        await server.restart()
        assert await stored_in(rest) == before
        assert before[0]["version"]["metadata"] == {"n": 1e25}


# Any value

_texts = st.text(st.characters(), max_size=8) | st.sampled_from(["\ud83d", "\ude00", "a" * 300, ""])
_numbers = (
    st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**400, 0, -0.0, 1e308])
)
_leaves = st.none() | st.booleans() | _numbers | _texts
_json_values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=6),
    max_leaves=10,
)
_msgpack_leaves = (
    _leaves.filter(lambda value: not isinstance(value, int) or -(2**63) <= value < 2**64)
    | st.binary(max_size=5)
    | st.builds(_msgpack.ExtType, st.integers(0, 5), st.binary(max_size=3))
    | st.builds(_msgpack.Timestamp, st.integers(0, 2**32))
)
_msgpack_keys = _texts | st.integers(-5, 2**64 - 1) | st.binary(max_size=3) | st.none()
_msgpack_values = st.recursive(
    _msgpack_leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_msgpack_keys, inner, max_size=6),
    max_leaves=10,
)


def carried(value: Any) -> Any:  # noqa: ANN401 - any value
    """Return a value as it must be read back."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {carried(key): carried(item) for key, item in items}
    if isinstance(value, list):
        return [carried(item) for item in cast("list[Any]", value)]
    is_large = isinstance(value, int) and not -(2**63) <= value < 2**64
    return float(value) if is_large else value


async def read_back(rest: httpx.AsyncClient, channel: str) -> AsyncGenerator[Any]:
    """Read a value in every place where it was stored."""
    for message in await stored_in(rest, f"{channel}/messages"):
        yield message["extras"]["value"]
        if message.get("encoding") == "json":
            yield json.loads(message["data"])
        for version in await stored_in(rest, f"{channel}/messages/{message['serial']}/versions"):
            if "metadata" in version["version"]:
                yield version["version"]["metadata"]["value"]
    for event in await stored_in(rest, f"{channel}/presence/history"):
        yield event["extras"]["value"]


async def send_everywhere(client: RawClient, channel: str, value: Any) -> list[Frame]:  # noqa: ANN401
    """Send a value in every place where it would be stored; returns the answers."""
    extras = {"value": value}
    is_object = isinstance(value, (dict, list))
    data: Any = cast("Any", value) if is_object else "x"
    answers = [await publish(client, {"extras": extras, "data": data}, channel)]
    if answers[0]["action"] == Action.ACK:
        change = {"action": 1, "serial": answers[0]["res"][0]["serials"][0], "version": {"metadata": extras}}
        answers.append(await publish(client, change, channel))
    event = {"action": PresenceAction.ENTER, "extras": extras}
    msg_serial = client.next_serial
    client.next_serial += 1
    await send(client, {"action": 14, "channel": channel, "msgSerial": msg_serial, "presence": [event]})
    return [*answers, await client.answer()]


async def exchange(values: list[Any], format_: WireFormat, data: Path) -> None:
    accepted: dict[str, Any] = {}
    async with LocalServer(LocalServerOptions(data=data)) as server, rest_of(server) as rest:
        async with (
            raw_client(server, "alice", format_=format_) as client,
            raw_client(server) as in_json,
            raw_client(server, format_="msgpack") as in_msgpack,
        ):
            for number, value in enumerate(values):
                channel = f"c{number}"
                for subscriber in (in_json, in_msgpack):
                    await subscriber.attach(channel)
                answers = await send_everywhere(client, channel, value)
                delivered = await in_json.settled()
                assert delivered == await in_msgpack.settled()
                if answers[0]["action"] == Action.NACK:
                    assert {answer["error"]["code"] for answer in answers} == {40000}
                    assert delivered == []
                else:
                    assert {answer["action"] for answer in answers} == {Action.ACK}
                    assert delivered[0]["messages"][0]["extras"] == {"value": carried(value)}
                    assert delivered[2]["presence"][0]["extras"] == {"value": carried(value)}
                    accepted[channel] = carried(value)
        for _ in range(2):
            for number in range(len(values)):
                channel = f"c{number}"
                found = [item async for item in read_back(rest, channel)]
                assert bool(found) == (channel in accepted)
                assert all(item == accepted[channel] for item in found)
            await server.restart()


def _run(values: list[Any], format_: WireFormat) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(asyncio.wait_for(exchange(values, format_, Path(folder) / "data.sqlite"), 40))


fuzz: Callable[..., Any] = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@fuzz
@given(st.lists(_json_values, min_size=1, max_size=8))
@example([{"n": 1e20, "m": [10**20]}, ["\ud83d", {"\ude00": "\ud83d\ude00"}], float("nan")])
def test_any_value_in_json_is_read_back_or_refused(values: list[Any]) -> None:
    _run(values, "json")


@fuzz
@given(st.lists(_msgpack_values, min_size=1, max_size=8))
@example([{"a": 2**64 - 1, "b": [-(2**63)]}, {1: 2}, b"x"])
def test_any_value_in_msgpack_is_read_back_or_refused(values: list[Any]) -> None:
    _run(values, "msgpack")
