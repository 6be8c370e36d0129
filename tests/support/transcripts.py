"""Recorded conversations: what each participant received and sent, frame by frame.

A transcript is a file of JSON lines, one a frame, an HTTP request or the opening and closing of a
connection. The recordings are not part of this repository; where there are none, nothing is replayed.
"""

import base64
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from ably_ai_transport.wire import AITransportError, InboundMessage, MessageAction, OutboundMessage

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = Path(os.environ.get("AIT_SHARED") or ROOT.parent / "shared") / "transcripts"

Json: TypeAlias = dict[str, Any]

RESUMED: Final = 1 << 2


class _Frame(IntEnum):
    ACK = 1
    NACK = 2
    CONNECTED = 4
    ATTACH = 10
    ATTACHED = 11
    MESSAGE = 15


_ACTIONS: Final = (
    MessageAction.CREATE,
    MessageAction.UPDATE,
    MessageAction.DELETE,
    MessageAction.META,
    MessageAction.SUMMARY,
    MessageAction.APPEND,
)


@dataclass(frozen=True, slots=True)
class Connected:
    """The connection stands, anew or again."""

    connection_id: str
    client_id: str | None


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is gone."""


@dataclass(frozen=True, slots=True)
class Attached:
    """The channel is attached, anew or again."""

    channel: str
    channel_serial: str
    resumed: bool
    error: AITransportError | None


@dataclass(frozen=True, slots=True)
class Delivered:
    """Messages that came in one frame."""

    messages: tuple[InboundMessage, ...]


@dataclass(slots=True)
class Published:
    """Messages that were sent in one frame.

    Attributes:
        answer: The serials that the channel gave them, or its refusal; None where no answer was recorded.
    """

    action: MessageAction
    messages: tuple[OutboundMessage, ...]
    answer: tuple[str | None, ...] | AITransportError | None = None


@dataclass(frozen=True, slots=True)
class HistoryFetched:
    """A page of history that came back.

    Attributes:
        first: Whether this is the first page of a walk.
    """

    items: tuple[InboundMessage, ...]
    limit: int
    first: bool
    has_next: bool


Event: TypeAlias = Connected | Closed | Attached | Delivered | Published | HistoryFetched


@dataclass(slots=True)
class Participant:
    """One participant's part in a conversation.

    Attributes:
        name: The name of its connection.
        events: What happened on it, in order.
        adapter: The codec that it spoke, by the name that codecs give themselves.
    """

    name: str
    adapter: str | None = None
    events: list[Event] = field(default_factory=list[Event])

    @property
    def delivered(self) -> list[InboundMessage]:
        """All messages that it received live."""
        return [
            message for event in self.events if isinstance(event, Delivered) for message in event.messages
        ]

    @property
    def published(self) -> list[Published]:
        """All that it sent."""
        return [event for event in self.events if isinstance(event, Published)]

    @property
    def client_id(self) -> str | None:
        """The participant's client ID on the channel."""
        return next((event.client_id for event in self.events if isinstance(event, Connected)), None)

    def walks(self) -> list[list[InboundMessage]]:
        """Return what each walk through history brought, newest first."""
        walks: list[list[InboundMessage]] = []
        for event in self.events:
            if isinstance(event, HistoryFetched):
                if event.first:
                    walks.append([])
                walks[-1].extend(event.items)
        return walks


@dataclass(frozen=True, slots=True)
class Transcript:
    """A recorded conversation.

    Attributes:
        name: The scenario.
        participants: Who took part, by the name of their connection.
        expected: What participants showed in the end, by name: ``{"messages": […], "runs": […]}``.
    """

    name: str
    participants: Mapping[str, Participant]
    expected: Mapping[str, Json]


def scenarios(prefix: str = "") -> list[str]:
    """Return the names of all recorded conversations that begin with a prefix; none where there are none."""
    return sorted(path.name.removesuffix(".jsonl") for path in FOLDER.glob(f"{prefix}*.jsonl"))


def load(name: str) -> Transcript:
    """Read a recorded conversation.

    Raises:
        FileNotFoundError: There is no such recording here.
    """
    reader = _Reader()
    with (FOLDER / f"{name}.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            reader.take(cast("Json", json.loads(line)))
    return Transcript(name, reader.participants, load_expected(name))


def load_expected(name: str) -> dict[str, Json]:
    """Read what the participants of a recorded conversation showed, by name."""
    file = FOLDER / f"{name}.expect.json"
    expected = cast("Json", json.loads(file.read_text("utf-8"))) if file.exists() else {}
    expected.pop("channel", None)
    return expected


class _Reader:
    """Sorts lines by participant and finds the answer to each publish."""

    def __init__(self) -> None:
        self.participants: dict[str, Participant] = {}
        self._unanswered: dict[str, dict[int, Published]] = {}
        self._connection_ids: dict[str, str] = {}

    def take(self, line: Json) -> None:
        name = line["conn"]
        participant = self.participants.setdefault(name, Participant(name))
        if "http" in line:
            participant.events.extend(_history(line["http"]))
        elif line.get("event") == "closed":
            participant.events.append(Closed())
        elif "frame" in line:
            frame = line["frame"]
            if line["dir"] == "s2c":
                self._take_received(participant, frame)
            elif frame["action"] == _Frame.MESSAGE:
                self._take_sent(participant, frame)
            elif frame["action"] == _Frame.ATTACH:
                params = cast("Json", frame.get("params") or {})
                names = [agent.partition("/")[0] for agent in str(params.get("agent", "")).split()]
                participant.adapter = names[-1] if names else None

    def _take_received(self, participant: Participant, frame: Json) -> None:
        match frame["action"]:
            case _Frame.CONNECTED:
                self._take_connected(participant, frame)
            case _Frame.ATTACHED:
                error = _error(frame["error"]) if frame.get("error") else None
                resumed = bool(frame.get("flags", 0) & RESUMED)
                participant.events.append(Attached(frame["channel"], frame["channelSerial"], resumed, error))
            case _Frame.MESSAGE:
                messages = tuple(
                    _inbound(message, frame, index) for index, message in enumerate(frame["messages"])
                )
                participant.events.append(Delivered(messages))
            case _Frame.ACK | _Frame.NACK:
                self._take_answer(participant, frame)
            case _:
                pass

    def _take_connected(self, participant: Participant, frame: Json) -> None:
        connection_id = frame["connectionId"]
        client_id = frame["connectionDetails"].get("clientId")
        if self._connection_ids.get(participant.name) != connection_id:
            self._connection_ids[participant.name] = connection_id
            self._unanswered[participant.name] = {}
        participant.events.append(Connected(connection_id, client_id))

    def _take_sent(self, participant: Participant, frame: Json) -> None:
        waiting = self._unanswered[participant.name]
        if frame["msgSerial"] in waiting:
            return  # sent again after a reconnect
        action = _ACTIONS[frame["messages"][0].get("action") or 0]
        published = Published(action, tuple(_outbound(message) for message in frame["messages"]))
        waiting[frame["msgSerial"]] = published
        participant.events.append(published)

    def _take_answer(self, participant: Participant, frame: Json) -> None:
        waiting = self._unanswered[participant.name]
        first = frame["msgSerial"]
        for offset in range(frame["count"]):
            published = waiting.get(first + offset)
            if published is None:
                continue  # presence has an answer, too
            if frame["action"] == _Frame.NACK:
                published.answer = _error(frame["error"])
            else:
                published.answer = tuple(frame["res"][offset]["serials"])


def _history(http: Json) -> Iterator[HistoryFetched]:
    if http["method"] != "GET" or not http["path"].endswith(("/messages", "/history")):
        return
    if http["status"] != 200:
        return
    query = http["query"]
    items = tuple(_inbound(message) for message in http["response"])
    yield HistoryFetched(items, int(query.get("limit", 100)), "cursor" not in query, "next" in http["links"])


def _error(error: Json) -> AITransportError:
    return AITransportError(error["message"], error["code"], error.get("statusCode"))


def _inbound(message: Json, frame: Mapping[str, Any] | None = None, index: int = 0) -> InboundMessage:
    around: Mapping[str, Any] = frame or {}
    serial = message.get("serial")
    version: Json = message.get("version") or {}
    identity = message.get("id") or (f"{around['id']}:{index}" if around.get("id") else None)
    return InboundMessage(
        action=_ACTIONS[message.get("action") or 0],
        name=message.get("name"),
        data=_data(message.get("data"), message.get("encoding")),
        serial=serial,
        version=version.get("serial") or serial,
        timestamp=message.get("timestamp", around.get("timestamp")),
        client_id=message.get("clientId"),
        connection_id=message.get("connectionId", around.get("connectionId")),
        id=identity,
        extras=message.get("extras"),
    )


def _outbound(message: Json) -> OutboundMessage:
    return OutboundMessage(
        name=message.get("name"),
        data=_data(message.get("data"), message.get("encoding")),
        extras=message.get("extras") or {},
        serial=message.get("serial"),
    )


def _data(data: object, encoding: str | None) -> object:
    """Undo the encodings of a payload, last one first."""
    value = cast("Any", data)
    if isinstance(data, dict) and "$b64" in data:
        value = base64.b64decode(cast("Json", data)["$b64"])
    for step in reversed(encoding.split("/") if encoding else ()):
        match step:
            case "json":
                value = json.loads(value)
            case "base64":
                value = base64.b64decode(value)
            case "utf-8":
                value = value.decode("utf-8") if isinstance(value, bytes) else value
            case _:
                raise ValueError(f"no such encoding: {encoding}")
    return value
