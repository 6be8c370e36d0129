"""Checks of the chunks of a reply."""

from collections.abc import Iterable

from ably_ai_transport_vercel import UIMessageChunk, UIMessageCodec, text_of

from ably_ai_transport.codec.contract import FoldMeta, OutputEvent


def check_reply(chunks: Iterable[UIMessageChunk]) -> str:
    """Check that chunks make one whole reply; return its text."""
    chunks = list(chunks)
    kinds = [chunk["type"] for chunk in chunks]
    assert kinds[:2] == ["start", "start-step"]
    assert kinds[-2:] == ["finish-step", "finish"]
    is_open: dict[str, str] = {}
    seen: set[str] = set()
    for chunk in chunks[2:-2]:
        kind, _, what = chunk["type"].partition("-")
        if kind in ("tool", "source", "file"):
            continue
        assert kind in ("text", "reasoning")
        part_id = str(chunk.get("id"))
        if what == "start":
            assert part_id not in seen
            seen.add(part_id)
            is_open[part_id] = kind
        else:
            assert is_open[part_id] == kind
        if what == "end":
            del is_open[part_id]
        elif what == "delta":
            assert chunk.get("delta")
    assert not is_open
    text = "".join(str(chunk.get("delta")) for chunk in chunks if chunk["type"] == "text-delta")
    assert folded_text(chunks) == text
    return text


def folded_text(chunks: Iterable[UIMessageChunk]) -> str:
    """Fold chunks as a client would, and return the text of the message."""
    codec = UIMessageCodec()
    projection = codec.init()
    for chunk in chunks:
        projection = codec.fold(projection, OutputEvent(chunk), FoldMeta("1", "reply"))
    [shown] = codec.get_messages(projection)
    return text_of(shown.message)
