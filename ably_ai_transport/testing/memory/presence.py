"""Presence in memory: a set per channel, with the methods of the SDK's presence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ably_ai_transport.channel.contract import PresenceListener
from ably_ai_transport.testing.memory.log import Publisher
from ably_ai_transport.testing.memory.turns import Turns
from ably_ai_transport.wire import InvalidArgumentError
from ably_ai_transport.wire.listeners import Listeners

PRESENT: Final = 1
ENTER: Final = 2
LEAVE: Final = 3
UPDATE: Final = 4
_EVENTS: Final = {"present": PRESENT, "enter": ENTER, "leave": LEAVE, "update": UPDATE}


@dataclass(frozen=True, slots=True)
class MemoryMember:
    """A member, or what it did. See :class:`~ably_ai_transport.channel.contract.PresenceMember`."""

    action: int
    client_id: str
    connection_id: str
    data: object = None


class PresenceSet:
    """The members of one channel, and the listeners of all who are on it."""

    def __init__(self, turns: Turns) -> None:
        self.members: dict[tuple[str, str], MemoryMember] = {}
        self.changes: Listeners[MemoryMember] = Listeners()
        self._turns = turns
        self._views: dict[str, MemoryPresence] = {}

    def of(self, publisher: Publisher) -> "MemoryPresence":
        """Return a client's view of the set: one for all its sessions, as the SDK has one per channel."""
        view = self._views.setdefault(publisher.connection_id, MemoryPresence(self, publisher))
        view.users += 1
        return view

    def change(self, member: MemoryMember) -> None:
        """Take a change and tell the listeners, in a turn of its own."""
        key = (member.connection_id, member.client_id)
        if member.action == LEAVE:
            self.members.pop(key, None)
        else:
            self.members[key] = replace(member, action=PRESENT)
        self._turns.add(lambda: self.changes.emit(member))


class MemoryPresence:
    """One channel's view of the set. See :class:`~ably_ai_transport.channel.contract.Presence`.

    Unlike the SDK's, it does not attach the channel.

    Args:
        members: The set.
        publisher: The client that enters and leaves.
    """

    def __init__(self, members: PresenceSet, publisher: Publisher) -> None:
        self._set = members
        self._publisher = publisher
        self._off: list[tuple[PresenceListener, Callable[[], None]]] = []
        self._entered = False
        self.users = 0
        """How many sessions use it."""

    async def enter(self, data: object = None) -> None:
        """Enter under the channel's client id.

        Raises:
            InvalidArgumentError: The client is anonymous.
        """
        self._change(ENTER, data)

    async def update(self, data: object = None) -> None:
        """Change the data; enters where the client has not.

        Raises:
            InvalidArgumentError: The client is anonymous.
        """
        self._change(UPDATE if self._entered else ENTER, data)

    async def leave(self, data: object = None) -> None:
        """Leave.

        Raises:
            InvalidArgumentError: The client is anonymous.
        """
        self._change(LEAVE, data)

    async def get(
        self,
        wait_for_sync: bool = True,
        client_id: str | None = None,
        connection_id: str | None = None,
    ) -> Sequence[MemoryMember]:
        """Return the members that are present now, all or those of a client or connection."""
        return [
            member
            for member in self._set.members.values()
            if client_id in (None, member.client_id) and connection_id in (None, member.connection_id)
        ]

    async def subscribe(self, *event_and_listener: str | PresenceListener) -> None:
        """Call a plain function with each change, or with one kind: ``subscribe("enter", listener)``."""
        event, listener = _arguments(event_and_listener)

        def heard(member: MemoryMember) -> None:
            if event in (None, member.action):
                listener(member)

        self._off.append((listener, self._set.changes.add(heard)))

    def unsubscribe(self, *event_and_listener: str | PresenceListener) -> None:
        """Remove a listener, or all of this channel."""
        listener = _arguments(event_and_listener)[1] if event_and_listener else None
        for one, off in self._off:
            if listener in (None, one):
                off()
        self._off = [] if listener is None else [pair for pair in self._off if pair[0] != listener]

    def release(self) -> None:
        """Remove the listeners, and leave, with the last session that uses it."""
        self.users -= 1
        if self.users:
            return
        self.unsubscribe()
        if self._entered:
            self._change(LEAVE, None)

    def _change(self, action: int, data: object) -> None:
        client_id = self._publisher.client_id
        if client_id is None:
            raise InvalidArgumentError("unable to be present; the client has no client id")
        self._entered = action != LEAVE
        self._set.change(MemoryMember(action, client_id, self._publisher.connection_id, data))


def _arguments(given: Sequence[str | PresenceListener]) -> tuple[int | None, PresenceListener]:
    event, listener = (None, *given)[-2:] if given else (None, None)
    if isinstance(listener, str) or listener is None or not (event is None or event in _EVENTS):
        raise InvalidArgumentError("unable to subscribe; pass a listener, or an event's name and a listener")
    return (_EVENTS[event] if isinstance(event, str) else None), listener
