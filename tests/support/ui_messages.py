"""UI messages without any session: a reader that decodes and folds, and short ways to fold by hand."""

from collections.abc import Iterable, Sequence

from ably_ai_transport_vercel import UIMessage, UIMessageChunk, UIMessageCodec, VercelInput, VercelProjection

from ably_ai_transport.codec import Decoded, FoldMeta, InputEvent, OutputEvent
from ably_ai_transport.wire import InboundMessage

Events = Decoded[VercelInput, UIMessageChunk]

CODEC = UIMessageCodec()


class Follower:
    """Decodes what it is given and folds it in canonical order, one projection for each run.

    As sessions do, it skips versions of a message that it has had.
    """

    def __init__(self) -> None:
        self.decoder = CODEC.create_decoder()
        self._versions: dict[str, str] = {}
        self.log: dict[str, list[tuple[FoldMeta, str, Events]]] = {}

    def read(self, messages: Iterable[InboundMessage]) -> "Follower":
        for message in messages:
            serial, version = message.serial or "", message.version or message.serial or ""
            if version <= self._versions.get(serial, ""):
                continue
            self._versions[serial] = version
            decoded = self.decoder.decode(message)
            if decoded.replaces:
                self.log[serial] = []
            headers = message.transport_headers
            meta = FoldMeta(serial, headers.get("codec-message-id"))
            node = headers.get("run-id") or headers.get("codec-message-id", "")
            self.log.setdefault(serial, []).append((meta, node, decoded))
        return self

    def projections(self) -> Sequence[VercelProjection]:
        nodes: dict[str, VercelProjection] = {}
        for serial in sorted(self.log):
            for meta, node, decoded in self.log[serial]:
                projection = nodes.setdefault(node, CODEC.init())
                for given in decoded.inputs:
                    CODEC.fold(projection, InputEvent(given), meta)
                for output in decoded.outputs:
                    CODEC.fold(projection, OutputEvent(output), meta)
        return list(nodes.values())

    def messages(self) -> dict[str, UIMessage]:
        return {
            item.codec_message_id: item.message
            for projection in self.projections()
            for item in CODEC.get_messages(projection)
        }

    @property
    def outputs(self) -> list[UIMessageChunk]:
        return [chunk for entries in self.log.values() for _, _, d in entries for chunk in d.outputs]

    @property
    def inputs(self) -> list[VercelInput]:
        return [given for entries in self.log.values() for _, _, d in entries for given in d.inputs]


def fold_all(chunks: Iterable[UIMessageChunk], message_id: str = "m") -> VercelProjection:
    """Fold chunks of one message."""
    projection = CODEC.init()
    for chunk in chunks:
        CODEC.fold(projection, OutputEvent(chunk), FoldMeta("s", message_id))
    return projection


def shown(projection: VercelProjection) -> list[UIMessage]:
    """Return the messages of a projection alone."""
    return [item.message for item in CODEC.get_messages(projection)]
