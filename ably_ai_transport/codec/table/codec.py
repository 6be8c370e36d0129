"""Builds a codec from tables and a reducer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, cast

from typing_extensions import TypeVar

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
from ably_ai_transport.codec.table.compact import join_deltas
from ably_ai_transport.codec.table.decoder import TableDecoder
from ably_ai_transport.codec.table.encoder import TableEncoder
from ably_ai_transport.codec.table.index import InputTable, OutputTable, Tables
from ably_ai_transport.codec.table.lead_in import LeadIn
from ably_ai_transport.codec.table.rows import DictEvents, EventShape, InputTableRow, OutputRow
from ably_ai_transport.codec.validation import InputChecks, InputTypes
from ably_ai_transport.wire import InvalidArgumentError

T = TypeVar("T")
ResultT = TypeVar("ResultT", default=Mapping[str, object])
"""Payload of a tool result."""
FailureT = TypeVar("FailureT", default=Mapping[str, object])
"""Payload of a tool's failure."""
ApprovalT = TypeVar("ApprovalT", default=Mapping[str, object])
"""Payload of an approval response."""

_PLURALS: Final = {
    "user-message": "user messages",
    "regenerate": "regenerates",
    "tool-result": "tool results",
    "tool-result-error": "tool result errors",
    "tool-approval-response": "tool approvals",
}


@dataclass(frozen=True)
class Reducer(Generic[InT, OutT, ProjT, MsgT]):
    """Folds a codec's events into messages. See :class:`Codec` for what each function promises.

    Attributes:
        init: Returns an empty projection.
        fold: Folds one event into a projection.
        get_messages: Returns a projection's messages.
    """

    init: Callable[[], ProjT]
    fold: Callable[[ProjT, InputEvent[InT] | OutputEvent[OutT], FoldMeta], ProjT]
    get_messages: Callable[[ProjT], Sequence[CodecMessage[MsgT]]]


class TableCodec(
    Codec[InT, OutT, ProjT, MsgT], Generic[InT, OutT, ProjT, MsgT, ResultT, FailureT, ApprovalT]
):
    """A codec made of tables and a reducer. :func:`define_codec` returns one; a class may derive from it.

    The last three type parameters are the payloads of tool results, tool failures and approval responses.
    Each is a mapping with string keys unless given.

    Args:
        reducer: Folds events into messages.
        outputs: The output rows.
        inputs: The input rows.
        shape: Takes outputs apart and puts them together; dicts with a ``type`` unless given.
        lead_in: The events to make up for late joiners.
        checks: Pydantic types that user messages and payloads are checked against, by input kind.
        adapter_tag: Name under which the codec identifies itself to Ably.

    Raises:
        InvalidArgumentError: A table has a mistake (40003). The message names the row and the field.
    """

    def __init__(
        self,
        reducer: Reducer[InT, OutT, ProjT, MsgT],
        *,
        outputs: Sequence[OutputRow],
        inputs: Sequence[InputTableRow],
        shape: EventShape[OutT] | None = None,
        lead_in: LeadIn[OutT] | None = None,
        checks: InputTypes | None = None,
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
        self._checks = InputChecks(checks or {})

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

    def compact_outputs(self, outputs: Sequence[OutT]) -> Sequence[OutT]:
        """Join the deltas of a stream."""
        return join_deltas(self._tables, outputs)

    # The tables decide which inputs a codec has, so a cast says as much about the type as can be said.

    def create_user_message(self, message: MsgT) -> InT:
        """Wrap a user's message as an input for ``view.send``.

        Args:
            message: The message.

        Returns:
            The input. Its message is a copy if the codec has a type for it.

        Raises:
            InvalidArgumentError: The codec has no user messages, or the message does not fit its type. The
                error names the field (40003).
        """
        return cast("InT", UserMessage(self._checked("user-message", message)))

    def create_regenerate(self, target: str, parent: str) -> InT:
        """Build the input that asks for another reply.

        Args:
            target: The assistant message to replace.
            parent: The user message that the new reply follows.

        Returns:
            The input.

        Raises:
            InvalidArgumentError: The codec has no regenerates (40003).
        """
        self._require("regenerate")
        return cast("InT", Regenerate(target=target, parent=parent))

    def create_tool_result(self, codec_message_id: str, payload: ResultT) -> InT:
        """Build the input that answers a tool call.

        Args:
            codec_message_id: The assistant message with the call.
            payload: The call and its output, in the codec's terms.

        Returns:
            The input.

        Raises:
            InvalidArgumentError: The codec has no tool results, or the payload does not fit its type. The
                error names the field (40003).
        """
        return cast("InT", ToolResult(codec_message_id, self._checked("tool-result", payload)))

    def create_tool_result_error(self, codec_message_id: str, payload: FailureT) -> InT:
        """Build the input that reports the failure of a tool call.

        Args:
            codec_message_id: The assistant message with the call.
            payload: The call and its failure, in the codec's terms.

        Returns:
            The input.

        Raises:
            InvalidArgumentError: The codec has no tool failures, or the payload does not fit its type. The
                error names the field (40003).
        """
        return cast("InT", ToolResultError(codec_message_id, self._checked("tool-result-error", payload)))

    def create_tool_approval_response(self, codec_message_id: str, payload: ApprovalT) -> InT:
        """Build the input that approves or denies a tool call.

        Args:
            codec_message_id: The assistant message with the call.
            payload: The call and the decision, in the codec's terms.

        Returns:
            The input.

        Raises:
            InvalidArgumentError: The codec has no approvals, or the payload does not fit its type. The error
                names the field (40003).
        """
        checked = self._checked("tool-approval-response", payload)
        return cast("InT", ToolApprovalResponse(codec_message_id, checked))

    def _checked(self, kind: str, value: T) -> T:
        self._require(kind)
        return self._checks.check(kind, value)

    def _require(self, kind: str) -> None:
        if kind not in self._tables.inputs.rows:
            raise InvalidArgumentError(
                f"unable to build input; {type(self).__name__} has no {_PLURALS[kind]}"
            )


def define_codec(
    reducer: Reducer[InT, OutT, ProjT, MsgT],
    *,
    outputs: Sequence[OutputRow],
    inputs: Sequence[InputTableRow],
    shape: EventShape[OutT] | None = None,
    lead_in: LeadIn[OutT] | None = None,
    checks: InputTypes | None = None,
    adapter_tag: str | None = None,
) -> TableCodec[InT, OutT, ProjT, MsgT]:
    """Build a codec from tables and a reducer.

    Args:
        reducer: Folds events into messages. The codec's types are inferred from it.
        outputs: The output rows.
        inputs: The input rows.
        shape: Takes outputs apart and puts them together; dicts with a ``type`` unless given.
        lead_in: The events to make up for late joiners.
        checks: Pydantic types that user messages and payloads are checked against, by input kind.
        adapter_tag: Name under which the codec identifies itself to Ably.

    Returns:
        The codec.

    Raises:
        InvalidArgumentError: A table has a mistake (40003). The message names the row and the field.
    """
    return TableCodec(
        reducer,
        outputs=outputs,
        inputs=inputs,
        shape=shape,
        lead_in=lead_in,
        checks=checks,
        adapter_tag=adapter_tag,
    )
