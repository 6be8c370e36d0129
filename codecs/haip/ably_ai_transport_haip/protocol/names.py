"""Names: event types, channels, and the two dialects for text messages."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, Literal, TypeAlias

PROTOCOL_VERSION: Final = "1.1.2"
PROTOCOL_MAJOR: Final = 1

Dialect: TypeAlias = Literal["text", "plain"]
"""The names of text messages: ``TEXT_MESSAGE_START`` (``text``) or ``MESSAGE_START`` (``plain``)."""


class HaipEventType(StrEnum):
    """The type of a message. Text messages have their short names; the wire may have the long ones."""

    HAI = "HAI"
    PING = "PING"
    PONG = "PONG"
    RUN_STARTED = "RUN_STARTED"
    RUN_FINISHED = "RUN_FINISHED"
    RUN_CANCEL = "RUN_CANCEL"
    RUN_ERROR = "RUN_ERROR"
    MESSAGE_START = "MESSAGE_START"
    MESSAGE_PART = "MESSAGE_PART"
    MESSAGE_END = "MESSAGE_END"
    AUDIO_CHUNK = "AUDIO_CHUNK"
    TOOL_CALL = "TOOL_CALL"
    TOOL_UPDATE = "TOOL_UPDATE"
    TOOL_DONE = "TOOL_DONE"
    TOOL_CANCEL = "TOOL_CANCEL"
    TOOL_LIST = "TOOL_LIST"
    TOOL_SCHEMA = "TOOL_SCHEMA"
    FLOW_UPDATE = "FLOW_UPDATE"
    PAUSE_CHANNEL = "PAUSE_CHANNEL"
    RESUME_CHANNEL = "RESUME_CHANNEL"
    REPLAY_REQUEST = "REPLAY_REQUEST"
    ERROR = "ERROR"


class HaipChannel(StrEnum):
    """The standard channels. Peers may use other names."""

    USER = "USER"
    AGENT = "AGENT"
    SYSTEM = "SYSTEM"
    AUDIO_IN = "AUDIO_IN"
    AUDIO_OUT = "AUDIO_OUT"


CONTROL: Final = frozenset(
    {
        HaipEventType.HAI,
        HaipEventType.PING,
        HaipEventType.PONG,
        HaipEventType.ERROR,
        HaipEventType.FLOW_UPDATE,
        HaipEventType.PAUSE_CHANNEL,
        HaipEventType.RESUME_CHANNEL,
        HaipEventType.REPLAY_REQUEST,
    }
)
"""Events that cost no credits, so that a peer without credits can request some and answer pings."""

_TEXT: Final = frozenset({HaipEventType.MESSAGE_START, HaipEventType.MESSAGE_PART, HaipEventType.MESSAGE_END})
_NAMED: Final = {
    **{event.value: event for event in HaipEventType},
    **{f"TEXT_{event}": event for event in sorted(_TEXT)},
}


def wire_name(event: HaipEventType, dialect: Dialect = "text") -> str:
    """Return the name of an event on the wire.

    Args:
        event: The event.
        dialect: The dialect of the peer.

    Returns:
        The name.

    Example:
        >>> wire_name(HaipEventType.MESSAGE_PART)
        'TEXT_MESSAGE_PART'
    """
    return f"TEXT_{event}" if dialect == "text" and event in _TEXT else event.value


def event_named(name: str) -> HaipEventType | None:
    """Return the event with a name of either dialect.

    Args:
        name: The name on the wire.

    Returns:
        The event; None for an unknown name.

    Example:
        >>> event_named("TEXT_MESSAGE_PART") is event_named("MESSAGE_PART")
        True
    """
    return _NAMED.get(name)


def dialect_of(accept_events: Iterable[str]) -> Dialect:
    """Return the dialect of a peer.

    Args:
        accept_events: The event names in its handshake.

    Returns:
        ``plain`` if it accepts only the short names, else ``text``.
    """
    names = set(accept_events)
    return "plain" if "MESSAGE_START" in names and "TEXT_MESSAGE_START" not in names else "text"


def accepted_names(dialect: Dialect = "text") -> list[str]:
    """Return the names of all events in a dialect, as a handshake lists them.

    Args:
        dialect: The dialect.

    Returns:
        The names.
    """
    return [wire_name(event, dialect) for event in HaipEventType]
