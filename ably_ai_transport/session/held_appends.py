"""Tokens that nobody looks at yet.

An agent receives the echo of every token that it publishes. As long as nobody watches its conversation, the
echoes of one stream are taken in together: when somebody looks, or when anything else arrives.
"""

from dataclasses import replace

from ably_ai_transport.wire import InboundMessage, MessageAction, names


class HeldAppends:
    """Appends to one open stream, held back to be taken in as one."""

    __slots__ = ("_latest", "_texts")

    def __init__(self) -> None:
        self._latest: InboundMessage | None = None
        self._texts: list[str] = []

    def hold(self, message: InboundMessage) -> bool:
        """Hold a message back, if it continues what is held.

        Args:
            message: A message of the channel.

        Returns:
            Whether it is held; otherwise what is held must be taken in first, and then the message.
        """
        latest, text = self._latest, message.data
        if (
            message.action is not MessageAction.APPEND
            or not isinstance(text, str)
            or message.transport_headers.get(names.STATUS) != "streaming"
        ):
            return False
        if latest is not None and (
            latest.serial != message.serial or (message.version or "") <= (latest.version or "")
        ):
            return False
        self._latest = message
        self._texts.append(text)
        return True

    def release(self) -> InboundMessage | None:
        """Return what is held as one message; None when nothing is."""
        latest = self._latest
        if latest is None:
            return None
        texts, self._latest, self._texts = self._texts, None, []
        return latest if len(texts) == 1 else replace(latest, data="".join(texts))
