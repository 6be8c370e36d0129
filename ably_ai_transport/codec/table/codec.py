"""Builds a codec from tables and a reducer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, cast

from ably_ai_transport.codec.contract import (
    ChannelWriter,
    Codec,
    CodecMessage,
    Decoder,
    Encoder,
    EncoderOptions,
    FoldMeta,
    InputEvent,
    InT,
    MsgT,
    OutputEvent,
    OutT,
    ProjT,
)
from ably_ai_transport.codec.inputs import (
    Regenerate,
    ToolApprovalResponse,
    ToolResult,
    ToolResultError,
    UserMessage,
)
from ably_ai_transport.codec.table.check import check_inputs, check_lead_in, check_outputs
from ably_ai_transport.codec.table.decoder import TableDecoder
from ably_ai_transport.codec.table.encoder import TableEncoder
from ably_ai_transport.codec.table.index import InputTable, OutputTable, Tables
from ably_ai_transport.codec.table.lead_in import LeadIn
from ably_ai_transport.codec.table.rows import DictEvents, EventShape, InputTableRow, OutputRow


@dataclass(frozen=True)
class Reducer(Generic[InT, OutT, ProjT, MsgT]):
    """How a codec's events become messages. See :class:`Codec` for what each function promises.

    Attributes:
        init: Returns an empty projection.
        fold: Folds one event into a projection.
        get_messages: Returns a projection's messages.
    """

    init: Callable[[], ProjT]
    fold: Callable[[ProjT, InputEvent[InT] | OutputEvent[OutT], FoldMeta], ProjT]
    get_messages: Callable[[ProjT], Sequence[CodecMessage[MsgT]]]


class TableCodec(Codec[InT, OutT, ProjT, MsgT]):
    """A codec made of tables and a reducer. :func:`define_codec` returns one; a class may derive from it.

    Args:
        reducer: How events become messages.
        outputs: What outputs are on the wire.
        inputs: What inputs are on the wire.
        shape: How outputs are taken apart and put together; dicts with a ``type`` unless given.
        lead_in: What to make up for late joiners.
        adapter_tag: Name under which the codec identifies itself to Ably.

    Raises:
        AITransportError: A table is mistaken (40003); the message names the row and the field.
    """

    def __init__(
        self,
        reducer: Reducer[InT, OutT, ProjT, MsgT],
        *,
        outputs: Sequence[OutputRow],
        inputs: Sequence[InputTableRow],
        shape: EventShape[OutT] | None = None,
        lead_in: LeadIn[OutT] | None = None,
        adapter_tag: str | None = None,
    ) -> None:
        shape = DictEvents[OutT]() if shape is None else shape
        check_outputs(outputs, shape.discriminator)
        check_inputs(inputs)
        if lead_in is not None:
            check_lead_in(lead_in, outputs)
        self.adapter_tag = adapter_tag
        self._reducer = reducer
        self._fold = reducer.fold
        self._tables = Tables(shape, OutputTable(outputs), InputTable(inputs))
        self._lead_in = lead_in

    def create_encoder(
        self, writer: ChannelWriter, options: EncoderOptions | None = None
    ) -> Encoder[InT, OutT]:
        """Create an encoder that writes to a channel."""
        return TableEncoder(self._tables, writer, options)

    def create_decoder(self) -> Decoder[InT, OutT]:
        """Create a decoder for one channel."""
        return TableDecoder(self._tables, self._lead_in)

    def init(self) -> ProjT:
        """Return an empty projection."""
        return self._reducer.init()

    def fold(self, projection: ProjT, event: InputEvent[InT] | OutputEvent[OutT], meta: FoldMeta) -> ProjT:
        """Fold one event into a projection and return the result."""
        return self._fold(projection, event, meta)

    def get_messages(self, projection: ProjT) -> Sequence[CodecMessage[MsgT]]:
        """Return the messages of a projection."""
        return self._reducer.get_messages(projection)

    # Which inputs a codec has is a matter of its tables, so the casts below say no more than they do.

    def create_user_message(self, message: MsgT) -> InT:
        """Wrap a user's message as an input."""
        self._require("user-message", "user messages")
        return cast("InT", UserMessage(message))

    def create_regenerate(self, target: str, parent: str) -> InT:
        """Build the input that asks for another reply in place of ``target``, under ``parent``."""
        self._require("regenerate", "regenerates")
        return cast("InT", Regenerate(target=target, parent=parent))

    def create_tool_result(self, codec_message_id: str, payload: Mapping[str, object]) -> InT:
        """Build the input that answers a tool call of an assistant message."""
        self._require("tool-result", "tool results")
        return cast("InT", ToolResult(codec_message_id, payload))

    def create_tool_result_error(self, codec_message_id: str, payload: Mapping[str, object]) -> InT:
        """Build the input that reports a tool call's failure."""
        self._require("tool-result-error", "tool result errors")
        return cast("InT", ToolResultError(codec_message_id, payload))

    def create_tool_approval_response(self, codec_message_id: str, payload: Mapping[str, object]) -> InT:
        """Build the input that approves or denies a tool call."""
        self._require("tool-approval-response", "tool approvals")
        return cast("InT", ToolApprovalResponse(codec_message_id, payload))

    def _require(self, kind: str, what: str) -> None:
        if kind not in self._tables.inputs.rows:
            raise self._unsupported(what)


def define_codec(
    reducer: Reducer[InT, OutT, ProjT, MsgT],
    *,
    outputs: Sequence[OutputRow],
    inputs: Sequence[InputTableRow],
    shape: EventShape[OutT] | None = None,
    lead_in: LeadIn[OutT] | None = None,
    adapter_tag: str | None = None,
) -> Codec[InT, OutT, ProjT, MsgT]:
    """Build a codec from tables and a reducer.

    Args:
        reducer: How events become messages; the codec's types are inferred from it.
        outputs: What outputs are on the wire.
        inputs: What inputs are on the wire.
        shape: How outputs are taken apart and put together; dicts with a ``type`` unless given.
        lead_in: What to make up for late joiners.
        adapter_tag: Name under which the codec identifies itself to Ably.

    Returns:
        The codec.

    Raises:
        AITransportError: A table is mistaken (40003); the message names the row and the field.
    """
    return TableCodec(
        reducer, outputs=outputs, inputs=inputs, shape=shape, lead_in=lead_in, adapter_tag=adapter_tag
    )
