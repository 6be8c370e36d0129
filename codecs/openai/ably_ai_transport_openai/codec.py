"""The codec of OpenAI's Responses."""

from collections.abc import Mapping

from ably_ai_transport.codec import TableCodec
from ably_ai_transport_openai.events import OpenAIInput, OpenAIMessage, OpenAIOutput
from ably_ai_transport_openai.inputs import INPUTS
from ably_ai_transport_openai.outputs import LEAD_IN, OUTPUTS, ResponseEvents
from ably_ai_transport_openai.projection import OpenAIProjection
from ably_ai_transport_openai.reducer import REDUCER
from ably_ai_transport_openai.validation import check


class ResponsesCodec(TableCodec[OpenAIInput, OpenAIOutput, OpenAIProjection, OpenAIMessage]):
    """OpenAI's Responses on a session's channel.

    Agents pipe the events of a stream, clients see :class:`OpenAIMessage` dicts whose items are valid input
    for the next call. What 0.8.0 of the npm package carries travels; an item or event of a hosted tool is
    refused when it is published (40003).

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
            adapter_tag="openai-responses",
        )

    def create_user_message(self, message: OpenAIMessage) -> OpenAIInput:
        """Wrap a user's message as an input.

        Args:
            message: The message; :func:`user_message` builds one. It has one item, of texts.

        Returns:
            The input, with a copy of the message.

        Raises:
            AITransportError: The message is not one (40003); the error names the field.
        """
        return super().create_user_message(check("user message", message))

    def create_tool_result(self, codec_message_id: str, payload: Mapping[str, object]) -> OpenAIInput:
        """Build the input that answers a function call.

        Args:
            codec_message_id: The assistant message with the call.
            payload: An :class:`OpenAIToolResultPayload`.

        Returns:
            The input.

        Raises:
            AITransportError: The payload is not one (40003); the error names the field.
        """
        return super().create_tool_result(codec_message_id, check("tool result", payload))

    def create_tool_result_error(self, codec_message_id: str, payload: Mapping[str, object]) -> OpenAIInput:
        """Build the input that reports a function call's failure.

        Args:
            codec_message_id: The assistant message with the call.
            payload: An :class:`OpenAIToolResultErrorPayload`.

        Returns:
            The input.

        Raises:
            AITransportError: The payload is not one (40003); the error names the field.
        """
        return super().create_tool_result_error(codec_message_id, check("tool result error", payload))

    def create_tool_approval_response(
        self, codec_message_id: str, payload: Mapping[str, object]
    ) -> OpenAIInput:
        """Build the input that approves or denies a function call.

        Args:
            codec_message_id: The assistant message with the call.
            payload: An :class:`OpenAIToolApprovalResponsePayload`.

        Returns:
            The input.

        Raises:
            AITransportError: The payload is not one (40003); the error names the field.
        """
        return super().create_tool_approval_response(
            codec_message_id, check("tool approval response", payload)
        )
