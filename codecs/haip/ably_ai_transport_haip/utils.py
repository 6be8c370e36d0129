"""HAIP utilities: functions that create, validate and measure messages, and delay calls.

They are the functions of the reference SDK's ``HAIPUtils``. An ``ArrayBuffer`` is ``bytes`` here, and times
are in seconds.
"""

import asyncio
import base64
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, ParamSpec, cast

from ably_ai_transport_haip.client.backoff import exponential_backoff
from ably_ai_transport_haip.endpoint.hooks import call
from ably_ai_transport_haip.protocol import (
    HaipEnvelope,
    HaipError,
    HaipEventType,
    HaipMessage,
    calculate_message_credits,
    new_id,
)
from ably_ai_transport_haip.protocol.messages import check_envelope, check_message
from ably_ai_transport_haip.protocol.names import event_named
from ably_ai_transport_haip.protocol.payloads import check_payload

__all__ = [
    "array_buffer_to_base64",
    "array_buffer_to_string",
    "base64_to_array_buffer",
    "calculate_byte_credits",
    "calculate_message_credits",
    "create_flow_update",
    "create_message",
    "create_text_message",
    "create_tool_call",
    "debounce",
    "encode_base64",
    "exponential_backoff",
    "generate_sequence_number",
    "generate_timestamp",
    "generate_uuid",
    "parse_base64",
    "parse_jwt",
    "string_to_array_buffer",
    "throttle",
    "validate_envelope",
    "validate_message",
]

P = ParamSpec("P")

_numbers: Final = itertools.count(1)
generate_uuid = new_id


def create_message(
    type: HaipEventType | str,  # noqa: A002 - the name of the field
    payload: Mapping[str, object],
    envelope: HaipEnvelope | None = None,
) -> HaipMessage:
    """Create a message.

    Args:
        type: The type of the message, in either dialect: ``MESSAGE_START`` or ``TEXT_MESSAGE_START``.
        payload: The payload; its fields depend on the type.
        envelope: The envelope; empty by default.

    Returns:
        The message.

    Raises:
        HaipProtocolError: The schema refuses the payload (INVALID_MESSAGE).
        ValueError: The type is unknown.
    """
    event = event_named(type)
    if event is None:
        raise ValueError(f"unable to create message; type '{type}' is unknown")
    check_payload(event, payload)
    return HaipMessage(event, payload, envelope or HaipEnvelope())


def create_text_message(
    channel: str,
    text: str,
    author: str | None = None,
    run_id: str | None = None,
    thread_id: str | None = None,
) -> HaipMessage:
    """Create a ``MESSAGE_START`` with a whole text. A ``MESSAGE_END`` has to follow it.

    Args:
        channel: The channel.
        text: The text.
        author: The name of the author.
        run_id: The run of the text.
        thread_id: The thread of the text.

    Returns:
        A ``MESSAGE_START``.

    Example:
        >>> create_text_message("USER", "Hello").payload["text"]
        'Hello'
    """
    payload: dict[str, object] = {"message_id": new_id(), "text": text}
    if author is not None:
        payload["author"] = author
    envelope = HaipEnvelope(channel=channel, run_id=run_id, thread_id=thread_id)
    return create_message(HaipEventType.MESSAGE_START, payload, envelope)


def create_tool_call(
    channel: str,
    tool: str,
    params: Mapping[str, object] | None = None,
    run_id: str | None = None,
    thread_id: str | None = None,
) -> HaipMessage:
    """Create a tool call.

    Args:
        channel: The channel.
        tool: The name of the tool.
        params: The parameters; any JSON object.
        run_id: The run of the call.
        thread_id: The thread of the call.

    Returns:
        A ``TOOL_CALL``.
    """
    payload: dict[str, object] = {"call_id": new_id(), "tool": tool}
    if params is not None:
        payload["params"] = dict(params)
    envelope = HaipEnvelope(channel=channel, run_id=run_id, thread_id=thread_id)
    return create_message(HaipEventType.TOOL_CALL, payload, envelope)


def create_flow_update(
    channel: str, add_messages: int | None = None, add_bytes: int | None = None
) -> HaipMessage:
    """Create a grant of credits. Zeros are left out, because the schema forbids them.

    Args:
        channel: The channel.
        add_messages: Message credits.
        add_bytes: Byte credits.

    Returns:
        A ``FLOW_UPDATE``.
    """
    payload: dict[str, object] = {"channel": str(channel)}
    if add_messages:
        payload["add_messages"] = add_messages
    if add_bytes:
        payload["add_bytes"] = add_bytes
    return create_message(HaipEventType.FLOW_UPDATE, payload, HaipEnvelope(channel="SYSTEM"))


def validate_message(message: HaipMessage) -> bool:
    """Tell whether a message can be sent. Empty fields pass, because the sender fills them in.

    Args:
        message: The message.

    Returns:
        True if the schema accepts its payload, its envelope and its other fields.

    Example:
        >>> validate_message(create_text_message("USER", "Hello"))
        True
    """
    try:
        check_payload(message.type, message.payload)
        check_message(message)
    except HaipError:
        return False
    return True


def validate_envelope(envelope: HaipEnvelope) -> bool:
    """Tell whether the schema accepts an envelope. Empty fields pass, because the sender fills them in.

    Args:
        envelope: The envelope.

    Returns:
        True if each field is empty or valid.

    Example:
        >>> validate_envelope(HaipEnvelope(channel="not a channel"))
        False
    """
    try:
        check_envelope(envelope)
    except HaipError:
        return False
    return True


def generate_timestamp() -> str:
    """Return the current time: milliseconds since 1970, as decimal digits."""
    return str(time.time_ns() // 1_000_000)


def generate_sequence_number() -> str:
    """Return the next number of a process-wide counter, as decimal digits. Clients keep their own."""
    return str(next(_numbers))


def parse_jwt(token: str) -> dict[str, object]:
    """Return the claims of a token. The signature is not verified: do not trust the claims.

    Args:
        token: A JSON web token.

    Returns:
        The claims.

    Raises:
        HaipError: It is no JSON web token.
    """
    try:
        _, claims, _ = token.split(".")
        content: object = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    except (AttributeError, ValueError) as error:
        # Only the type: the error text may hold parts of the token.
        raise HaipError(f"unable to read token; it is no JSON web token ({type(error).__name__})") from None
    if not isinstance(content, dict):
        raise HaipError("unable to read token; its claims are no object")
    return cast("dict[str, object]", content)


def encode_base64(data: bytes) -> str:
    """Encode bytes as base64."""
    return base64.b64encode(data).decode()


def parse_base64(data: str) -> bytes:
    """Decode base64.

    Args:
        data: The base64 text.

    Returns:
        The bytes.

    Raises:
        HaipError: The text is no base64.
    """
    try:
        return base64.b64decode(data, validate=True)
    except ValueError as error:
        raise HaipError(f"unable to read base64; {error}") from error


def array_buffer_to_base64(buffer: bytes) -> str:
    """Encode bytes as base64; the other name of :func:`encode_base64`."""
    return encode_base64(buffer)


def base64_to_array_buffer(base64: str) -> bytes:
    """Decode base64; the other name of :func:`parse_base64`."""
    return parse_base64(base64)


def string_to_array_buffer(text: str) -> bytes:
    """Encode a text as UTF-8.

    Args:
        text: The text.

    Returns:
        The bytes.

    Raises:
        HaipError: The text has half of a surrogate pair, which UTF-8 cannot hold.

    Example:
        >>> len(string_to_array_buffer("é"))
        2
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise HaipError(f"unable to encode text; {error.reason}") from error


def array_buffer_to_string(buffer: bytes) -> str:
    """Decode UTF-8.

    Args:
        buffer: The bytes.

    Returns:
        The text.

    Raises:
        HaipError: The bytes are no UTF-8.
    """
    try:
        return bytes(buffer).decode()
    except UnicodeDecodeError as error:
        raise HaipError(f"unable to decode text; {error.reason}") from error


def calculate_byte_credits(data: bytes | str) -> int:
    """Return the cost of data in byte credits: its length in bytes, text as UTF-8."""
    return len(data.encode()) if isinstance(data, str) else len(data)


def debounce(func: Callable[P, object], wait: float) -> Callable[P, Awaitable[None]]:
    """Delay calls until none has been made for a while. Of calls in quick succession, only the last is made.

    Args:
        func: The function to call, plain or coroutine.
        wait: Seconds without a call before the last one is made.

    Returns:
        A coroutine function that returns after its call was made or a later call replaced it.
    """
    newest = 0

    async def later(*args: P.args, **kwargs: P.kwargs) -> None:
        nonlocal newest
        newest += 1
        own = newest
        await asyncio.sleep(wait)
        if own == newest:
            await call(func, *args, **kwargs)

    return later


def throttle(func: Callable[P, object], limit: float) -> Callable[P, Awaitable[bool]]:
    """Make at most one call per interval and skip the others.

    Args:
        func: The function to call, plain or coroutine.
        limit: The shortest interval between two calls, in seconds.

    Returns:
        A coroutine function that returns whether the call was made.
    """
    last = -float("inf")

    async def seldom(*args: P.args, **kwargs: P.kwargs) -> bool:
        nonlocal last
        now = time.monotonic()
        if now - last < limit:
            return False
        last = now
        await call(func, *args, **kwargs)
        return True

    return seldom
