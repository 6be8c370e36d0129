"""The routes of open streams: an append needs no search for its place in the tree."""

from dataclasses import dataclass
from typing import Generic

from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation.folding import Delivery, Folding
from ably_ai_transport.conversation.index import Entry, NodeIndex
from ably_ai_transport.conversation.log import LogEntry
from ably_ai_transport.conversation.nodes import RunNode
from ably_ai_transport.wire import Headers, InboundMessage, names


@dataclass(slots=True, eq=False)
class Route(Generic[InT, OutT, ProjT]):
    """The destination of a message that grows by appends, fixed by its headers and the tree's structure.

    Attributes:
        headers: The transport headers that the route was derived from.
        entry: The run that the message belongs to.
        run: Its node.
        key: The key of that run.
        logged: The message's entry in the log of that run.
        superseded: Whether the attempt that published it is not canonical.
        steered_by: The steering messages that it responds to.
    """

    headers: Headers
    entry: Entry[InT, OutT, ProjT]
    run: RunNode[ProjT]
    key: str
    logged: LogEntry[InT, OutT]
    superseded: bool
    steered_by: tuple[str, ...] | None


class Routes(Generic[InT, OutT, ProjT, MsgT]):
    """The routes of a tree's open streams. Each change of the tree's structure drops them all.

    Args:
        index: The tree's nodes.
        folding: The tree's folding, which compacts a stream that has ended.
    """

    def __init__(self, index: NodeIndex[InT, OutT, ProjT], folding: Folding[InT, OutT, ProjT, MsgT]) -> None:
        self._index = index
        self._folding = folding
        self._routes: dict[str | None, Route[InT, OutT, ProjT]] = {}
        self._version = 0

    def find(self, message: InboundMessage) -> Route[InT, OutT, ProjT] | None:
        """Return the route of a message; None where it has none, or has other headers than its stream."""
        if self._version != self._index.version:
            self.drop()
        route = self._routes.get(message.serial)
        return route if route is not None and route.headers == message.transport_headers else None

    def keep(
        self,
        entry: Entry[InT, OutT, ProjT],
        delivery: Delivery[InT, OutT],
        *,
        superseded: bool,
        steered_by: tuple[str, ...] | None,
    ) -> None:
        """Keep the route of a message that may grow; forget it once its stream has ended.

        Args:
            entry: The run that the message belongs to.
            delivery: The message.
            superseded: Whether the attempt that published it is not canonical.
            steered_by: The steering messages that it responds to.
        """
        serial, headers = delivery.serial, delivery.headers
        if serial is None or headers.get(names.STREAM) != "true" or names.RUN_ID not in headers:
            return
        logged, node = entry.log.find(serial), entry.node
        if logged is None or not isinstance(node, RunNode):
            return
        if self._version != self._index.version:
            self.drop()
        if headers.get(names.STATUS) in ("complete", "cancelled"):
            self._routes.pop(serial, None)
            self._folding.compact(logged)
        else:
            self._routes[serial] = Route(headers, entry, node, node.key, logged, superseded, steered_by)

    def drop(self) -> None:
        """Forget all routes."""
        self._routes.clear()
        self._version = self._index.version
