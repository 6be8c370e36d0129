"""Writes events by the rows of a codec's tables."""

from collections.abc import Callable, Iterable
from typing import cast

from ably_ai_transport.codec.appends import OutgoingStream
from ably_ai_transport.codec.contract import (
    ChannelWriter,
    Encoder,
    EncoderOptions,
    EncoderStats,
    InT,
    OutT,
    Payload,
    WriteOptions,
)
from ably_ai_transport.codec.encoder import EncoderCore
from ably_ai_transport.codec.table.fields import PART_TYPE, Field, write_fields
from ably_ai_transport.codec.table.index import Tables
from ably_ai_transport.codec.table.rows import (
    BatchHeaders,
    BatchRow,
    Data,
    EncodeContext,
    InputRow,
    SignalRow,
    StreamRow,
    Values,
)
from ably_ai_transport.wire import InvalidArgumentError, names


def _header_builder(fields: tuple[Field, ...], kind: str) -> Callable[..., dict[str, str]]:
    def headers(values: Values, keys: Iterable[str] | None = None) -> dict[str, str]:
        return write_fields(fields, kind, values, keys)

    return headers


def _storable(data: Data | None) -> tuple[str, ...]:
    return () if data is None else data.storable


def _stream_id(row: StreamRow, kind: str, values: Values) -> str:
    source = row.stream_id
    stream_id = values.get(source) if isinstance(source, str) else source(values)
    if not isinstance(stream_id, str):
        what = f"'{source}' is not a string" if isinstance(source, str) else "it has no stream id"
        raise InvalidArgumentError(f"unable to publish '{kind}'; {what}")
    return stream_id


class TableEncoder(Encoder[InT, OutT]):
    """An encoder of a codec made of tables."""

    def __init__(
        self, tables: Tables[OutT], writer: ChannelWriter, options: EncoderOptions | None = None
    ) -> None:
        self._outputs = tables.outputs
        self._inputs = tables.inputs
        self._shape = tables.shape
        self._message_id = None if options is None else options.message_id
        self._core = EncoderCore(writer, options)

    @property
    def stats(self) -> EncoderStats:
        """The counters so far."""
        return self._core.stats

    @property
    def has_gaps(self) -> bool:
        """Whether a live follower of the npm package may have a text with a gap."""
        return self._core.has_gaps

    async def publish_output(self, event: OutT, options: WriteOptions | None = None) -> None:
        """Publish an output through its row."""
        kind = self._shape.kind_of(event)
        if kind is None:
            raise InvalidArgumentError(f"unable to publish output; {self._shape.discriminator} is missing")
        values = self._shape.values_of(event)
        table = self._outputs
        delta = table.deltas.get(kind)
        if delta is not None:
            full = self._append(delta, kind, values)
            if full is not None:
                await self._core.wait_for_room(full)
            return
        starts = table.starts.get(kind)
        if starts is not None:
            row = next((row for row in starts if row.starts is None or row.starts(values)), None)
            if row is not None:
                payload = Payload(names.AI_OUTPUT, "", write_fields(row.fields, row.kind, values))
                await self._core.start_stream(_stream_id(row, kind, values), payload, options)
                return
        end = table.ends.get(kind)
        if end is not None:
            await self._close(end, kind, values, options)
            return
        await self._publish(kind, values, options)

    def _append(self, row: StreamRow, kind: str, values: Values) -> OutgoingStream | None:
        text = values.get(row.text)
        if not isinstance(text, str):
            raise InvalidArgumentError(f"unable to publish '{kind}'; '{row.text}' is not a string")
        return self._core.write_stream(_stream_id(row, kind, values), text)

    async def _close(self, row: StreamRow, kind: str, values: Values, options: WriteOptions | None) -> None:
        if row.encode_end is not None:
            await row.encode_end(values, self._context(row.fields, row.kind, options))
            return
        payload = Payload(names.AI_OUTPUT, "", write_fields(row.fields, row.kind, values))
        await self._core.close_stream(_stream_id(row, kind, values), payload)

    async def _publish(self, kind: str, values: Values, options: WriteOptions | None) -> None:
        table = self._outputs
        if kind in table.dropped and kind not in table.events:
            return
        row = table.event(kind)
        if row is None:
            raise InvalidArgumentError(f"unable to publish output; the codec has no row for '{kind}'")
        if row.encode is not None:
            await row.encode(values, self._context(row.fields, kind, options))
            return
        payload = Payload(
            names.AI_OUTPUT,
            "" if row.data is None else row.data.encode(values),
            write_fields(row.fields, kind, values),
            ephemeral=row.ephemeral is not None and row.ephemeral(values),
            storable=_storable(row.data),
        )
        await self._core.publish_discrete(payload, options)

    def _context(self, fields: tuple[Field, ...], kind: str, options: WriteOptions | None) -> EncodeContext:
        return EncodeContext(
            self._core, names.AI_OUTPUT, _header_builder(fields, kind), self._message_id, options
        )

    async def publish_input(self, event: InT, options: WriteOptions | None = None) -> None:
        """Publish an input through its row."""
        kind = cast("object", getattr(event, "kind", None))
        row = self._inputs.rows.get(kind) if isinstance(kind, str) else None
        match row:
            case None:
                raise InvalidArgumentError(f"unable to publish input; the codec has no row for '{kind}'")
            case SignalRow():
                payload = Payload(names.AI_INPUT, "", write_fields((), row.kind, {}))
                await self._core.publish_discrete(payload, options)
            case InputRow():
                await self._core.publish_discrete(self._input(row, event), options)
            case BatchRow():
                await self._core.publish_discrete_batch(self._batch(row, event), options)

    def _input(self, row: InputRow, event: object) -> Payload:
        values = getattr(event, "payload", None)
        if not hasattr(values, "keys"):
            raise InvalidArgumentError(f"unable to publish input '{row.kind}'; its payload is not a mapping")
        values = cast("Values", values)
        return Payload(
            names.AI_INPUT,
            "" if row.data is None else row.data.encode(values),
            write_fields(row.fields, row.kind, values),
            storable=_storable(row.data),
        )

    def _batch(self, row: BatchRow, event: object) -> list[Payload]:
        try:
            shared = BatchHeaders() if row.headers is None else row.headers(event)
            parts = list(row.explode(event))
        except (AttributeError, KeyError, TypeError) as error:
            raise InvalidArgumentError(
                f"unable to publish input '{row.kind}'; it does not have the codec's form"
                f" (build it by the codec's create_… method): {error!r}",
                cause=error,
            ) from error
        payloads: list[Payload] = []
        for values in parts:
            kind = values.get(row.discriminator)
            part = self._inputs.part(row, kind) if isinstance(kind, str) else None
            if part is None or not isinstance(kind, str):
                continue
            headers = {**write_fields(part.fields, row.kind, values), **shared.codec, PART_TYPE: kind}
            data = "" if part.data is None else part.data.encode(values)
            payloads.append(
                Payload(names.AI_INPUT, data, headers, shared.transport, storable=_storable(part.data))
            )
        if not payloads:
            # A message without parts still has an id, a role and a position.
            headers = {**write_fields((), row.kind, {}), **shared.codec}
            payloads.append(Payload(names.AI_INPUT, "", headers, shared.transport))
        return payloads

    async def cancel_streams(self) -> None:
        """Close all open streams as cancelled."""
        await self._core.cancel_all_streams()

    async def flush(self) -> None:
        """Wait for all acks and repairs."""
        await self._core.flush()

    async def close(self) -> None:
        """Flush and refuse further writes."""
        await self._core.close()
