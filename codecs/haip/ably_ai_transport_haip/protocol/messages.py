"""Messages: nested for people, one flat JSON object on the wire."""

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from ably_ai_transport_haip.protocol.errors import HaipErrorCode, HaipProtocolError
from ably_ai_transport_haip.protocol.names import Dialect, HaipEventType, event_named, wire_name

_CHANNEL: Final = re.compile(r"[A-Za-z0-9_\-]{1,128}")
_UUID: Final = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-5][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}"
)
_NUMBER: Final = re.compile(r"[0-9]{1,20}")
_LONGEST_THREAD: Final = 128
_KNOWN: Final = frozenset(
    {
        "id", "session", "seq", "ack", "ts", "channel", "type", "payload", "pv", "crit", "bin_len",
        "bin_mime", "run_id", "thread_id",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HaipEnvelope:
    """What a message says besides its payload. A session fills in what is left out.

    Attributes:
        session_id: The session, a UUID.
        run_id: The run that it belongs to, a UUID.
        thread_id: The conversation.
        channel: Where it goes, such as a :class:`HaipChannel`.
        sequence: Its number among what its sender has sent, as decimal digits.
        timestamp: When it was sent: milliseconds since 1970, as decimal digits.
        ack: The number of the other side's newest message that has arrived.
    """

    session_id: str | None = None
    run_id: str | None = None
    thread_id: str | None = None
    channel: str | None = None
    sequence: str | None = None
    timestamp: str | None = None
    ack: str | None = None


@dataclass(frozen=True, slots=True)
class HaipMessage:
    """One message.

    Attributes:
        type: What it is about.
        payload: What it says; the fields depend on the type.
        envelope: Where it belongs.
        id: Its own UUID.
        pv: The major version of the protocol that it was made with.
        crit: Whether a field that is not known must be refused.
        bin_len: The bytes of the binary frame that follows it.
        bin_mime: What these bytes are.
        binary: These bytes, once they are there.

    Example:
        >>> HaipMessage(HaipEventType.PING, {"nonce": "1"}).type.value
        'PING'
    """

    type: HaipEventType
    payload: Mapping[str, object]
    envelope: HaipEnvelope = field(default_factory=HaipEnvelope)
    id: str | None = None
    pv: int | None = None
    crit: bool | None = None
    bin_len: int | None = None
    bin_mime: str | None = None
    binary: bytes | None = None

    def to_wire(self, dialect: Dialect = "text") -> dict[str, object]:
        """Return the flat object that goes on the wire.

        Args:
            dialect: How the peer names text messages.

        Returns:
            The object, without what is not set.
        """
        flat = {
            "id": self.id,
            "session": self.envelope.session_id,
            "seq": self.envelope.sequence,
            "ack": self.envelope.ack,
            "ts": self.envelope.timestamp,
            "channel": self.envelope.channel,
            "type": wire_name(self.type, dialect),
            "payload": dict(self.payload),
            "pv": self.pv,
            "crit": self.crit,
            "bin_len": self.bin_len,
            "bin_mime": self.bin_mime,
            "run_id": self.envelope.run_id,
            "thread_id": self.envelope.thread_id,
        }
        return {key: value for key, value in flat.items() if value is not None}

    @classmethod
    def from_wire(cls, flat: object) -> "HaipMessage":
        """Read a flat object.

        Args:
            flat: What came, parsed.

        Returns:
            The message; its payload is not looked at.

        Raises:
            HaipProtocolError: It is no message (INVALID_MESSAGE), or of a type that nobody knows, or has a
                field that must be understood and is not (UNSUPPORTED_TYPE).
        """
        if not isinstance(flat, dict):
            raise HaipProtocolError(
                "unable to read message; it is no JSON object", HaipErrorCode.INVALID_MESSAGE
            )
        said = cast("dict[str, object]", flat)
        name = _text(said, "type", required=True)
        event = event_named(name or "")
        if event is None:
            raise HaipProtocolError(
                f"unable to read message; there is no event '{name}'",
                HaipErrorCode.UNSUPPORTED_TYPE,
                {"type": name},
            )
        payload = said.get("payload")
        if not isinstance(payload, dict):
            raise _invalid("payload", "an object")
        crit = said.get("crit")
        if crit is True and not said.keys() <= _KNOWN:
            unknown = min(said.keys() - _KNOWN)
            raise HaipProtocolError(
                f"unable to read message; field '{unknown}' is not known, and the message is critical",
                HaipErrorCode.UNSUPPORTED_TYPE,
            )
        channel = _text(said, "channel", required=True)
        if channel is not None and not _CHANNEL.fullmatch(channel):
            raise _invalid("channel", "1 to 128 letters, digits, hyphens and underscores")
        return cls(
            event,
            cast("dict[str, object]", payload),
            HaipEnvelope(
                session_id=_text(said, "session"),
                run_id=_text(said, "run_id"),
                thread_id=_text(said, "thread_id"),
                channel=channel,
                sequence=_text(said, "seq"),
                timestamp=_text(said, "ts"),
                ack=_text(said, "ack"),
            ),
            id=_text(said, "id"),
            pv=_number(said, "pv"),
            crit=crit if isinstance(crit, bool) else None,
            bin_len=_number(said, "bin_len"),
            bin_mime=_text(said, "bin_mime"),
        )


def read_text(text: str | bytes) -> HaipMessage:
    """Read a text frame.

    Args:
        text: The frame.

    Returns:
        The message.

    Raises:
        HaipProtocolError: It is no JSON, or no message.
    """
    try:
        return HaipMessage.from_wire(json.loads(text))
    except (ValueError, RecursionError):
        raise HaipProtocolError(
            "unable to read message; it is no JSON", HaipErrorCode.INVALID_MESSAGE
        ) from None


def write_text(message: HaipMessage, dialect: Dialect = "text") -> str:
    """Write a text frame.

    Args:
        message: The message.
        dialect: How the peer names text messages.

    Returns:
        The frame.
    """
    return json.dumps(message.to_wire(dialect), ensure_ascii=False, separators=(",", ":"))


def new_id() -> str:
    """Make an id for a message, a run or a call.

    Returns:
        A UUID of version 4.
    """
    return str(uuid.uuid4())


def _text(said: Mapping[str, object], key: str, *, required: bool = False) -> str | None:
    value = said.get(key)
    if isinstance(value, str) or (value is None and not required):
        return value
    raise _invalid(key, "text")


def _number(said: Mapping[str, object], key: str) -> int | None:
    value = said.get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise _invalid(key, "a whole number that is not negative")


def _invalid(key: str, wanted: str, doing: str = "read") -> HaipProtocolError:
    return HaipProtocolError(
        f"unable to {doing} message; {key} must be {wanted}", HaipErrorCode.INVALID_MESSAGE, {"field": key}
    )


def check_envelope(envelope: HaipEnvelope) -> None:
    """Refuse what the schema refuses in an envelope; what is left out is filled in by a session.

    Args:
        envelope: The envelope of a message that is to be sent.

    Raises:
        HaipProtocolError: A field is not as the schema wants it (INVALID_MESSAGE); the error names it.
    """
    for name, value, form, wanted in (
        ("session", envelope.session_id, _UUID, "a UUID"),
        ("run_id", envelope.run_id, _UUID, "a UUID"),
        ("channel", envelope.channel, _CHANNEL, "1 to 128 letters, digits, hyphens and underscores"),
        ("seq", envelope.sequence, _NUMBER, "1 to 20 decimal digits"),
        ("ts", envelope.timestamp, _NUMBER, "1 to 20 decimal digits"),
        ("ack", envelope.ack, _NUMBER, "1 to 20 decimal digits"),
    ):
        if value is not None and not form.fullmatch(value):
            raise _invalid(name, wanted, "send")
    if envelope.thread_id is not None and len(envelope.thread_id) > _LONGEST_THREAD:
        raise _invalid("thread_id", f"at most {_LONGEST_THREAD} characters", "send")
