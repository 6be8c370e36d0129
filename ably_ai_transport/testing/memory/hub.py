"""The hub of channels in memory, and its clients."""

from collections.abc import Sequence

from ably_ai_transport.testing.memory.channel import MemoryChannel
from ably_ai_transport.testing.memory.faults import MemoryFaults
from ably_ai_transport.testing.memory.log import ChannelLog, Publisher, Serials
from ably_ai_transport.testing.memory.plan import FaultPlan
from ably_ai_transport.testing.memory.presence import PresenceSet
from ably_ai_transport.testing.memory.turns import Turns
from ably_ai_transport.wire import InboundMessage


class MemoryHub:
    """The channels in memory of one test, by name.

    Attributes:
        faults: The fault switch.
        max_message_size: Bytes that a publish may have.
    """

    def __init__(self, *, max_message_size: int = 65536) -> None:
        self.max_message_size = max_message_size
        self._turns = Turns()
        self._serials = Serials()
        self._logs: dict[str, ChannelLog] = {}
        self._present: dict[str, PresenceSet] = {}
        self._clients = 0
        self._plan = FaultPlan(self._turns)
        self._channels: list[MemoryChannel] = []
        self.faults = MemoryFaults(self._plan, self._channels)

    def client(self, client_id: str | None = None) -> "MemoryClient":
        """Return a client, which opens channels as an Ably client does; anonymous without an id."""
        self._clients += 1
        return MemoryClient(self, Publisher(client_id, f"connection-{self._clients}"))

    async def settle(self) -> None:
        """Return when everything is acked and delivered, and the reactions to it are over.

        Acks and messages that the fault switch holds stay held.
        """
        await self._turns.settle()

    def messages(self, channel: str) -> list[InboundMessage]:
        """Return the messages in a channel's history, in their latest versions, oldest first."""
        return self._log(channel).all()

    def inject(self, channel: str, message: InboundMessage) -> None:
        """Deliver a message that no server would send, unchanged and past the log."""
        for attachment in self._log(channel).attachments:
            attachment.deliver(message)

    def open(self, name: str, publisher: Publisher, agents: Sequence[tuple[str, str]]) -> MemoryChannel:
        """Open a channel for a client."""
        members = self._present.setdefault(name, PresenceSet(self._turns))
        presence = members.of(publisher)
        return MemoryChannel(
            name,
            publisher,
            log=self._log(name),
            presence=presence,
            turns=self._turns,
            plan=self._plan,
            registry=self._channels,
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
