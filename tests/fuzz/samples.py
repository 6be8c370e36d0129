"""Valid samples: our own, and frames of recorded conversations where there are recordings."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from ably_ai_transport.wire import InboundMessage
from tests.support.transcripts import FOLDER, Json, load, scenarios

_MOST: Final = 300

MESSAGES: Final[tuple[Json, ...]] = (
    {"data": "text"},
    {"name": "n", "data": "text", "clientId": "me", "id": "abc:0", "extras": {"headers": {"a": "b"}}},
    {"data": '{"a":1}', "encoding": "json"},
    {"data": "AAEC", "encoding": "base64"},
    {"data": {"a": [1, 2.5, None]}, "extras": {"ephemeral": True}},
    {"data": b"\x00\xff", "encoding": "utf-8/cipher+aes-256-cbc"},
    {
        "action": 5,
        "serial": "SERIAL",
        "data": " more",
        "extras": {"ai": {"transport": {"status": "complete"}}},
    },
    {
        "action": 1,
        "serial": "SERIAL",
        "data": "other",
        "version": {"description": "why", "metadata": {"a": "b"}},
    },
    {"action": 2, "serial": "SERIAL", "version": {"clientId": "me"}},
)
"""Messages of a publish. ``SERIAL`` stands for the serial of a message that the channel has."""

PRESENCE: Final[tuple[Json, ...]] = (
    {"action": 2, "clientId": "me", "data": "here"},
    {"action": 4, "clientId": "me", "data": '{"a":1}', "encoding": "json", "extras": {"a": 1}},
    {"action": 3, "clientId": "me"},
    {"action": 2, "clientId": "you", "data": b"\x00"},
)

FRAMES: Final[tuple[Json, ...]] = (
    {"action": 0, "id": "ping"},
    {"action": 5},
    {"action": 7},
    {"action": 10, "channel": "c"},
    {
        "action": 10,
        "channel": "c",
        "flags": 3080192,
        "params": {"rewind": "10", "modes": "subscribe,publish"},
    },
    {"action": 10, "channel": "[?rewind=2m]c", "channelSerial": "01795209205749-000@kJ7VAZk5Dg"},
    {"action": 10, "channel": "c", "params": {"rewind": "5s", "appendMode": "full", "occupancy": "metrics"}},
    {"action": 10, "channel": "c", "params": {"delta": "vcdiff", "rewindLimit": "3"}},
    {"action": 12, "channel": "c"},
    {"action": 14, "channel": "c", "msgSerial": 0, "presence": list(PRESENCE[:1])},
    {"action": 14, "channel": "c", "msgSerial": 0, "presence": list(PRESENCE)},
    {"action": 16, "channel": "c", "channelSerial": "x:"},
    {"action": 17, "auth": {"accessToken": "a.b.c"}},
    {"action": 19, "channel": "c", "msgSerial": 0, "state": [{}]},
    {"action": 21, "channel": "c", "msgSerial": 0, "annotations": [{"type": "t"}]},
    *({"action": 15, "channel": "c", "msgSerial": 0, "messages": [message]} for message in MESSAGES),
    {"action": 15, "channel": "c", "msgSerial": 0, "messages": [{"id": "x:0"}, {"id": "x:1", "data": "b"}]},
)
"""Frames of a client."""


@cache
def recorded_frames() -> tuple[Json, ...]:
    """Return frames that clients sent in recorded conversations; none where there are no recordings."""
    return tuple(_thinned(list(_client_frames())))


@cache
def recorded_messages(adapter: str) -> tuple[tuple[InboundMessage, ...], ...]:
    """Return what participants received in recorded conversations over one codec."""
    parts = [
        tuple(participant.delivered)
        for name in scenarios("ait-")
        for participant in load(name).participants.values()
        if participant.adapter == adapter and participant.delivered
    ]
    return tuple(sorted(parts, key=len))[:40]


def _client_frames() -> Iterator[Json]:
    for name in scenarios("a"):
        with (FOLDER / f"{name}.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                entry: Any = json.loads(line)
                if entry.get("dir") == "c2s" and "frame" in entry:
                    yield (
                        {**entry["frame"], "channel": "c"} if "channel" in entry["frame"] else entry["frame"]
                    )


def _thinned(frames: list[Json]) -> list[Json]:
    return frames[:: max(1, len(frames) // _MOST)]
