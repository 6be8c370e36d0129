"""Messages: as a client submits them, as the server stores them, and their versions on the wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from ably_ai_transport.local.protocol.formats import canonical_data, json_size
from ably_ai_transport.local.protocol.frames import MessageAction, Value, WireMessage, WireVersion
from ably_ai_transport.local.protocol.parse import integer
from ably_ai_transport.local.protocol.refusals import bad_request, too_large_to_deliver
from ably_ai_transport.local.protocol.values import (
    carried,
    carried_text,
    size_of,
    size_of_text,
    weighed,
    weight_of,
    weight_of_text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ably_ai_transport.local.protocol.frames import Data

_CREATE: Final = int(MessageAction.CREATE)
_UPDATE: Final = int(MessageAction.UPDATE)
_DELETE: Final = int(MessageAction.DELETE)
_APPEND: Final = int(MessageAction.APPEND)
_ACCEPTED: Final = frozenset({_CREATE, _UPDATE, _DELETE, _APPEND})

# Bytes of memory, measured with CPython 3.11, of objects without their content.
HELD_BY_MESSAGE: Final = 1000
_HELD_BY_VERSION: Final = 900
_HELD_BY_PART: Final = 50
_MOST_PARTS: Final = 1000
"""Parts of a message that are kept apart until it is read."""


@dataclass(slots=True)
class Submission:
    """One message of a publish, checked, with binary data as bytes.

    Attributes:
        held_by_extras: Bytes of memory that its extras take.
    """

    action: int
    serial: str | None
    id: str | None
    name: str | None
    client_id: str | None
    data: Data
    encoding: str | None
    extras: Value
    description: str | None = None
    metadata: dict[str, Value] | None = None
    connection_key: str | None = field(default=None, repr=False)
    held_by_extras: int = 0

    @property
    def held(self) -> int:
        """Bytes of memory that its values take."""
        held = self.held_by_extras + size_of_text(self.data)
        for text in (self.name, self.client_id, self.id):
            if text is not None:
                held += weight_of_text(text)
        return held if self.action == _CREATE else held + self.held_by_version

    @property
    def held_by_version(self) -> int:
        """Bytes of memory that the description and the metadata of a change take."""
        return weight_of_text(self.description) + weight_of(self.metadata)

    @property
    def size(self) -> int:
        """Bytes that limits count.

        Name, clientId, data and extras count (Ably specification TM6), and what else is stored of what a
        client sends: the id, and the description and the metadata of a change.
        """
        texts = (self.data, self.name, self.client_id, self.id, self.description)
        return sum(map(size_of_text, texts)) + size_of(self.extras) + size_of(self.metadata)

    @property
    def is_ephemeral(self) -> bool:
        """Whether the message is delivered but not stored."""
        return isinstance(self.extras, dict) and self.extras.get("ephemeral") is True


def parse_submission(message: Value) -> Submission:
    """Parse a message of a MESSAGE frame or of a REST body.

    Raises:
        RefusedError: 40000 (shape, action, a value that JSON or msgpack cannot carry) or 40013 (data).
    """
    if not isinstance(message, dict):
        raise bad_request("a message must be an object")
    action = message.get("action")
    action = _CREATE if action is None else integer(action, "the action of a message", 0)
    if action not in _ACCEPTED:
        raise bad_request(f"a message with action {action} cannot be published")
    data, encoding = canonical_data(message.get("data"), message.get("encoding"))
    extras, held_by_extras = weighed(message.get("extras"), "extras")
    submission = Submission(
        action,
        _text(message, "serial"),
        _text(message, "id"),
        _text(message, "name"),
        _text(message, "clientId"),
        data,
        encoding,
        extras,
        connection_key=_text(message, "connectionKey"),
        held_by_extras=held_by_extras,
    )
    operation = message.get("version")
    if isinstance(operation, dict) and action != _CREATE:
        # The operation names the client that makes the change; the outer clientId may be the author's.
        submission.client_id = _text(operation, "clientId") or submission.client_id
        submission.description = _text(operation, "description")
        metadata = carried(operation.get("metadata"), "metadata of a version")
        submission.metadata = metadata if isinstance(metadata, dict) else None
    return submission


def _text(fields: dict[str, Value], name: str) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, str):
        return carried_text(value)
    raise bad_request(f"{name} of a message must be a string")


class _Version(NamedTuple):
    """A version of a message: its fields, and its data apart."""

    fields: WireMessage
    content: bytes | None
    is_text: bool
    encoding: str | None

    def wire(self) -> WireMessage:
        """Return the version in the form for clients."""
        message = self.fields.copy()
        if self.content is not None:
            message["data"] = self.content.decode() if self.is_text else self.content
            if self.encoding is not None:
                message["encoding"] = self.encoding
        return message


class Snapshot(NamedTuple):
    """The latest version of a message before a mutation, and what it took."""

    action: int
    version: WireVersion
    name: str | None
    extras: Value
    encoding: str | None
    appending: bool
    past: int
    parts: list[bytes]
    has_data: bool
    is_text: bool
    separate: int
    delivered_size: int
    content_held: int
    extras_held: int
    version_held: int
    held: int


class StoredMessage:
    """A message with its latest version and the earlier ones.

    Appended data is kept in parts and joined when it is read, so the cost of an append does not depend on the
    length of the message. Text is kept as UTF-8: a Python string takes up to four bytes a character.

    Attributes:
        held: Bytes of memory that it takes.
        counted: How many of them its storage has counted.
    """

    __slots__ = (
        "_appending",
        "_content_held",
        "_delivered_size",
        "_extras_held",
        "_has_data",
        "_is_full",
        "_is_text",
        "_parts",
        "_past",
        "_separate",
        "_version_held",
        "action",
        "channel_serial",
        "client_id",
        "connection_id",
        "counted",
        "encoding",
        "extras",
        "held",
        "id",
        "name",
        "serial",
        "timestamp",
        "version",
    )

    def __init__(
        self,
        submission: Submission,
        *,
        serial: str,
        channel_serial: str,
        id_: str,
        client_id: str | None,
        connection_id: str | None,
        timestamp: int,
        held: int | None = None,
    ) -> None:
        self.serial = serial
        self.channel_serial = channel_serial
        self.id = id_
        self.name = submission.name
        self.client_id = client_id
        self.connection_id = connection_id
        self.timestamp = timestamp
        self.extras = submission.extras
        self.encoding = submission.encoding
        self.action = _CREATE
        self.version: WireVersion = {"serial": serial, "timestamp": timestamp}
        if client_id is not None:
            self.version["clientId"] = client_id
        self._past: list[_Version] = []
        self._appending = False
        self._is_full = False
        self._put(submission.data)
        self._extras_held = submission.held_by_extras
        self._version_held = 0
        self.held = HELD_BY_MESSAGE + submission.held if held is None else held
        self.counted = 0

    @property
    def data(self) -> Data:
        """The whole data of the latest version."""
        content = self._content()
        return content if content is None or not self._is_text else content.decode()

    def dump(self) -> list[object]:
        """Return all fields of the message, for `load`."""
        return [
            self.serial,
            self.channel_serial,
            self.id,
            self.name,
            self.client_id,
            self.connection_id,
            self.timestamp,
            self.extras,
            self.encoding,
            self.action,
            self.version,
            [version.wire() for version in self._past],
            self.data,
            self._appending,
        ]

    @classmethod
    def load(cls, fields: Sequence[Any]) -> StoredMessage:
        """Return the message from its dumped fields."""
        (
            serial,
            channel_serial,
            id_,
            name,
            client_id,
            connection_id,
            timestamp,
            extras,
            encoding,
            action,
            version,
            past,
            data,
            appending,
        ) = fields
        message = cls(
            Submission(
                _CREATE, None, None, name, None, data, encoding, extras, held_by_extras=weight_of(extras)
            ),
            serial=serial,
            channel_serial=channel_serial,
            id_=id_,
            client_id=client_id,
            connection_id=connection_id,
            timestamp=timestamp,
        )
        message.resume(action, version, past, appending=appending)
        return message

    def resume(self, action: int, version: WireVersion, past: list[WireMessage], *, appending: bool) -> None:
        """Restore a version."""
        self.action = action
        self.version = version
        self._past = [_version(earlier) for earlier in past]
        self._appending = appending
        self._version_held = weight_of(version.get("metadata"))
        self.held += self._version_held
        for earlier in past:
            data, extras = earlier.get("data"), earlier.get("extras")
            self.held += _HELD_BY_VERSION + size_of_text(data) + weight_of(extras)

    def check(self, submission: Submission) -> None:
        """Check that a mutation fits.

        Raises:
            RefusedError: 40000, it appends text to binary data or binary data to text.
        """
        if submission.action != _APPEND:
            return
        data = submission.data
        if data is not None and self._has_data and isinstance(data, str) != self._is_text:
            raise bad_request("data appended to a message must be of the same type as the data it has")

    def check_growth(self, submission: Submission, limit: int) -> None:
        """Check that the message can still be delivered as a whole after an append.

        Args:
            submission: The mutation.
            limit: Bytes that the data may take in a JSON frame.

        Raises:
            RefusedError: 40009, it would be too large. Later appends of data are refused as well, even
                smaller ones: the text would have a gap.
        """
        if submission.action != _APPEND or not submission.data:
            return
        size = self._delivered_size + json_size(submission.data)
        if size > limit or self._is_full:
            self._is_full = True
            raise too_large_to_deliver(size, limit)

    def growth(self, submission: Submission) -> int:
        """Return the bytes of memory that a mutation adds."""
        data = submission.data
        is_append = submission.action == _APPEND
        grown = submission.held
        if is_append and data is not None:
            grown += _HELD_BY_PART
        if is_append and self._appending:
            # Appends in a row are one version: each replaces the fields of the one before.
            grown -= self._version_held
            if submission.extras is not None:
                grown -= self._extras_held
            if self._separate == _MOST_PARTS:
                grown -= _MOST_PARTS * _HELD_BY_PART
            return grown
        grown += _HELD_BY_VERSION - self._separate * _HELD_BY_PART
        if is_append and data is not None:
            grown += self._content_held  # the earlier version keeps its data; the new one has it and more
        return grown

    def apply(self, submission: Submission, version: WireVersion) -> None:
        """Make the next version; fields that the mutation leaves out stay as they are."""
        is_append = submission.action == _APPEND
        self.held += self.growth(submission)
        if not (is_append and self._appending):
            self._past.append(self._current(self.action))
            self._separate = 0
        if submission.name is not None:
            self.name = submission.name
        if submission.extras is not None:
            self.extras = submission.extras
            self._extras_held = submission.held_by_extras
        self._version_held = submission.held_by_version
        if submission.data is not None:
            if is_append and self._has_data:
                self._append(submission.data)
            else:
                self._put(submission.data)
                self._is_full = False
                self.encoding = submission.encoding
        self.action = _DELETE if submission.action == _DELETE else _UPDATE
        self.version = version
        self._appending = is_append

    def snapshot(self) -> Snapshot:
        """Return the latest version, for `restore`."""
        return Snapshot(
            self.action,
            self.version,
            self.name,
            self.extras,
            self.encoding,
            self._appending,
            len(self._past),
            self._parts,
            self._has_data,
            self._is_text,
            self._separate,
            self._delivered_size,
            self._content_held,
            self._extras_held,
            self._version_held,
            self.held,
        )

    def restore(self, before: Snapshot) -> None:
        """Undo the latest mutation."""
        self.action, self.version, self.name = before.action, before.version, before.name
        self.extras, self.encoding = before.extras, before.encoding
        self._appending, self._separate = before.appending, before.separate
        del self._past[before.past :]
        if self._content_held != before.content_held and self._parts is before.parts:
            # It appended to the same parts, which may have been joined since.
            self._parts[:] = [b"".join(self._parts)[: before.content_held]]
        self._parts, self._has_data, self._is_text = before.parts, before.has_data, before.is_text
        self._delivered_size, self._content_held = before.delivered_size, before.content_held
        self._extras_held, self._version_held = before.extras_held, before.version_held
        self.held = before.held

    def wire(self) -> WireMessage:
        """Return the latest version in full; after an append, it is a `message.update`."""
        message = self._head(self.action)
        data = self.data
        if data is not None:
            message["data"] = data
            if self.encoding is not None:
                message["encoding"] = self.encoding
        return message

    def delta(self, submission: Submission) -> WireMessage:
        """Return the append that made the latest version: its data and the other fields of the message."""
        message = self._head(_APPEND)
        if submission.data is not None:
            message["data"] = submission.data
            encoding = submission.encoding or self.encoding
            if encoding is not None:
                message["encoding"] = encoding
        return message

    def _put(self, data: Data) -> None:
        self._has_data = data is not None
        self._is_text = isinstance(data, str)
        self._parts: list[bytes] = [] if data is None else [_bytes_of(data)]
        self._content_held = sum(map(len, self._parts))
        self._delivered_size = json_size(data)
        self._separate = 0

    def _append(self, data: str | bytes) -> None:
        if self._separate == _MOST_PARTS:
            self._content()
            self._separate = 0
        content = _bytes_of(data)
        self._parts.append(content)
        self._content_held += len(content)
        self._delivered_size += json_size(data)
        self._separate += 1

    def _content(self) -> bytes | None:
        parts = self._parts
        if len(parts) > 1:
            parts[:] = [b"".join(parts)]
        return parts[0] if parts else None

    def _current(self, action: int) -> _Version:
        return _Version(self._head(action), self._content(), self._is_text, self.encoding)

    def versions(self) -> list[WireMessage]:
        """Return every version, oldest first; appends in a row count as one."""
        return [*(version.wire() for version in self._past), self.wire()]

    def _head(self, action: int) -> WireMessage:
        message: WireMessage = {"id": self.id, "action": action, "serial": self.serial}
        if self.name is not None:
            message["name"] = self.name
        if self.client_id is not None:
            message["clientId"] = self.client_id
        if self.connection_id is not None:
            message["connectionId"] = self.connection_id
        message["timestamp"] = self.timestamp
        if self.extras is not None:
            message["extras"] = self.extras
        message["version"] = self.version
        return message


def _version(message: WireMessage) -> _Version:
    """Return a version from its form for clients."""
    fields = message.copy()
    data = fields.pop("data", None)
    encoding = fields.pop("encoding", None)
    return _Version(fields, None if data is None else _bytes_of(data), isinstance(data, str), encoding)


def _bytes_of(data: str | bytes) -> bytes:
    return data.encode(errors="replace") if isinstance(data, str) else data
