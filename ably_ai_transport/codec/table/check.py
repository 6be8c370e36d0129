"""Checks a codec's tables for mistakes that would lose or misroute events."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar, cast

from ably_ai_transport.codec.table.fields import RESERVED_KEYS, EnumField, Field
from ably_ai_transport.codec.table.index import INPUT_CLASSES
from ably_ai_transport.codec.table.lead_in import LeadIn
from ably_ai_transport.codec.table.rows import (
    WILDCARD,
    BatchRow,
    Data,
    DropRow,
    EventRow,
    InputRow,
    InputTableRow,
    OutputRow,
    StreamRow,
)
from ably_ai_transport.wire import InvalidArgumentError

T = TypeVar("T")


def _mistake(what: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"unable to define codec; {what}")


class _Names:
    """Names that must be unique."""

    def __init__(self, what: str) -> None:
        self._what = what
        self.owners: dict[str, str] = {}

    def take(self, name: str, owner: str) -> None:
        if not name:
            raise _mistake(f"{owner} has an empty {self._what}")
        if name in self.owners:
            raise _mistake(f"{self._what} '{name}' is declared by both {self.owners[name]} and {owner}")
        self.owners[name] = owner


def _check_wildcard(kind: str, owner: str, *, allowed: bool = True) -> None:
    if "*" not in kind:
        return
    if not allowed:
        raise _mistake(f"{owner} cannot be a wildcard")
    if not kind.endswith(WILDCARD) or "*" in kind[:-1] or kind == WILDCARD:
        raise _mistake(f"{owner} is not a wildcard; one ends in '{WILDCARD}' after a beginning")


def _check_fields(fields: Sequence[Field], owner: str, discriminator: str) -> None:
    keys = _Names("field")
    for field in fields:
        keys.take(field.key, f"{owner}, field '{field.key}'")
        if field.key in RESERVED_KEYS:
            raise _mistake(f"{owner} has a field '{field.key}'; that header names rows")
        if field.key == discriminator:
            raise _mistake(f"{owner} has a field '{field.key}'; that is where an event's kind stands")
        if isinstance(field, EnumField):
            if not field.allowed:
                raise _mistake(f"{owner}, field '{field.key}' allows no value")
            if field.default is not None and field.default not in field.allowed:
                raise _mistake(f"{owner}, field '{field.key}' does not allow its default '{field.default}'")


def _check_storable(data: Data | None, owner: str) -> None:
    if data is not None:
        _check_places(data.storable, owner)


def _check_places(places: object, owner: str) -> None:
    if not isinstance(places, tuple):
        raise _mistake(f"{owner} names its storable places in a {type(places).__name__}, not in a tuple")
    steps = [str(place).split(".") if place else [] for place in cast("tuple[object, ...]", places)]
    for index, one in enumerate(steps):
        if "" in one:
            raise _mistake(f"{owner} has a storable place with an empty key: '{'.'.join(one)}'")
        if any(one[: len(other)] == other for at, other in enumerate(steps) if at != index):
            raise _mistake(f"{owner} has a storable place '{'.'.join(one)}' inside of another one")


def _check_stream(row: StreamRow, owner: str, discriminator: str) -> None:
    for phase, kind in (("start", row.start), ("delta", row.delta), ("end", row.end)):
        _check_wildcard(kind, f"{owner}, {phase} '{kind}'", allowed=False)
    keys = {field.key for field in row.fields}
    for key in row.delta_keys:
        if key not in keys:
            raise _mistake(f"{owner} repeats '{key}' on deltas, which is not among its fields")
    if not row.text:
        raise _mistake(f"{owner} names no field for a delta's text")
    if row.text in (*row.delta_keys, discriminator):
        raise _mistake(f"{owner} has two uses for a delta's '{row.text}'")
    if row.stream_id == "":
        raise _mistake(f"{owner} has an empty stream_id")
    if row.encode_end is not None and row.decode_end is None:
        raise _mistake(f"{owner} has encode_end without decode_end: no reader could decode its end")


def check_outputs(rows: Iterable[OutputRow], discriminator: str) -> None:
    """Refuse output rows that contradict each other or themselves.

    Args:
        rows: The table.
        discriminator: The event's field that holds its kind.

    Raises:
        InvalidArgumentError: A row has a mistake (40003). The message names the row and the field.
    """
    wire = _Names("wire kind")
    # Several streams, and one event, may share a kind of start. Every other kind of event has one row.
    events = _Names("event kind")
    starts: dict[str, str] = {}
    phases: dict[str, str] = {}
    for row in rows:
        match row:
            case EventRow():
                owner = f"output event '{row.kind}'"
                _check_wildcard(row.kind, owner)
                events.take(row.kind, owner)
                wire.take(row.kind, owner)
                _check_fields(row.fields, owner, discriminator)
                _check_storable(row.data, owner)
            case StreamRow():
                owner = f"output stream '{row.kind}'"
                _check_wildcard(row.kind, owner, allowed=False)
                wire.take(row.kind, owner)
                if not row.start:
                    raise _mistake(f"{owner} names no start")
                starts[row.start] = owner
                for kind in (row.delta, row.end):
                    events.take(kind, owner)
                    phases[kind] = owner
                _check_fields(row.fields, owner, discriminator)
                _check_stream(row, owner, discriminator)
            case DropRow():
                owner = f"dropped output '{row.kind}'"
                _check_wildcard(row.kind, owner, allowed=False)
                events.take(row.kind, owner)
    for kind, owner in starts.items():
        if kind in phases:
            raise _mistake(f"start '{kind}' of {owner} is a delta or an end of {phases[kind]}")


def check_inputs(rows: Iterable[InputTableRow]) -> None:
    """Refuse input rows that contradict each other or themselves.

    Args:
        rows: The table.

    Raises:
        InvalidArgumentError: A row has a mistake (40003). The message names the row and the field.
    """
    kinds = _Names("input kind")
    for row in rows:
        owner = f"input '{row.kind}'"
        _check_wildcard(row.kind, owner, allowed=False)
        kinds.take(row.kind, owner)
        match row:
            case InputRow():
                _check_fields(row.fields, owner, "")
                _check_storable(row.data, owner)
                if row.build is None and row.kind not in INPUT_CLASSES:
                    raise _mistake(f"{owner} needs a build function")
            case BatchRow():
                parts = _Names("part kind")
                if not row.parts:
                    raise _mistake(f"{owner} has no parts")
                for part in row.parts:
                    part_owner = f"{owner}, part '{part.kind}'"
                    _check_wildcard(part.kind, part_owner)
                    parts.take(part.kind, part_owner)
                    _check_fields(part.fields, part_owner, row.discriminator)
                    _check_storable(part.data, part_owner)
            case _:
                pass


def check_lead_in(lead_in: LeadIn[T], rows: Iterable[OutputRow]) -> None:
    """Refuse a lead-in that names unknown phases or rows.

    Args:
        lead_in: The lead-in.
        rows: The output table.

    Raises:
        InvalidArgumentError: A rule has a mistake (40003). The message names it.
    """
    phases = _Names("phase")
    for phase in lead_in.phases:
        phases.take(phase.key, f"lead-in phase '{phase.key}'")
    kinds = {row.kind for row in rows if not isinstance(row, DropRow)}
    rules: Mapping[str, Mapping[str, str]] = {"marks": lead_in.marks, "resets": lead_in.resets}
    for rule, entries in rules.items():
        for kind, key in entries.items():
            if key not in phases.owners:
                raise _mistake(f"lead-in {rule} '{kind}' names the unknown phase '{key}'")
    for rule, named in (*rules.items(), ("clears", lead_in.clears), ("needed_by", lead_in.needed_by)):
        for kind in named:
            if kind not in kinds:
                raise _mistake(f"lead-in {rule} names '{kind}', which no row has")
