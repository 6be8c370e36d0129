"""The codec of OpenAI's Responses."""

from ably_ai_transport.codec import TableCodec
from ably_ai_transport_openai.events import (
    OpenAIInput,
    OpenAIMessage,
    OpenAIOutput,
    OpenAIToolApprovalResponsePayload,
    OpenAIToolResultErrorPayload,
    OpenAIToolResultPayload,
)
from ably_ai_transport_openai.inputs import INPUTS
from ably_ai_transport_openai.outputs import LEAD_IN, OUTPUTS, ResponseEvents
from ably_ai_transport_openai.projection import OpenAIProjection
from ably_ai_transport_openai.reducer import REDUCER
from ably_ai_transport_openai.validation import CHECKS


class ResponsesCodec(
    TableCodec[
        OpenAIInput,
        OpenAIOutput,
        OpenAIProjection,
        OpenAIMessage,
        OpenAIToolResultPayload,
        OpenAIToolResultErrorPayload,
        OpenAIToolApprovalResponsePayload,
    ]
):
    """OpenAI's Responses on a session's channel.

    Agents pipe the events of a stream, clients see :class:`OpenAIMessage` dicts whose items are valid input
    for the next call. A user's message has one item, of texts. Items and events of hosted tools are refused
    when they are published (40003), since 0.8.0 of the npm package cannot carry them.

    Example:
        >>> codec = ResponsesCodec()
        >>> codec.create_user_message(user_message("hi")).kind
        'user-message'
    """

    def __init__(self) -> None:
        super().__init__(
            REDUCER,
            outputs=OUTPUTS,
            inputs=INPUTS,
            shape=ResponseEvents(),
            lead_in=LEAD_IN,
            checks=CHECKS,
            adapter_tag="openai-responses",
        )
