"""Rebuilds events from messages as the rows of a codec's tables say."""

from collections.abc import Iterable, Sequence
from typing import Generic, Never, cast

from ably_ai_transport.codec.contract import Decoded, Decoder, InT, OutT, Payload, StreamState
from ably_ai_transport.codec.decoder import DecoderCore
from ably_ai_transport.codec.table.fields import PART_TYPE, kind_of, read_fields
from ably_ai_transport.codec.table.index import INPUT_CLASSES, Tables
from ably_ai_transport.codec.table.lead_in import LifecycleTracker
from ably_ai_transport.codec.table.rows import BatchRow, InputRow, LeadIn, Rebuilt, SignalRow
from ably_ai_transport.wire import InboundMessage, names
from ably_ai_transport.wire.messages import Headers


class _LeadInRules(Generic[OutT]):
    """Applies a codec's :class:`LeadIn` to what one decoder sees."""

    def __init__(self, lead_in: LeadIn[OutT]) -> None:
        self._lead_in = lead_in
        self._tracker = LifecycleTracker(lead_in.phases)

    def before_stream(self, stream: StreamState) -> Sequence[OutT]:
        run_id = stream.transport_headers.get(names.RUN_ID, "")
        events = self._tracker.ensure_phases(run_id, stream.codec_headers)
        if self._lead_in.before_stream is not None:
            events.extend(self._lead_in.before_stream(stream.codec_headers))
        return events

    def before_discrete(self, kind: str, payload: Payload) -> Sequence[OutT]:
        run_id = payload.transport_headers.get(names.RUN_ID, "")
        rules = self._lead_in
        if kind in rules.marks:
            self._tracker.mark_emitted(run_id, rules.marks[kind])
        if kind in rules.resets:
            self._tracker.reset_phase(run_id, rules.resets[kind])
        if kind in rules.clears:
            self._tracker.clear_scope(run_id)
        if kind in rules.needed_by:
            return self._tracker.ensure_phases(run_id, payload.codec_headers)
        return ()


class TableHooks(Generic[InT, OutT]):
    """The decoder core's hooks for a codec made of tables.

    Attributes:
        made_up: The lead-in of the stream that was opened last.
    """

    def __init__(self, tables: Tables[OutT], lead_in: LeadIn[OutT] | None) -> None:
        self._outputs = tables.outputs
        self._inputs = tables.inputs
        self._shape = tables.shape
        self._rules = None if lead_in is None else _LeadInRules(lead_in)
        self.made_up: Sequence[OutT] = ()

    def _build(self, rebuilt: Iterable[Rebuilt]) -> list[InT | OutT]:
        return [self._shape.build(kind, values) for kind, values in rebuilt]

    def build_start_events(self, stream: StreamState) -> Sequence[InT | OutT]:
        """Rebuild the event that opened a stream, with the lead-in that it lacks."""
        # Only outputs stream: a stream under another name would be taken for one and land among the inputs.
        row = self._outputs.streams.get(kind_of(stream.codec_headers))
        if row is None or stream.name != names.AI_OUTPUT:
            return ()
        start = self._shape.build(row.start, read_fields(row.fields, stream.codec_headers))
        if self._rules is None:
            return (start,)
        self.made_up = self._rules.before_stream(stream)
        return [*self.made_up, start]

    def build_delta_events(self, stream: StreamState, delta: str) -> Sequence[InT | OutT]:
        """Rebuild the event of a piece of text."""
        headers = stream.codec_headers
        row = self._outputs.streams.get(kind_of(headers))
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
        """Rebuild the event that completed a stream."""
        row = self._outputs.streams.get(kind_of(stream.codec_headers))
        if row is None or stream.name != names.AI_OUTPUT:
            return ()
        if row.decode_end is not None:
            return self._build(row.decode_end(stream, closing_codec_headers))
        return (self._shape.build(row.end, read_fields(row.fields, closing_codec_headers)),)

    def decode_discrete(self, payload: Payload) -> Sequence[InT | OutT]:
        """Rebuild the events of a message in one piece."""
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


class TableDecoder(Decoder[InT, OutT]):
    """A decoder of a codec made of tables."""

    def __init__(self, tables: Tables[OutT], lead_in: LeadIn[OutT] | None) -> None:
        self._hooks = TableHooks[InT, OutT](tables, lead_in)
        self._core: DecoderCore[InT | OutT] = DecoderCore(self._hooks)
        self._lead_ins: dict[str | None, Sequence[OutT]] = {}

    def decode(self, message: InboundMessage) -> Decoded[InT, OutT]:
        """Decode one delivery."""
        decoded = self._core.decode(message)
        events = decoded.events
        if not events:
            return Decoded(replaces=True) if decoded.replaces else _NOTHING
        # A message's name fixes the direction of everything in it.
        if message.name == names.AI_INPUT:
            return Decoded(inputs=cast("Sequence[InT]", events), replaces=decoded.replaces)
        made_up, self._hooks.made_up = self._hooks.made_up, ()
        if made_up:
            self._lead_ins[message.serial] = made_up
        elif decoded.replaces:
            # The lead-in was decoded from the same message: it is replaced too, and has to come again.
            events = [*self._lead_ins.get(message.serial, ()), *events]
        return Decoded(outputs=cast("Sequence[OutT]", events), replaces=decoded.replaces)


_NOTHING: Decoded[Never, Never] = Decoded()
