"""Messages: as a client submits them, as the server stores them, and their versions on the wire."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from ably_ai_transport.local.protocol.formats import canonical_data
from ably_ai_transport.local.protocol.frames import MessageAction, Value, WireMessage, WireVersion
from ably_ai_transport.local.protocol.parse import integer
from ably_ai_transport.local.protocol.refusals import bad_request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ably_ai_transport.local.protocol.frames import Data

_CREATE: Final = int(MessageAction.CREATE)
_UPDATE: Final = int(MessageAction.UPDATE)
_DELETE: Final = int(MessageAction.DELETE)
_APPEND: Final = int(MessageAction.APPEND)
_ACCEPTED: Final = frozenset({_CREATE, _UPDATE, _DELETE, _APPEND})


@dataclass(slots=True)
class Submission:
    """One message of a publish, checked, with binary data as bytes."""

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

    @property
    def size(self) -> int:
        """Bytes of name, clientId, data and extras (Ably specification TM6)."""
        size = _length(self.data) + _length(self.name) + _length(self.client_id)
        if self.extras is not None:
            size += len(json.dumps(self.extras, separators=(",", ":"), default=str))
        return size

    @property
    def is_ephemeral(self) -> bool:
        """Whether the message is delivered but not stored."""
        return isinstance(self.extras, dict) and self.extras.get("ephemeral") is True


def parse_submission(message: Value) -> Submission:
    """Parse a message of a MESSAGE frame or of a REST body.

    Raises:
        RefusedError: 40000 (shape, action) or 40013 (data).
    """
    if not isinstance(message, dict):
        raise bad_request("a message must be an object")
    action = message.get("action")
    action = _CREATE if action is None else integer(action, "the action of a message", 0)
    if action not in _ACCEPTED:
        raise bad_request(f"a message with action {action} cannot be published")
    data, encoding = canonical_data(message.get("data"), message.get("encoding"))
    submission = Submission(
        action,
        _text(message, "serial"),
        _text(message, "id"),
        _text(message, "name"),
        _text(message, "clientId"),
        data,
        encoding,
        message.get("extras"),
        connection_key=_text(message, "connectionKey"),
    )
    operation = message.get("version")
    if isinstance(operation, dict) and action != _CREATE:
        # The operation names the client that makes the change; the outer clientId may be the author's.
        submission.client_id = _text(operation, "clientId") or submission.client_id
        submission.description = _text(operation, "description")
        metadata = operation.get("metadata")
        submission.metadata = metadata if isinstance(metadata, dict) else None
    return submission


def _length(value: Data) -> int:
    if value is None:
        return 0
    return len(value) if isinstance(value, bytes) else len(value.encode(errors="replace"))


def _text(fields: dict[str, Value], name: str) -> str | None:
    value = fields.get(name)
    if value is None or isinstance(value, str):
        return value
    raise bad_request(f"{name} of a message must be a string")


class StoredMessage:
    """A message with its latest version and the earlier ones.

    Appended data is kept in parts and joined when it is read, so the cost of an append does not depend on the
    length of the message.
    """

    __slots__ = (
        "_appending",
        "_parts",
        "action",
        "channel_serial",
        "client_id",
        "connection_id",
        "encoding",
        "extras",
        "id",
        "name",
        "past",
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
        self.past: list[WireMessage] = []
        self._parts: list[Data] = [submission.data]
        self._appending = False

    @property
    def data(self) -> Data:
        """The whole data of the latest version."""
        parts = self._parts
        if len(parts) > 1:
            if isinstance(parts[0], str):
                parts[:] = ["".join(cast("list[str]", parts))]
            else:
                parts[:] = [b"".join(cast("list[bytes]", parts))]
        return parts[0]

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
            self.past,
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
            Submission(_CREATE, None, None, name, None, data, encoding, extras),
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
        self.past = past
        self._appending = appending

    def check(self, submission: Submission) -> None:
        """Check that a mutation fits.

        Raises:
            RefusedError: 40000, it appends text to binary data or binary data to text.
        """
        if submission.action != _APPEND:
            return
        data, base = submission.data, self._parts[0]
        if data is not None and base is not None and type(data) is not type(base):
            raise bad_request("data appended to a message must be of the same type as the data it has")

    def apply(self, submission: Submission, version: WireVersion) -> None:
        """Make the next version; fields that the mutation leaves out stay as they are."""
        is_append = submission.action == _APPEND
        if not (is_append and self._appending):
            self.past.append(self.wire())
        if submission.name is not None:
            self.name = submission.name
        if submission.extras is not None:
            self.extras = submission.extras
        if submission.data is not None:
            if is_append and self._parts[0] is not None:
                self._parts.append(submission.data)
            else:
                self._parts = [submission.data]
                self.encoding = submission.encoding
        self.action = _DELETE if submission.action == _DELETE else _UPDATE
        self.version = version
        self._appending = is_append

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

    def versions(self) -> list[WireMessage]:
        """Return every version, oldest first; appends in a row count as one."""
        return [*self.past, self.wire()]

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
