"""Incomplete messages: those whose values are still on their way from elsewhere."""

from typing import Generic

from ably_ai_transport.codec.contract import Codec, InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation.folding import Folding, events_of
from ably_ai_transport.conversation.index import Entry, NodeIndex
from ably_ai_transport.conversation.log import LogEntry
from ably_ai_transport.conversation.nodes import ConversationNode
from ably_ai_transport.wire import InboundMessage, names


class IncompleteMessages(Generic[InT, OutT, ProjT, MsgT]):
    """The discrete messages of one tree that were applied with stand-ins.

    Args:
        codec: Decodes the complete messages.
        index: The nodes of the tree.
        folding: Keeps their projections in step with their logs.
    """

    def __init__(
        self,
        codec: Codec[InT, OutT, ProjT, MsgT],
        index: NodeIndex[InT, OutT, ProjT],
        folding: Folding[InT, OutT, ProjT, MsgT],
    ) -> None:
        self._codec = codec
        self._index = index
        self._folding = folding

    def expect(self, message: InboundMessage) -> None:
        """Keep the events of a message that was applied replaceable, until it is completed or forgone."""
        entry, logged = self._find(message)
        if entry is not None and logged is not None and not entry.log.swept:
            entry.log.expected.add(logged.serial)

    def complete(self, message: InboundMessage) -> ConversationNode[ProjT] | None:
        """Replace the events of a message that is expected.

        Args:
            message: The message, with its whole payload.

        Returns:
            The node that changed; None if the message is not expected or does not count.
        """
        entry, logged = self._find(message)
        if entry is None or logged is None or logged.serial not in entry.log.expected:
            return None
        entry.log.expected.discard(logged.serial)
        # A decoder of its own, so that the one of the channel does not see the message a second time.
        logged.events[:] = events_of(self._codec.create_decoder().decode(message))
        self._folding.queue_sweep(entry)
        if self._folding.is_superseded(entry, logged.serial):
            return None
        self._folding.refold(entry)
        return entry.node

    def forgo(self, message: InboundMessage) -> None:
        """Expect a message no longer; its stand-ins stay."""
        entry, _ = self._find(message)
        if entry is not None and message.serial is not None:
            entry.log.expected.discard(message.serial)
            self._folding.queue_sweep(entry)

    def _find(
        self, message: InboundMessage
    ) -> tuple[Entry[InT, OutT, ProjT] | None, LogEntry[InT, OutT] | None]:
        """Find the node of an applied message, and the message in the log of that node."""
        headers = message.transport_headers
        message_id = headers.get(names.CODEC_MESSAGE_ID)
        keys = (headers.get(names.RUN_ID), message_id and self._index.key_of_message(message_id))
        for key in keys:
            entry = self._index.entry(key) if key else None
            logged = entry.log.find(message.serial) if entry is not None and message.serial else None
            if logged is not None:
                return entry, logged
        return None, None
