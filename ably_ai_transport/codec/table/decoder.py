"""Rebuilds events from messages by the rows of a codec's tables."""

from collections.abc import Iterable, Sequence
from typing import Generic, cast

from ably_ai_transport.codec.contract import InT, OutT, Payload, StreamState
from ably_ai_transport.codec.decoder import DecoderCore
from ably_ai_transport.codec.table.fields import KIND, PART_TYPE, kind_of, read_fields
from ably_ai_transport.codec.table.index import INPUT_CLASSES, Tables
from ably_ai_transport.codec.table.lead_in import LeadIn, LeadInRules
from ably_ai_transport.codec.table.rows import BatchRow, InputRow, Rebuilt, SignalRow
from ably_ai_transport.wire import names
from ably_ai_transport.wire.messages import Headers


class TableHooks(Generic[InT, OutT]):
    """The decoder core's hooks for a codec made of tables."""

    def __init__(self, tables: Tables[OutT], lead_in: LeadIn[OutT] | None) -> None:
        self._outputs = tables.outputs
        self._inputs = tables.inputs
        self._shape = tables.shape
        self._rules = None if lead_in is None else LeadInRules(lead_in)

    def _build(self, rebuilt: Iterable[Rebuilt]) -> list[InT | OutT]:
        return [self._shape.build(kind, values) for kind, values in rebuilt]

    def build_start_events(self, stream: StreamState) -> Sequence[InT | OutT]:
        """Rebuild the start of a stream, after the lead-in that it lacks."""
        # Only outputs stream. A stream under another name is not one of them.
        row = self._outputs.streams.get(kind_of(stream.codec_headers))
        if row is None or stream.name != names.AI_OUTPUT:
            return ()
        start = self._shape.build(row.start, read_fields(row.fields, stream.codec_headers))
        if self._rules is None:
            return (start,)
        return [*self._rules.before_stream(stream), start]

    def build_delta_events(self, stream: StreamState, delta: str) -> Sequence[InT | OutT]:
        """Rebuild the event of a piece of text."""
        headers = stream.codec_headers
        row = self._outputs.streams.get(headers.get(KIND) or kind_of(headers))
        if row is None or stream.name != names.AI_OUTPUT:
            return ()
        if row.decode_delta is not None:
            return self._build(row.decode_delta(stream, delta))
        values: dict[str, object] = {}
        for field in self._outputs.delta_fields[row.kind]:
            value = field.read(headers)
            if value is not None:
                values[field.key] = value
        values[row.text] = delta
        return (self._shape.build(row.delta, values),)

    def build_end_events(self, stream: StreamState, closing_codec_headers: Headers) -> Sequence[InT | OutT]:
        """Rebuild the end of a stream."""
        row = self._outputs.streams.get(kind_of(stream.codec_headers))
        if row is None or stream.name != names.AI_OUTPUT:
            return ()
        if row.decode_end is not None:
            return self._build(row.decode_end(stream, closing_codec_headers))
        return (self._shape.build(row.end, read_fields(row.fields, closing_codec_headers)),)

    def decode_discrete(self, payload: Payload) -> Sequence[InT | OutT]:
        """Rebuild the events of a discrete message."""
        kind = kind_of(payload.codec_headers)
        if payload.name == names.AI_INPUT:
            return self._decode_input(kind, payload)
        if payload.name == names.AI_OUTPUT:
            lead_in = () if self._rules is None else self._rules.before_discrete(kind, payload)
            return [*lead_in, *self._decode_output(kind, payload)]
        return ()

    def _decode_output(self, kind: str, payload: Payload) -> Sequence[InT | OutT]:
        table = self._outputs
        row = table.events.get(kind)
        stream = table.streams.get(kind)
        if row is None and stream is not None and stream.decode_discrete is not None:
            return self._build(stream.decode_discrete(payload))
        row = row or table.event(kind)
        if row is None:
            return ()
        if row.decode is not None:
            return self._build(row.decode(payload))
        values = read_fields(row.fields, payload.codec_headers)
        if row.data is not None:
            values.update(row.data.decode(payload.data))
        return (self._shape.build(kind, values),)

    def _decode_input(self, kind: str, payload: Payload) -> Sequence[InT | OutT]:
        headers = payload.codec_headers
        match self._inputs.rows.get(kind):
            case None | SignalRow():
                return ()
            case InputRow() as row:
                values = read_fields(row.fields, headers)
                if row.data is not None:
                    values.update(row.data.decode(payload.data))
                codec_message_id = payload.transport_headers.get(names.CODEC_MESSAGE_ID, "")
                build = row.build or INPUT_CLASSES[kind]
                return (cast("InT", build(codec_message_id, values)),)
            case BatchRow() as row:
                part_type = headers.get(PART_TYPE, "")
                part = self._inputs.part(row, part_type)
                if part is None:
                    return ()
                values = read_fields(part.fields, headers)
                if part.data is not None:
                    values.update(part.data.decode(payload.data))
                values[row.discriminator] = part_type
                return (cast("InT", row.assemble(values, payload)),)

    def unknown_kind(self, payload: Payload) -> str | None:
        """Return the kind of a message that no row matches; None if a row matches it."""
        kind = kind_of(payload.codec_headers)
        if payload.name == names.AI_OUTPUT:
            table = self._outputs
            known = kind in table.streams or kind in table.dropped or table.event(kind) is not None
            return None if known else kind
        if payload.name != names.AI_INPUT:
            return None
        row = self._inputs.rows.get(kind)
        if row is None:
            return kind
        part_type = payload.codec_headers.get(PART_TYPE)
        if isinstance(row, BatchRow) and part_type and self._inputs.part(row, part_type) is None:
            return f"{kind}/{part_type}"
        return None


class TableDecoder(DecoderCore[InT, OutT]):
    """The decoder of a codec made of tables."""

    def __init__(self, tables: Tables[OutT], lead_in: LeadIn[OutT] | None) -> None:
        hooks = TableHooks[InT, OutT](tables, lead_in)
        super().__init__(hooks, unknown=hooks.unknown_kind)
