"""Compaction: the deltas of one stream, joined into one."""

from collections.abc import Sequence

from ably_ai_transport.codec.contract import OutT
from ably_ai_transport.codec.table.index import Tables


def join_deltas(tables: Tables[OutT], outputs: Sequence[OutT]) -> Sequence[OutT]:
    """Join neighboring deltas that differ in nothing but their text.

    The channel may join appends in the same way, so a reducer cannot tell the difference.

    Args:
        tables: The codec's tables.
        outputs: Outputs in the order in which they are folded.

    Returns:
        Outputs that fold to the same projection.
    """
    shape, deltas = tables.shape, tables.outputs.deltas
    joined: list[OutT] = []
    last: tuple[str, dict[str, object]] | None = None
    texts: list[str] = []
    field = ""

    def flush() -> None:
        if last is not None and len(texts) > 1:
            kind, rest = last
            joined[-1] = shape.build(kind, {**rest, field: "".join(texts)})
        texts.clear()

    for output in outputs:
        kind = shape.kind_of(output)
        row = None if kind is None else deltas.get(kind)
        values = {} if row is None else dict(shape.values_of(output))
        text = None if row is None else values.pop(row.text, None)
        if kind is None or row is None or not isinstance(text, str):
            flush()
            last = None
            joined.append(output)
        elif last == (kind, values):
            texts.append(text)
        else:
            flush()
            last, field = (kind, values), row.text
            texts.append(text)
            joined.append(output)
    flush()
    return joined
