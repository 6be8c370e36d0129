"""The codec of the AI SDK's UI messages."""

from ably_ai_transport.codec import TableCodec
from ably_ai_transport_vercel.events import (
    ToolApprovalResponsePayload,
    ToolResultErrorPayload,
    ToolResultPayload,
    UIMessageChunk,
    VercelInput,
)
from ably_ai_transport_vercel.inputs import INPUTS
from ably_ai_transport_vercel.messages import UIMessage
from ably_ai_transport_vercel.outputs import LEAD_IN, OUTPUTS
from ably_ai_transport_vercel.projection import VercelProjection
from ably_ai_transport_vercel.reducer import REDUCER
from ably_ai_transport_vercel.validation import CHECKS


class UIMessageCodec(
    TableCodec[
        VercelInput,
        UIMessageChunk,
        VercelProjection,
        UIMessage,
        ToolResultPayload,
        ToolResultErrorPayload,
        ToolApprovalResponsePayload,
    ]
):
    """UI messages and their chunks, as the AI SDK for JavaScript defines them, on a session's channel.

    Agents publish :data:`UIMessageChunk` dicts, clients see :class:`UIMessage` dicts. Both are the JSON of
    the AI SDK, so a JavaScript front-end can be on the other side. Of a user's message, text, files and
    ``data-*`` parts are published.

    Example:
        >>> codec = UIMessageCodec()
        >>> codec.create_user_message(text_message("hi")).kind
        'user-message'
    """

    def __init__(self) -> None:
        super().__init__(
            REDUCER,
            outputs=OUTPUTS,
            inputs=INPUTS,
            lead_in=LEAD_IN,
            checks=CHECKS,
            adapter_tag="vercel-ai-sdk-ui-message",
        )
