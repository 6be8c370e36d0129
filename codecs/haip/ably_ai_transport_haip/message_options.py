"""What a single send can say besides its message."""

from dataclasses import dataclass, replace

from ably_ai_transport_haip.protocol import HaipMessage


@dataclass(frozen=True, slots=True)
class HaipMessageOptions:
    """What a send adds to a message.

    Attributes:
        run_id: The run that the message belongs to, instead of what its envelope says.
        thread_id: The conversation, likewise.
        pv: The major version of the protocol that the message was made with.
        crit: Whether a field that is not known must be refused.
        bin_mime: What the bytes of the message are.
        timeout: How long the send may wait for a connection and for credits, in seconds; None for no limit.
    """

    run_id: str | None = None
    thread_id: str | None = None
    pv: int | None = None
    crit: bool | None = None
    bin_mime: str | None = None
    timeout: float | None = None

    def apply_to(self, message: HaipMessage) -> HaipMessage:
        """Return the message with what is set here.

        Args:
            message: The message.

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
