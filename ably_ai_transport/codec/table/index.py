"""A codec's tables, indexed for encoders and decoders."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic

from ably_ai_transport.codec.contract import OutT
from ably_ai_transport.codec.inputs import ToolApprovalResponse, ToolResult, ToolResultError
from ably_ai_transport.codec.table.rows import (
    BatchRow,
    DropRow,
    EventRow,
    EventShape,
    InputTableRow,
    OutputRow,
    PartRow,
    StreamRow,
    match_wildcard,
)

INPUT_CLASSES: dict[str, Callable[[str, dict[str, object]], object]] = {
    "tool-result": ToolResult,
    "tool-result-error": ToolResultError,
    "tool-approval-response": ToolApprovalResponse,
}
"""The classes of inputs whose :class:`InputRow` has no ``build``."""


class OutputTable:
    """The output rows, indexed by kind of event."""

    def __init__(self, rows: Sequence[OutputRow]) -> None:
        self.starts: dict[str, list[StreamRow]] = {}
        self.deltas: dict[str, StreamRow] = {}
        self.ends: dict[str, StreamRow] = {}
        self.events: dict[str, EventRow] = {}
        self.dropped: set[str] = set()
        self.delta_fields = {
            row.kind: tuple(field for field in row.fields if field.key in row.delta_keys)
            for row in rows
            if isinstance(row, StreamRow)
        }
        self.streams: dict[str, StreamRow] = {}
        for row in rows:
            match row:
                case StreamRow():
                    self.streams[row.kind] = row
                    self.starts.setdefault(row.start, []).append(row)
                    self.deltas[row.delta] = row
                    self.ends[row.end] = row
                case EventRow():
                    self.events[row.kind] = row
                case DropRow():
                    self.dropped.add(row.kind)

    def event(self, kind: str) -> EventRow | None:
        """Return the row of a discrete event: its own, or the wildcard that matches it."""
        row = self.events.get(kind)
        if row is None:
            wildcard = match_wildcard(kind, self.events)
            row = None if wildcard is None else self.events[wildcard]
        return row


class InputTable:
    """The input rows, indexed by kind."""

    def __init__(self, rows: Iterable[InputTableRow]) -> None:
        self.rows = {row.kind: row for row in rows}
        self._parts = {
            row.kind: {part.kind: part for part in row.parts}
            for row in self.rows.values()
            if isinstance(row, BatchRow)
        }

    def part(self, row: BatchRow, kind: str) -> PartRow | None:
        """Return the row of a part: its own, or the wildcard that matches it."""
        parts = self._parts[row.kind]
        part = parts.get(kind)
        if part is None:
            wildcard = match_wildcard(kind, parts)
            part = None if wildcard is None else parts[wildcard]
        return part


@dataclass(frozen=True)
class Tables(Generic[OutT]):
    """A codec's tables, checked and indexed."""

    shape: EventShape[OutT]
    outputs: OutputTable
    inputs: InputTable
