"""Options of a single message."""

from dataclasses import dataclass, replace

from ably_ai_transport_haip.protocol import HaipMessage


@dataclass(frozen=True, slots=True)
class HaipMessageOptions:
    """Options of one send. A field that is set overrides the message's own.

    Attributes:
        run_id: The run of the message, a UUID.
        thread_id: The thread of the message.
        pv: The major version of the protocol that the message was made with.
        crit: Whether the receiver must refuse fields that it does not know.
        bin_mime: The media type of the message's binary body.
        timeout: Seconds to wait for a connection and for credits; None for no limit.
    """

    run_id: str | None = None
    thread_id: str | None = None
    pv: int | None = None
    crit: bool | None = None
    bin_mime: str | None = None
    timeout: float | None = None

    def apply_to(self, message: HaipMessage) -> HaipMessage:
        """Return the message with these options.

        Args:
            message: The message; it is not changed.

        Example:
            >>> message = HaipMessage(HaipEventType.PING, {})
            >>> HaipMessageOptions(crit=True).apply_to(message).crit
            True
        """
        envelope = replace(
            message.envelope,
            run_id=self.run_id or message.envelope.run_id,
            thread_id=self.thread_id or message.envelope.thread_id,
        )
        return replace(
            message,
            envelope=envelope,
            pv=message.pv if self.pv is None else self.pv,
            crit=message.crit if self.crit is None else self.crit,
            bin_mime=self.bin_mime or message.bin_mime,
        )
