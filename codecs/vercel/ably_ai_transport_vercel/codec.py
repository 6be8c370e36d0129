"""The codec of the AI SDK's UI messages."""

from collections.abc import Mapping

from ably_ai_transport.codec import TableCodec
from ably_ai_transport_vercel.chunks import UIMessageChunk
from ably_ai_transport_vercel.inputs import INPUTS
from ably_ai_transport_vercel.messages import UIMessage, VercelInput
from ably_ai_transport_vercel.outputs import LEAD_IN, OUTPUTS
from ably_ai_transport_vercel.projection import VercelProjection
from ably_ai_transport_vercel.reducer import REDUCER
from ably_ai_transport_vercel.validation import check


class UIMessageCodec(TableCodec[VercelInput, UIMessageChunk, VercelProjection, UIMessage]):
    """UI messages and their chunks, as the AI SDK for JavaScript defines them, on a session's channel.

    Agents publish :data:`UIMessageChunk` dicts, clients see :class:`UIMessage` dicts: the JSON of the AI SDK,
    so that a JavaScript front-end can be on the other side.

    Example:
        >>> codec = UIMessageCodec()
        >>> codec.create_user_message(user_message("hi")).kind
        'user-message'
    """

    def __init__(self) -> None:
        super().__init__(
            REDUCER,
            outputs=OUTPUTS,
            inputs=INPUTS,
            lead_in=LEAD_IN,
            adapter_tag="vercel-ai-sdk-ui-message",
        )

    def create_user_message(self, message: UIMessage) -> VercelInput:
        """Wrap a user's message as an input.

        Args:
            message: The message; :func:`user_message` builds one. Text, files and ``data-*`` parts travel,
                parts of other kinds stay behind.

        Returns:
            The input, with a copy of the message.

        Raises:
            AITransportError: The message is not one (40003); the error names the field.
        """
        return super().create_user_message(check("user message", message))

    def create_tool_result(self, codec_message_id: str, payload: Mapping[str, object]) -> VercelInput:
        """Build the input that answers a tool call.

        Args:
            codec_message_id: The assistant message with the call.
            payload: A :class:`ToolResultPayload`.

        Returns:
            The input.

        Raises:
            AITransportError: The payload is not one (40003); the error names the field.
        """
        return super().create_tool_result(codec_message_id, check("tool result", payload))

    def create_tool_result_error(self, codec_message_id: str, payload: Mapping[str, object]) -> VercelInput:
        """Build the input that reports a tool call's failure.

        Args:
            codec_message_id: The assistant message with the call.
            payload: A :class:`ToolResultErrorPayload`.

        Returns:
            The input.

        Raises:
            AITransportError: The payload is not one (40003); the error names the field.
        """
        return super().create_tool_result_error(codec_message_id, check("tool result error", payload))

    def create_tool_approval_response(
        self, codec_message_id: str, payload: Mapping[str, object]
    ) -> VercelInput:
        """Build the input that approves or denies a tool call.

        Args:
            codec_message_id: The assistant message with the call.
            payload: A :class:`ToolApprovalResponsePayload`.

        Returns:
            The input.

        Raises:
            AITransportError: The payload is not one (40003); the error names the field.
        """
        return super().create_tool_approval_response(
            codec_message_id, check("tool approval response", payload)
        )
