"""The hub that channels in memory meet on, and the clients that open them."""

from collections.abc import Sequence

from ably_ai_transport.testing.memory.channel import MemoryChannel
from ably_ai_transport.testing.memory.faults import MemoryFaults
from ably_ai_transport.testing.memory.log import ChannelLog, Publisher, Serials
from ably_ai_transport.testing.memory.turns import Turns
from ably_ai_transport.wire import InboundMessage


class MemoryHub:
    """Channels by name, and everybody who is on them.

    Attributes:
        faults: The fault switch.
        max_message_size: Bytes that a publish may have.
    """

    def __init__(self, *, max_message_size: int = 65536) -> None:
        self.max_message_size = max_message_size
        self._turns = Turns()
        self._serials = Serials()
        self._logs: dict[str, ChannelLog] = {}
        self._clients = 0
        self.faults = MemoryFaults(self._turns)

    def client(self, client_id: str | None = None) -> "MemoryClient":
        """Return a client, which opens channels as an Ably client does; anonymous without an id."""
        self._clients += 1
        return MemoryClient(self, Publisher(client_id, f"connection-{self._clients}"))

    async def settle(self) -> None:
        """Return when everything has been answered and delivered, and reactions to it as well.

        What the fault switch holds back stays where it is.
        """
        await self._turns.settle()

    def messages(self, channel: str) -> list[InboundMessage]:
        """Return what a channel's history holds, in latest versions, oldest first."""
        return self._log(channel).all()

    def inject(self, channel: str, message: InboundMessage) -> None:
        """Deliver a message as it is to who is attached, past the log: for what no server would send."""
        for attachment in self._log(channel).attachments:
            attachment.deliver(message)

    def open(self, name: str, publisher: Publisher, agents: Sequence[tuple[str, str]]) -> MemoryChannel:
        """Open a channel for a client."""
        return MemoryChannel(
            name,
            publisher,
            log=self._log(name),
            turns=self._turns,
            faults=self.faults,
            max_message_size=self.max_message_size,
            agents=agents,
        )

    def _log(self, name: str) -> ChannelLog:
        if name not in self._logs:
            self._logs[name] = ChannelLog(self._serials)
        return self._logs[name]


class MemoryClient:
    """A client of the hub: a :class:`~ably_ai_transport.channel.contract.ChannelSource`."""

    def __init__(self, hub: MemoryHub, publisher: Publisher) -> None:
        self._hub = hub
        self._publisher = publisher

    @property
    def client_id(self) -> str | None:
        """The client's id."""
        return self._publisher.client_id

    def open_channel(
        self,
        name: str,
        *,
        agents: Sequence[tuple[str, str]] = (),
        modes: Sequence[str] = (),
    ) -> MemoryChannel:
        """Return a channel, not attached yet; each call gives one with an attachment of its own."""
        return self._hub.open(name, self._publisher, agents)
