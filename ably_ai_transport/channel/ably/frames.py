"""Frames from the server, mended before the SDK sees them."""

from __future__ import annotations

import base64
import json
import logging
from typing import TYPE_CHECKING, Final, cast

from ably_ai_transport.channel.ably.sdk import failed, sdk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ably_ai_transport.channel.ably.heartbeat import Heartbeat
    from ably_ai_transport.channel.ably.sdk import Realtime, Transport
    from ably_ai_transport.channel.ably.shared import SharedChannel
    from ably_ai_transport.channel.ably.writer import Writer
    from ably_ai_transport.channel.payload import Frame

logger = logging.getLogger("ably_ai_transport.channel")

_CONNECTED: Final = 4
_DISCONNECTED: Final = 6
_ERROR: Final = 9
_ATTACHED: Final = 11
_DETACHED: Final = 13
_MESSAGE: Final = 15
_OF_PRESENCE: Final = frozenset({14, 16})
_OF_CHANNELS: Final = frozenset({_ATTACHED, _DETACHED, _MESSAGE, 21, *_OF_PRESENCE})
_RESUMED: Final = 4
_CONNECTION_LOST: Final = 80003
_TOKEN_ERRORS: Final = range(40140, 40150)
_BAD_REQUEST: Final = 400


class FrameGuard:
    """Mends the frames from the server before the SDK sees them, and notes facts that it does not expose.

    Args:
        client: The SDK's client.
        writer: Learns the server's limits for publishes.
        shared: The channels by name; each learns how it was attached and detached.
        heartbeat: Learns of each frame.
    """

    def __init__(
        self, client: Realtime, writer: Writer, shared: Mapping[str, SharedChannel], heartbeat: Heartbeat
    ) -> None:
        self._manager = client.connection.connection_manager
        self._channels = client.channels
        self._writer = writer
        self._shared = shared
        self._heartbeat = heartbeat

    def watch(self, transport: Transport) -> None:
        """See the frames of a transport before the SDK does."""
        receive = transport.on_protocol_message

        async def on_protocol_message(frame: Frame) -> None:
            self._heartbeat.heard()
            action = frame.get("action")
            if action in _OF_CHANNELS and not self._take_channel_frame(frame):
                return
            if action == _ERROR and self._is_final(frame):
                await self._fail(transport, frame)
                return
            if action == _CONNECTED:
                details: Frame = frame.get("connectionDetails") or {}
                self._writer.max_message_size = details.get("maxMessageSize") or self._writer.max_message_size
                self._writer.set_limit(details.get("maxInboundRate"))
            elif action == _DISCONNECTED:
                frame["error"] = _plain_error(frame.get("error"))
            await receive(frame)

        transport.on_protocol_message = on_protocol_message

    def _take_channel_frame(self, frame: Frame) -> bool:
        """Note facts that the SDK does not expose. False if the channel was released: the SDK would raise."""
        name, action = cast("str", frame.get("channel")), frame["action"]
        if name not in self._channels:
            return False
        shared = self._shared.get(name)
        if action == _MESSAGE:
            drop_null_encodings(frame.get("messages") or ())
            _keep_decodable(frame)
        elif action in _OF_PRESENCE:
            drop_null_encodings(frame.get("presence") or ())
        elif shared is not None and action == _ATTACHED:
            resumed = bool((frame.get("flags") or 0) & _RESUMED)
            shared.on_attached(frame.get("channelSerial"), resumed=resumed, error=frame.get("error"))
        elif shared is not None and action == _DETACHED:
            shared.on_detached(frame.get("error"))
        return True

    def _is_final(self, frame: Frame) -> bool:
        error: Frame = frame.get("error") or {}
        return frame.get("channel") is None and error.get("code") not in _TOKEN_ERRORS

    async def _fail(self, transport: Transport, frame: Frame) -> None:
        """Fail the connection as a whole: the SDK changes its state and wakes no waiter."""
        error: Frame = frame.get("error") or {}
        await transport.dispose()
        self._manager.notify_state(
            failed(self._manager),
            sdk().error(error.get("message"), error.get("statusCode") or _BAD_REQUEST, error.get("code")),
        )


def _plain_error(error: Frame | None) -> Frame:
    """Describe a disconnection so that the SDK reconnects.

    Without an error, or with a 5xx status and no fallback hosts, it stays connected to a closed socket for
    ever. With fallback hosts it moves to one without an event, and mixes up acks. Without a status it raises
    in a task that nobody awaits.
    """
    plain: Frame = dict(error or {})
    code: object = plain.get("code")
    if not isinstance(code, int):
        plain["code"] = _CONNECTION_LOST
    if code not in _TOKEN_ERRORS or not isinstance(plain.get("statusCode"), int):
        plain["statusCode"] = 401 if code in _TOKEN_ERRORS else _BAD_REQUEST
    return plain


def drop_null_encodings(items: Iterable[Frame]) -> None:
    """Drop encodings that are null, which other servers than Ably send: the SDK expects text or nothing.

    Args:
        items: Messages or presence messages; they are changed.
    """
    for item in items:
        if item.get("encoding", "") is None:
            del item["encoding"]


def _keep_decodable(frame: Frame) -> None:
    """Drop messages that the SDK cannot decode: it would drop the whole frame with them."""
    messages: list[Frame] = frame.get("messages") or []
    if [message for message in messages if message.get("encoding")]:
        frame["messages"] = [message for message in messages if _decode(message)]
    elif frame.get("messages") is None:
        frame["messages"] = messages


def _decode(message: Frame) -> bool:
    encoding, data = message.get("encoding"), message.get("data")
    try:
        if encoding == "json" and isinstance(data, str):
            decoded = json.loads(data)
            if isinstance(decoded, dict | list):
                # The SDK takes it as it is, and need not decode it once more.
                message["data"] = decoded
        elif encoding == "base64" and isinstance(data, str):
            base64.b64decode(data)
    except ValueError as error:
        logger.warning("A message could not be decoded and is left out: %s", type(error).__name__)
        return False
    return True
