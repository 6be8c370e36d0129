"""Requests for credits: the messages of this side that wait for a grant of the other."""

from typing import Final

from ably_ai_transport_haip.protocol.errors import HaipFlowControlError
from ably_ai_transport_haip.protocol.grants import Grants
from ably_ai_transport_haip.protocol.outbox import Checked, Outbox
from ably_ai_transport_haip.protocol.peer_config import PeerConfig
from ably_ai_transport_haip.protocol.sequence import ReceiveOrder

LENIENT_PATIENCE_SECONDS: Final = 1.0
"""The time in which a lenient peer has to answer a request for credits."""


class CreditRequests:
    """Requests credits, once per channel until some arrive.

    Args:
        config: The configuration of the peer.
        outbox: Holds the messages that wait.
        grants: Sends the requests, which are grants in this protocol.
        order: The received messages; tells whether the other side counts like the reference peers.
    """

    def __init__(self, config: PeerConfig, outbox: Outbox, grants: Grants, order: ReceiveOrder) -> None:
        self._config = config
        self._outbox = outbox
        self._grants = grants
        self._order = order
        self._open: dict[str, float] = {}
        self._is_refused = False

    def begin(self) -> None:
        """Start a session: nothing has been requested."""
        self._open.clear()
        self._is_refused = False

    def note_grant(self, channel: str) -> None:
        """Note that credits of a channel have arrived."""
        self._open.pop(channel, None)

    def ask(self, channel: str, checked: Checked | None = None) -> None:
        """Get credits for a message that waits; see :meth:`HaipPeer.ask_for_credits`."""
        credits_ = self._outbox.credits
        needed = self._outbox.first_waiting(channel) if checked is None else self._outbox.needed(checked)
        if needed is None or channel in credits_.paused or credits_.covers(channel, *needed):
            return
        is_client = self._config.role == "client"
        if not is_client and credits_.release(channel, *needed):
            self._outbox.send_waiting(channel)
            return
        if self._is_refused and checked is not None:
            raise HaipFlowControlError(
                f"unable to send on {channel}; the credits are spent, and the server grants no new ones"
                " (connect again)"
            )
        if channel in self._open or self._is_refused:
            return
        self._open[channel] = self._config.clock()
        if is_client or self._order.lenient:
            self._grants.grant(channel, *credits_.request(channel, *needed))

    def give_up(self) -> tuple[str, ...]:
        """Stop waiting for credits if a lenient peer does not answer a request for some.

        The reference client announces ten credits and never grants more, but accepts any number of messages.
        The reference server drops messages without credits, so those are not sent.

        Returns:
            The channels that no longer wait.
        """
        due = self.due
        if due is None or self._config.clock() < due:
            return ()
        channels = tuple(self._open)
        self._open.clear()
        if self._config.role == "client":
            self._is_refused = True
            return channels
        self._outbox.credits.is_lifted = True
        for channel in channels:
            self._outbox.send_waiting(channel)
        return channels

    @property
    def due(self) -> float | None:
        """The time of the next :meth:`give_up`; None while no lenient peer owes an answer."""
        if not self._open or not self._order.lenient:
            return None
        return min(self._open.values()) + LENIENT_PATIENCE_SECONDS
