"""Small tools around messages: making, checking, measuring and delaying."""

import asyncio
import base64
import binascii
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, ParamSpec, cast

from ably_ai_transport_haip.protocol import (
    HaipEnvelope,
    HaipError,
    HaipEventType,
    HaipMessage,
    HaipProtocolError,
    calculate_message_credits,
    exponential_backoff,
    new_id,
)
from ably_ai_transport_haip.protocol.messages import check_envelope
from ably_ai_transport_haip.protocol.payloads import check_payload

__all__ = [
    "calculate_byte_credits",
    "calculate_message_credits",
    "create_flow_update",
    "create_message",
    "create_text_message",
    "create_tool_call",
    "debounce",
    "decode_base64",
    "encode_base64",
    "exponential_backoff",
    "generate_sequence_number",
    "generate_timestamp",
    "generate_uuid",
    "parse_jwt",
    "throttle",
    "validate_envelope",
    "validate_message",
]

P = ParamSpec("P")

_numbers: Final = itertools.count(1)
generate_uuid = new_id


def create_message(
    event: HaipEventType | str, payload: Mapping[str, object], envelope: HaipEnvelope | None = None
) -> HaipMessage:
    """Make a message.

    Args:
        event: What it is about.
        payload: What it says.
        envelope: Where it belongs.

    Returns:
        The message.

    Raises:
        HaipProtocolError: The schema refuses the payload (INVALID_MESSAGE).
        ValueError: There is no such event.
    """
    kind = HaipEventType(event)
    check_payload(kind, payload)
    return HaipMessage(kind, payload, envelope or HaipEnvelope())


def create_text_message(
    channel: str,
    text: str,
    author: str | None = None,
    run_id: str | None = None,
    thread_id: str | None = None,
) -> HaipMessage:
    """Make the message that begins a text and has all of it; its end is a message of its own.

    Args:
        channel: Where to.
        text: The text.
        author: Who says it.
        run_id: The run that it belongs to.
        thread_id: The conversation.

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
    """Make a call of a tool.

    Args:
        channel: Where to.
        tool: Its name.
        params: What it is called with.
        run_id: The run that it belongs to.
        thread_id: The conversation.

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
    """Make a grant of credits.

    Args:
        channel: The channel.
        add_messages: Messages; left out where it is zero, which the schema does not allow.
        add_bytes: Bytes; the same.

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
    """Tell whether the schema accepts a message that has all it needs to be sent.

    Args:
        message: The message.

    Returns:
        Whether its envelope is complete and its payload fits its type.
    """
    try:
        check_payload(message.type, message.payload)
    except HaipProtocolError:
        return False
    return message.id is not None and validate_envelope(message.envelope)


def validate_envelope(envelope: HaipEnvelope) -> bool:
    """Tell whether an envelope has all that goes on the wire.

    Args:
        envelope: The envelope.

    Returns:
        Whether session, channel, number and time are there, and the schema accepts them.
    """
    if None in (envelope.session_id, envelope.channel, envelope.sequence, envelope.timestamp):
        return False
    try:
        check_envelope(envelope)
    except HaipError:
        return False
    return True


def generate_timestamp() -> str:
    """Return the time as messages carry it: milliseconds since 1970, as decimal digits."""
    return str(time.time_ns() // 1_000_000)


def generate_sequence_number() -> str:
    """Return a number that is larger than all before it, as decimal digits. Clients number by themselves."""
    return str(next(_numbers))


def parse_jwt(token: str) -> dict[str, object]:
    """Read what a token says, without verifying it: never trust what this returns.

    Args:
        token: A JSON web token.

    Returns:
        Its claims.

    Raises:
        HaipError: It is none.
    """
    try:
        _, claims, _ = token.split(".")
        said: object = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    except (ValueError, binascii.Error) as error:
        raise HaipError(f"unable to read token; it is no JSON web token: {error}") from error
    if not isinstance(said, dict):
        raise HaipError("unable to read token; its claims are no object")
    return cast("dict[str, object]", said)


def encode_base64(data: bytes) -> str:
    """Return bytes as base64."""
    return base64.b64encode(data).decode()


def decode_base64(data: str) -> bytes:
    """Return what base64 stands for.

    Args:
        data: The text.

    Raises:
        HaipError: It is no base64.
    """
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise HaipError(f"unable to read base64; {error}") from error


def calculate_byte_credits(data: bytes | str) -> int:
    """Return what data costs in byte credits: its length, text in UTF-8."""
    return len(data.encode()) if isinstance(data, str) else len(data)


def debounce(func: Callable[P, Awaitable[object]], wait: float) -> Callable[P, Awaitable[None]]:
    """Put calls off until there was silence for a while: of calls in quick succession the last one counts.

    Args:
        func: What to call.
        wait: How long there must be silence, in seconds.

    Returns:
        A function that returns when its call has been made, or another one has taken its place.
    """
    newest = 0

    async def later(*args: P.args, **kwargs: P.kwargs) -> None:
        nonlocal newest
        newest += 1
        own = newest
        await asyncio.sleep(wait)
        if own == newest:
            await func(*args, **kwargs)

    return later


def throttle(func: Callable[P, Awaitable[object]], limit: float) -> Callable[P, Awaitable[bool]]:
    """Let through one call in a while; others do nothing.

    Args:
        func: What to call.
        limit: The least time between two calls, in seconds.

    Returns:
        A function that returns whether the call was made.
    """
    last = -float("inf")

    async def seldom(*args: P.args, **kwargs: P.kwargs) -> bool:
        nonlocal last
        now = time.monotonic()
        if now - last < limit:
            return False
        last = now
        await func(*args, **kwargs)
        return True

    return seldom
