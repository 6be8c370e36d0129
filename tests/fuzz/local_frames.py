"""Targets: frames, and how a connection is opened."""

import tempfile
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote_plus

from hypothesis import strategies as st

from ably_ai_transport.local import LocalServer, LocalServerOptions
from tests.fuzz.asgi import settle, websocket
from tests.fuzz.local_server import (
    KEY,
    Talk,
    ask,
    base_message,
    check_readable,
    followed,
    formats,
    packed,
    query_of,
    read_payload,
    server_of,
    talk,
)
from tests.fuzz.samples import FRAMES, MESSAGES, PRESENCE, recorded_frames
from tests.fuzz.target import BrokenPromiseError, Target
from tests.fuzz.values import Json, changed, changed_bytes, encode, numerals, texts, values
from tests.local.raw_client import WireFormat

_PLACES: Final = ("data", "extras", "name", "clientId", "id", "encoding", "version", "metadata", "headers")


@st.composite
def _publishes(draw: st.DrawFn) -> Json:
    """Draw a publish with anything in a place whose value is stored."""
    is_presence = draw(st.integers(0, 3)) == 0
    message = dict(draw(st.sampled_from(PRESENCE if is_presence else MESSAGES)))
    place, value = draw(st.sampled_from(_PLACES)), draw(values)
    if place == "metadata":
        message["version"] = {"metadata": {"a": value}}
    elif place == "headers":
        message["extras"] = {"headers": value}
    else:
        message[place] = value
    frame: Json = {"action": 14 if is_presence else 15, "channel": "c", "msgSerial": 0}
    return {**frame, "presence" if is_presence else "messages": [message]}


def _frames(most: int = 6) -> st.SearchStrategy[tuple[str, list[Json]]]:
    samples = (*FRAMES, *recorded_frames())
    return st.tuples(formats, st.lists(_publishes() | changed(samples), min_size=1, max_size=most))


async def _take_frames(value: tuple[WireFormat, list[Json]]) -> None:
    async with server_of() as server:
        async with followed(server.app) as followers:
            await talk(server.app, Talk(*value), await base_message(server.app))
        followers.check()
        await check_readable(server.app)


async def _take_frames_durably(value: tuple[WireFormat, list[Json]]) -> None:
    """What was stored before a restart is there after it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "data.db"
        listed: list[bytes] = []
        for is_again in (False, True):
            async with LocalServer(LocalServerOptions(keys=(KEY,), data=file)) as server:
                if not is_again:
                    await talk(server.app, Talk(*value), await base_message(server.app))
                listed.append((await ask(server.app, "GET", "/channels/c/messages")).body)
                await check_readable(server.app)
        if listed[0] != listed[1]:
            raise BrokenPromiseError("a restart changed the history", listed)


async def _take_bytes(value: tuple[WireFormat, list[bytes]]) -> None:
    format_, payloads = value
    async with server_of() as server:
        for payload in payloads:
            async with websocket(server.app, query_of(format_)) as socket:
                socket.send(payload.decode(errors="replace") if format_ == "json" else payload)
                await settle(socket)
            for sent in socket.received:
                read_payload(sent)
        await check_readable(server.app)


def _payloads() -> st.SearchStrategy[tuple[str, list[bytes]]]:
    samples = {
        name: [encode(frame, name) for frame in FRAMES]
        for name in cast("list[WireFormat]", ["json", "msgpack"])
    }
    return formats.flatmap(
        lambda name: st.tuples(
            st.just(name),
            st.lists(changed_bytes(samples[name]) | st.binary(max_size=30), min_size=1, max_size=3),
        )
    )


_PARAMS: Final = (
    "key", "access_token", "accessToken", "clientId", "format", "v", "agent", "heartbeats", "echo", "resume",
    "recover", "appendRollupWindow", "heartbeatInterval", "remainPresentFor", "conn", "timestamp", "x",
)  # fmt: skip
_ATTACH_PARAMS: Final = ("rewind", "rewindLimit", "modes", "appendMode", "delta", "occupancy", "agent", "x")


async def _take_opening(value: tuple[dict[str, str], dict[str, Any], str]) -> None:
    query, params, channel = value
    async with server_of() as server:
        text = "&".join(f"{name}={quote_plus(part, errors='replace')}" for name, part in query.items())
        async with websocket(server.app, b"key=" + KEY.encode() + b"&" + text.encode()) as socket:
            format_: WireFormat = "msgpack" if query.get("format") == "msgpack" else "json"
            socket.send(packed({"action": 10, "channel": channel, "params": params}, format_))
            socket.send(
                packed(
                    {"action": 15, "channel": channel, "msgSerial": 0, "messages": [{"data": "x"}]}, format_
                )
            )
            await settle(socket)
        for payload in socket.received:
            read_payload(payload)
        await check_readable(server.app)


TARGETS: Final = (
    Target("local.frames", _frames(), _take_frames),
    Target("local.bytes", _payloads(), _take_bytes),
    Target("local.restarts", _frames(2), _take_frames_durably),
    Target(
        "local.openings",
        st.tuples(
            st.dictionaries(st.sampled_from(_PARAMS), numerals | texts | st.just("msgpack"), max_size=3),
            st.dictionaries(st.sampled_from(_ATTACH_PARAMS), numerals | texts | values, max_size=3),
            st.sampled_from(("c", "[?rewind=1]c", "[?rewind=" + "9" * 5000 + "]c", "[x]c")) | texts,
        ),
        _take_opening,
    ),
)
