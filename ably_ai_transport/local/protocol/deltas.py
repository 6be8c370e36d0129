"""Deltas: messages as their difference from the one before (Ably specification RTL18 to RTL20)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ably_ai_transport.local.protocol import vcdiff
from ably_ai_transport.local.protocol.frames import MessageAction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ably_ai_transport.local.protocol.frames import WireMessage

_CREATE: Final = int(MessageAction.CREATE)
_HELD_BY_BASE: Final = 200


class Base:
    """The message that a client decodes the next delta against; attachments share it.

    Attributes:
        id: The id of the message.
        content: Its data as the client keeps it: text in UTF-8, binary decoded from base64.
    """

    __slots__ = ("_holders", "content", "id")

    def __init__(self, id_: str, content: bytes) -> None:
        self.id = id_
        self.content = content
        self._holders = 0

    def hold(self) -> int:
        """Hold it for one more attachment; returns the bytes of memory to count: only the first holder's."""
        self._holders += 1
        return self._held if self._holders == 1 else 0

    def release(self) -> int:
        """Hold it for one attachment less; returns the bytes of memory to give back."""
        self._holders -= 1
        return 0 if self._holders else self._held

    @property
    def _held(self) -> int:
        return len(self.content) + len(self.id) + _HELD_BY_BASE


def base_of(message: WireMessage) -> Base | None:
    """Return what the next message can be a delta of; None if clients keep nothing to decode it against.

    That is so for a message without data, which the Python SDK does not decode against, for a change of an
    earlier message, and for data in an encoding that clients resolve before they keep it.
    """
    data = message.get("data")
    if not data or message.get("action") != _CREATE:
        return None
    steps = (message.get("encoding") or "").split("/")
    if "vcdiff" in steps or steps[-1] == "base64":
        return None
    return Base(message.get("id", ""), _content(data))


def as_deltas(messages: Sequence[WireMessage], base: Base | None) -> list[WireMessage]:
    """Return the messages of a frame, each as a delta of the one before it where that is smaller.

    Args:
        messages: Messages in full that are created with one publish.
        base: What the first one can be a delta of.
    """
    sent: list[WireMessage] = []
    for message in messages:
        sent.append(message if base is None else _as_delta(message, base))
        base = base_of(message)
    return sent


def _as_delta(message: WireMessage, base: Base) -> WireMessage:
    data, extras = message.get("data"), message.get("extras")
    if not data or not (extras is None or isinstance(extras, dict)):
        return message
    content = _content(data)
    delta = vcdiff.encode(base.content, content)
    if len(delta) >= len(content):
        return message
    steps = [message.get("encoding"), "utf-8" if isinstance(data, str) else None, "vcdiff"]
    return {
        **message,
        "data": delta,
        "encoding": "/".join(step for step in steps if step),
        "extras": {**(extras or {}), "delta": {"from": base.id, "format": "vcdiff"}},
    }


def _content(data: str | bytes) -> bytes:
    return data.encode(errors="replace") if isinstance(data, str) else data
