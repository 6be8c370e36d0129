"""The latest frames of a server, and its channels."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from math import isfinite
from typing import Any, Final, TypeAlias, cast

from ably_ai_transport.local import Direction

Json: TypeAlias = dict[str, Any]

KEPT: Final = 500
"""The most frames that a page shows; older ones are dropped."""
KEPT_CHANNELS: Final = 1000
"""The most channels that a page lists; the oldest ones are dropped."""
SHOWN_TEXT: Final = 4000
"""The most characters of a text in a frame that are shown."""
SHOWN_DEPTH: Final = 80
"""The most objects and lists in one another that are shown; publishes that nest deeper are refused."""

_ACTIONS: Final = (
    "HEARTBEAT", "ACK", "NACK", "CONNECT", "CONNECTED", "DISCONNECT", "DISCONNECTED", "CLOSE", "CLOSED",
    "ERROR", "ATTACH", "ATTACHED", "DETACH", "DETACHED", "PRESENCE", "MESSAGE", "SYNC", "AUTH",
)  # fmt: skip
_MESSAGE: Final = 15
_ATTACH: Final = 10


@dataclass
class ChannelInfo:
    """A channel that occurred in frames.

    Attributes:
        name: Its name.
        adapter: The adapter tag of the codec of its sessions.
        messages: Messages published on it.
        is_session: Whether messages of a session were among them.
    """

    name: str
    adapter: str | None = None
    messages: int = 0
    is_session: bool = False

    def to_json(self) -> Json:
        """Return it for the page."""
        return {
            "name": self.name,
            "adapter": self.adapter,
            "messages": self.messages,
            "isSession": self.is_session,
        }


@dataclass
class FrameLog:
    """The last frames, numbered.

    Attributes:
        own: Labels of the inspector's own connections; their frames are not shown.
        frames: The latest frames.
        channels: The channels, by name.
        last: The number of the newest frame.
    """

    own: frozenset[str]
    frames: deque[Json] = field(default_factory=lambda: deque[Json](maxlen=KEPT))
    channels: dict[str, ChannelInfo] = field(default_factory=dict[str, ChannelInfo])
    last: int = 0
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    def take(self, direction: Direction, label: str, frame: Mapping[str, Any]) -> None:
        """Add a frame."""
        if label in self.own:
            return
        action = int(frame.get("action", -1))
        name = frame.get("channel")
        if isinstance(name, str) and name:
            self._note_channel(name, action, direction, frame)
        self.last = next(self._numbers)
        kind = _ACTIONS[action] if 0 <= action < len(_ACTIONS) else str(action)
        self.frames.append(
            {
                "n": self.last,
                "direction": direction,
                "connection": label,
                "kind": kind,
                "channel": name if isinstance(name, str) else None,
                "summary": _summary(frame),
                "frame": _shortened(dict(frame)),
            }
        )

    def since(self, number: int) -> list[Json]:
        """Return the kept frames after a number."""
        return [frame for frame in self.frames if frame["n"] > number]

    def _note_channel(self, name: str, action: int, direction: Direction, frame: Mapping[str, Any]) -> None:
        channel = self.channels.setdefault(name, ChannelInfo(name))
        if len(self.channels) > KEPT_CHANNELS:
            del self.channels[next(iter(self.channels))]
        if action == _ATTACH and direction == "c2s":
            agents = str(_object(frame.get("params")).get("agent", "")).split()
            tags = [agent.partition("/")[0] for agent in agents]
            tags = [tag for tag in tags if not tag.startswith(("ai-transport", "ably"))]
            channel.adapter = tags[-1] if tags else channel.adapter
        if action == _MESSAGE and direction == "c2s":
            messages = _objects(frame.get("messages"))
            channel.messages += len(messages)
            if any(str(message.get("name", "")).startswith("ai-") for message in messages):
                channel.is_session = True


def _summary(frame: Mapping[str, Any]) -> str:
    """Describe a frame in a few words."""
    messages: object = frame.get("messages")
    if not isinstance(messages, list):
        error = frame.get("error")
        return str(cast("Json", error).get("message", "")) if isinstance(error, dict) else ""
    said: list[str] = []
    for message in _objects(cast("object", messages)):
        codec = _object(_object(_object(message.get("extras")).get("ai")).get("codec"))
        words = [str(message.get("name") or "append"), str(codec.get("kind") or "")]
        data = message.get("data")
        if isinstance(data, str) and data:
            words.append(data[:60])
        said.append(" ".join(word for word in words if word))
    return "; ".join(said)[:200]


def _objects(value: object) -> list[Json]:
    """Return the objects of a list; a client may send anything."""
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("Json", item) for item in items if isinstance(item, dict)]


def _object(value: object) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}


def _shortened(value: object, room: int = SHOWN_DEPTH) -> Any:  # noqa: ANN401 - any JSON
    """Cut long texts and deep values, and replace bytes by their number and numbers that JSON lacks."""
    match value:
        case dict() | list() if not room:
            return "…"
        case float() if not isfinite(value):
            return str(value)
        case str() if len(value) > SHOWN_TEXT:
            return f"{value[:SHOWN_TEXT]}… ({len(value):,} characters)"
        case bytes() | bytearray():
            return f"({len(value):,} bytes)"
        case dict():
            entries = cast("dict[object, object]", value).items()
            return {str(key): _shortened(inner, room - 1) for key, inner in entries}
        case list():
            return [_shortened(inner, room - 1) for inner in cast("list[object]", value)]
        case _:
            return value
