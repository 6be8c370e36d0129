"""Folding: from the messages of a node to its projection.

What continues the projection is folded onto it. What comes late, replaces something, or supersedes an
attempt makes the projection be built again from the node's log.
"""

import logging
from collections import deque
from collections.abc import Sequence
from typing import Generic

from ably_ai_transport.codec.contract import (
    Codec,
    Decoded,
    FoldMeta,
    InputEvent,
    InT,
    MsgT,
    OutputEvent,
    OutT,
    ProjT,
)
from ably_ai_transport.conversation.index import Entry
from ably_ai_transport.conversation.log import Recorded
from ably_ai_transport.conversation.nodes import TERMINAL, RunNode
from ably_ai_transport.wire import Headers, names

logger = logging.getLogger("ably_ai_transport.conversation")


class Folding(Generic[InT, OutT, ProjT, MsgT]):
    """Keeps projections in step with logs, and lets go of logs that nothing can come late for.

    Args:
        codec: Folds events.
        reorder_window_ms: How long a finished run's log is kept after its last message.
    """

    def __init__(self, codec: Codec[InT, OutT, ProjT, MsgT], reorder_window_ms: int) -> None:
        self._codec = codec
        self._window = reorder_window_ms
        self._clock = 0
        self._sweepable: deque[Entry[InT, OutT, ProjT]] = deque()

    def take_in(
        self,
        entry: Entry[InT, OutT, ProjT],
        decoded: Decoded[InT, OutT],
        headers: Headers,
        serial: str | None,
        version: str | None,
    ) -> None:
        """Take a message into a node's log and projection.

        Args:
            entry: The node.
            decoded: What the message says.
            headers: Its transport headers.
            serial: Its serial; None for an optimistic one.
            version: Serial of the delivered version.
        """
        events: list[InputEvent[InT] | OutputEvent[OutT]] = [InputEvent(event) for event in decoded.inputs]
        events += [OutputEvent(event) for event in decoded.outputs]
        meta = FoldMeta(serial or "", headers.get(names.CODEC_MESSAGE_ID))
        if serial is None:
            entry.optimistic = entry.optimistic or bool(events)
            self._fold(entry, events, meta)
            return
        if not events and not decoded.replaces:
            return
        outcome = entry.log.record(
            serial,
            meta,
            events,
            version=version,
            streamed=headers.get(names.STREAM) == "true",
            replaces=decoded.replaces,
        )
        if outcome is Recorded.DROPPED:
            return
        if not entry.log.swept and (entry.optimistic or outcome is Recorded.OUT_OF_ORDER):
            # The echo of a preview brings the same content again: only the log counts from here on.
            entry.optimistic = False
            self.refold(entry)
        elif not self.is_superseded(entry, serial):
            self._fold(entry, events, meta)

    def _fold(
        self,
        entry: Entry[InT, OutT, ProjT],
        events: Sequence[InputEvent[InT] | OutputEvent[OutT]],
        meta: FoldMeta,
    ) -> None:
        node = entry.node
        for event in events:
            try:
                node.projection = self._codec.fold(node.projection, event, meta)
            except Exception:
                logger.exception(
                    "The codec could not fold an event; it is left out", extra={"node": node.key}
                )

    def refold(self, entry: Entry[InT, OutT, ProjT]) -> None:
        """Build a projection again from its log."""
        entry.node.projection = self._codec.init()
        for meta, events in entry.log.replay():
            if not self.is_superseded(entry, meta.serial):
                self._fold(entry, events, meta)

    @staticmethod
    def is_superseded(entry: Entry[InT, OutT, ProjT], serial: str) -> bool:
        """Tell whether a message was published by an attempt that no longer counts."""
        return entry.steps is not None and entry.steps.is_superseded(serial)

    def touch(self, entry: Entry[InT, OutT, ProjT], timestamp: int | None) -> None:
        """Note when a node was last heard of; time moves with the messages."""
        if timestamp is None:
            return
        entry.last_activity = max(entry.last_activity, timestamp)
        if timestamp > self._clock:
            self._clock = timestamp
            self._sweep()

    def queue_sweep(self, entry: Entry[InT, OutT, ProjT]) -> None:
        """Let go of a log some time after its run is complete: start and end seen, no step open."""
        node = entry.node
        if entry.log.swept or entry.sweep_queued or not entry.start_seen:
            return
        if not isinstance(node, RunNode) or node.status not in TERMINAL:
            return
        if entry.steps is not None and entry.steps.has_open_step:
            return
        entry.sweep_queued = True
        self._sweepable.append(entry)

    def _sweep(self) -> None:
        while self._sweepable:
            entry = self._sweepable[0]
            if entry.last_activity + self._window >= self._clock:
                return
            self._sweepable.popleft()
            entry.log.sweep()
