"""Folding: from the messages of a node to its projection.

A message that continues the projection is folded onto it. One that comes late, replaces another, or
supersedes an attempt rebuilds the projection from the node's log.
"""

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

from ably_ai_transport.codec.contract import (
    Codec,
    Decoded,
    FoldMeta,
    InputEvent,
    InT,
    InT_co,
    MsgT,
    OutputEvent,
    OutT,
    OutT_co,
    ProjT,
)
from ably_ai_transport.conversation.index import Entry
from ably_ai_transport.conversation.lifecycle import TERMINAL
from ably_ai_transport.conversation.log import LogEntry, Recorded
from ably_ai_transport.conversation.nodes import RunNode
from ably_ai_transport.wire import Headers, names

logger = logging.getLogger("ably_ai_transport.conversation")

_COMPACT_FROM = 8
"""The number of events from which a refold compacts a message first."""


@dataclass(frozen=True, slots=True)
class Delivery(Generic[InT_co, OutT_co]):
    """One delivery of an input or output, decoded.

    Attributes:
        decoded: Its events.
        headers: The transport headers of its message.
        serial: Serial of the message; None for a preview of a message that is about to be published.
        timestamp: The time of the message's creation, in milliseconds since the epoch.
        version: Serial of the delivered version.
        client_id: The publisher of the message, as Ably verified it.
        event: The event of an input, and its place in a batch; None where they are not known.
    """

    decoded: Decoded[InT_co, OutT_co]
    headers: Headers
    serial: str | None = None
    timestamp: int | None = None
    version: str | None = None
    client_id: str | None = None
    event: tuple[str, str] | None = None


class Folding(Generic[InT, OutT, ProjT, MsgT]):
    """Keeps projections in step with logs, and sweeps logs that no late message can concern.

    Args:
        codec: Folds events.
        reorder_window_ms: How long a finished run's log is kept after its last message, in milliseconds of
            message time.
    """

    def __init__(self, codec: Codec[InT, OutT, ProjT, MsgT], reorder_window_ms: int) -> None:
        self._codec = codec
        self._window = reorder_window_ms
        self._clock = 0
        self._sweepable: deque[Entry[InT, OutT, ProjT]] = deque()

    def take_in(
        self, entry: Entry[InT, OutT, ProjT], delivery: Delivery[InT, OutT], *, superseded: bool = False
    ) -> None:
        """Take a delivery into a node's log and projection.

        Args:
            entry: The node.
            delivery: The delivery.
            superseded: Whether it does not count (see :meth:`is_superseded`): it is logged and not folded.
        """
        decoded, headers, serial = delivery.decoded, delivery.headers, delivery.serial
        events = events_of(decoded)
        meta = FoldMeta(serial or "", headers.get(names.CODEC_MESSAGE_ID), delivery.client_id)
        if serial is None:
            entry.optimistic = entry.optimistic or bool(events)
            self._fold(entry, events, meta)
        elif events or decoded.replaces:
            recorded = entry.log.record(
                serial,
                meta,
                events,
                version=delivery.version,
                streamed=headers.get(names.STREAM) == "true",
                replaces=decoded.replaces,
            )
            self._follow(entry, recorded, events, meta, superseded=superseded)

    def grow(
        self,
        entry: Entry[InT, OutT, ProjT],
        logged: LogEntry[InT, OutT],
        decoded: Decoded[InT, OutT],
        version: str | None,
        *,
        superseded: bool,
    ) -> None:
        """Take in a further version of a message that grows by appends.

        Args:
            entry: The node.
            logged: The message's entry in the node's log.
            decoded: The events that the version adds.
            version: Serial of the version.
            superseded: As for :meth:`take_in`.
        """
        events = events_of(decoded)
        if events or decoded.replaces:
            recorded = entry.log.extend(logged, events, version=version, replaces=decoded.replaces)
            self._follow(entry, recorded, events, logged.meta, superseded=superseded)

    def _follow(
        self,
        entry: Entry[InT, OutT, ProjT],
        recorded: Recorded,
        events: Sequence[InputEvent[InT] | OutputEvent[OutT]],
        meta: FoldMeta,
        *,
        superseded: bool,
    ) -> None:
        """Bring the projection to where the log is."""
        if recorded is Recorded.DROPPED:
            return
        if not entry.log.swept and (entry.optimistic or recorded is Recorded.OUT_OF_ORDER):
            # The echo of a preview brings the same content again: only the log counts from here on.
            entry.optimistic = False
            self.refold(entry)
        elif not superseded:
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
            except Exception:  # a codec's code may be a user's
                logger.exception(
                    "The codec could not fold an event; the event is left out",
                    extra={"run": node.key, "serial": meta.serial},
                )

    def compact(self, logged: LogEntry[InT, OutT]) -> None:
        """Shorten the log of a stream; its events fold to the same."""
        outputs = [event.event for event in logged.events if isinstance(event, OutputEvent)]
        if len(outputs) < len(logged.events):
            return
        try:
            logged.events[:] = map(OutputEvent, self._codec.compact_outputs(outputs))
        except Exception:  # a codec's code may be a user's
            logger.exception("The codec could not compact a stream", extra={"serial": logged.serial})

    def refold(self, entry: Entry[InT, OutT, ProjT]) -> None:
        """Rebuild a projection from its log."""
        logger.debug("Rebuilding a projection from its log", extra={"run": entry.node.key})
        entry.node.projection = self._codec.init()
        for logged in entry.log:
            if not self.is_superseded(entry, logged.serial):
                if len(logged.events) > _COMPACT_FROM:
                    # Of two streams that grow at once, each append to the earlier one leads here.
                    self.compact(logged)
                self._fold(entry, logged.events, logged.meta)

    @staticmethod
    def is_superseded(entry: Entry[InT, OutT, ProjT], serial: str) -> bool:
        """Tell whether a message does not count.

        An attempt that is not canonical published an output, or an input is a copy or words of a stranger.
        """
        if entry.steps is not None and entry.steps.is_superseded(serial):
            return True
        return entry.inputs is not None and entry.inputs.is_left_out(serial)

    def touch(self, entry: Entry[InT, OutT, ProjT], timestamp: int | None) -> None:
        """Note the time of a node's message; the clock moves with the messages."""
        if timestamp is None:
            return
        entry.last_activity = max(entry.last_activity, timestamp)
        if timestamp > self._clock:
            self._clock = timestamp
            self._sweep()

    def queue_sweep(self, entry: Entry[InT, OutT, ProjT]) -> None:
        """Sweep a log some time after its run is complete: start and end seen, no step open."""
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
            entry.sweep_queued = False
            if not entry.log.expected:
                entry.log.sweep()


def events_of(decoded: Decoded[InT, OutT]) -> list[InputEvent[InT] | OutputEvent[OutT]]:
    """Return the events of a delivery as they are folded: inputs first."""
    return [*map(InputEvent, decoded.inputs), *map(OutputEvent, decoded.outputs)]
